"""Every kind of system makes sounds where they are looked for; none of them is real."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.conftest import write_sounds

from ezaudio.audio import read_audio, read_metadata
from ezaudio.errors import InputError, OutputError
from ezaudio.evaluation.clips import Item
from ezaudio.evaluation.paper import published
from ezaudio.evaluation.systems import SYSTEMS, GenerationPlan, read_system
from ezaudio.evaluation.systems.base import Naming
from ezaudio.evaluation.systems.command import CommandConfig
from ezaudio.evaluation.systems.diffusers_pipeline import (
    LENGTH_ARGUMENTS,
    DiffusersConfig,
    as_channels,
    hash_of_folder,
    sample_rate_of,
)
from ezaudio.evaluation.systems.folder import FolderConfig
from ezaudio.evaluation.systems.peers import known_entries, peer_entries

ITEMS = (Item("a b", "a dog; barks $HOME", duration_s=0.25), Item("c", 'a "bell"', duration_s=0.25))
ORDER = GenerationPlan(ITEMS)

ONE = """
import sys, numpy, soundfile
prompt, seed, duration, output = sys.argv[1:5]
wave = numpy.full(int(float(duration) * 8000), len(prompt) / 100)
soundfile.write(output, wave, 8000, subtype="FLOAT")
"""
MANY = """
import json, sys, numpy, soundfile
for index, line in enumerate(open(sys.argv[1])):
    row = json.loads(line)
    wave = numpy.full(int(row["duration"] * 8000), len(row["caption"]) / 100)
    soundfile.write(f"{sys.argv[2]}/output_{index:03}.wav", wave, 8000, subtype="FLOAT")
"""


@pytest.fixture
def scripts(tmp_path: Path) -> dict[str, str]:
    found = {}
    for name, text in (("one", ONE), ("many", MANY), ("fail", "import sys; sys.exit('no GPU')")):
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        found[name] = f"{sys.executable} {path}"
    return found


def made(config: CommandConfig, folder: Path, plan: GenerationPlan = ORDER) -> list[float]:
    system = config.build()
    system.make(plan, folder)
    sets = system.sounds(plan, folder)
    return [float(read_audio(path).samples[0]) for clips in sets for path in clips.sources]


class TestCommand:
    def test_once_for_each_clip(self, scripts, tmp_path):
        command = f"{scripts['one']} {{prompt}} {{seed}} {{duration}} {{output}}"
        config = CommandConfig(name="peer", command=command)
        assert made(config, tmp_path / "out") == pytest.approx([0.18, 0.08])
        sound = tmp_path / "out" / "seed-0" / "a b.wav"
        assert read_metadata(sound)["prompt"] == ITEMS[0].caption
        assert len(read_audio(sound).samples) == 2000

    def test_once_for_all_clips_of_a_seed(self, scripts, tmp_path):
        config = CommandConfig(
            name="peer",
            command=f"{scripts['many']} {{list}} {{folder}}",
            naming="output_{index:03d}",
        )
        assert made(config, tmp_path / "out", GenerationPlan(ITEMS, seeds=2)) == pytest.approx(
            [0.18, 0.08, 0.18, 0.08]
        )

    def test_what_is_there_is_not_made_again(self, scripts, tmp_path):
        command = f"{scripts['one']} {{prompt}} {{seed}} {{duration}} {{output}}"
        config = CommandConfig(name="peer", command=command)
        made(config, tmp_path / "out")
        before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.wav")}
        made(config, tmp_path / "out")
        assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.wav")} == before

    def test_a_program_that_says_where_its_sound_is(self, tmp_path):
        script = tmp_path / "say.py"
        script.write_text(
            "import numpy, soundfile, sys\n"
            "soundfile.write('chosen.wav', numpy.full(100, 0.5), 8000)\n"
            "print('[INFO] saved audio sample at: chosen.wav')\n"
        )
        config = CommandConfig(
            name="peer",
            command=f"{sys.executable} {script} {{prompt}}",
            printed=r"saved audio sample at:\s*(\S.*)",
            directory=tmp_path,
        )
        assert made(config, tmp_path / "out") == pytest.approx([0.5, 0.5], abs=1e-3)

    def test_a_command_that_fails_says_so_in_one_line(self, scripts, tmp_path):
        config = CommandConfig(name="peer", command=f"{scripts['fail']} {{output}}")
        with pytest.raises(OutputError, match=r"peer: the command left with 1: no GPU"):
            config.build().make(ORDER, tmp_path / "out")
        assert not list((tmp_path / "out").rglob("*.wav"))

    def test_a_list_that_is_cut_short_keeps_what_was_whole_and_goes_on_there(self, tmp_path):
        script = tmp_path / "breaks.py"
        script.write_text(
            MANY + "    if index == 1 and row['name'] == 'c':\n        sys.exit('out of memory')\n"
        )
        items = (*ITEMS, Item("d", "rain", duration_s=0.25))
        config = CommandConfig(
            name="peer",
            command=f"{sys.executable} {script} {{list}} {{folder}}",
            naming="output_{index:03d}",
        )
        told = []
        with pytest.raises(OutputError, match="out of memory"):
            config.build().make(GenerationPlan(items), tmp_path / "out")
        made = [p.name for p in (tmp_path / "out").rglob("*.wav")]
        assert made == ["a b.wav"]  # the second may have been half written
        system = config.build()
        system.make(
            GenerationPlan(items), tmp_path / "out", progress=lambda *said: told.append(said)
        )
        assert told == [("make peer", 2, 2)]
        assert len(system.sounds(GenerationPlan(items), tmp_path / "out")[0].sources) == 3

    def test_a_command_without_a_sound_is_an_error_that_names_the_clip(self, tmp_path):
        config = CommandConfig(name="peer", command=f"{sys.executable} -c pass {{output}}")
        with pytest.raises(OutputError, match="no sound for a b"):
            config.build().make(ORDER, tmp_path / "out")

    @pytest.mark.parametrize("command", ["make {prompt}", "make {list}", 'make "{output}'])
    def test_a_template_that_cannot_work_is_refused(self, command):
        with pytest.raises(InputError, match="command"):
            CommandConfig(name="peer", command=command).build()


class TestFolder:
    def test_published_samples_by_name_or_by_number(self, tmp_path):
        write_sounds(tmp_path / "samples", 3)
        items = (Item("c00"), Item("c02"))
        system = FolderConfig(name="x", folder=tmp_path / "samples").build()
        assert [p.name for p in system.sounds(GenerationPlan(items), tmp_path)[0].sources] == [
            "c00.wav",
            "c02.wav",
        ]
        numbered = FolderConfig(name="x", folder=tmp_path / "samples", naming="c{index:02d}")
        sets = numbered.build().sounds(GenerationPlan((Item("p"), Item("q"))), tmp_path)
        assert [p.name for p in sets[0].sources] == ["c00.wav", "c01.wav"]

    def test_a_missing_sample_is_named(self, tmp_path):
        write_sounds(tmp_path / "samples", 1)
        system = FolderConfig(name="x", folder=tmp_path / "samples").build()
        with pytest.raises(InputError, match="c07"):
            system.sounds(GenerationPlan((Item("c00"), Item("c07"))), tmp_path)


@pytest.mark.parametrize("pattern", ["output", "{caption}", "{nothing}", "{index", "{0}"])
def test_a_naming_that_cannot_tell_clips_apart_is_refused(pattern):
    with pytest.raises(InputError, match="naming"):
        Naming(pattern)


def test_a_name_that_leaves_the_folder_is_refused(tmp_path):
    config = CommandConfig(name="peer", command="make {output}")
    with pytest.raises(InputError, match="inside the output folder"):
        config.build().make(GenerationPlan((Item("../../evil", "x"),)), tmp_path / "out")


def test_the_entries_for_other_projects_can_be_read_and_their_scripts_exist():
    names = set()
    for entry in [*known_entries(), *peer_entries()]:
        config = read_system(entry)
        names.add(config.name)
        if isinstance(config, CommandConfig):
            script = next((w for w in config.build().words if "bridges" in w), None)
            assert script is None or Path(script).is_file()
    wanted = {"Tango", "Tango-2", "TangoFlux", "Make-An-Audio-2", "GenAU-Large", "AudioGen"}
    assert wanted | {"AudioLDM", "AudioLDM-2", "Stable-Audio-Open"} <= names


def test_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match=", ".join(SYSTEMS)):
        read_system({"kind": "oracle", "name": "x"})


@pytest.mark.parametrize("shape", [(100,), (2, 100), (100, 2)])
def test_the_sounds_of_pipelines_are_brought_to_channels_first(shape):
    assert as_channels(np.zeros(shape)).shape == ((1, 100) if len(shape) == 1 else (2, 100))


def test_the_rate_is_asked_of_the_vocoder_first():
    class Part:
        def __init__(self, **values: int) -> None:
            self.__dict__.update(values)

    class Pipeline:
        vocoder = Part(config=Part(sampling_rate=16_000))
        vae = Part(config=Part(sampling_rate=48_000))

    assert sample_rate_of(Pipeline()) == 16_000
    with pytest.raises(InputError, match="rate in Hz"):
        sample_rate_of(object())


def test_a_pipeline_without_prompts_is_refused(tmp_path):
    class Dance:
        def __call__(self, audio_length_in_s: float, generator: object) -> None:
            raise AssertionError

    system = DiffusersConfig(name="x", model="nobody/none").build()
    system._pipeline = Dance()
    with pytest.raises(InputError, match="a prompt and a length"):
        system.make(ORDER, tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_model_in_the_same_folder_makes_other_sounds(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"1")
    before = DiffusersConfig(name="x", model=str(tmp_path)).build().facts()
    hash_of_folder.cache_clear()
    (tmp_path / "weights.bin").write_bytes(b"2")
    after = DiffusersConfig(name="x", model=str(tmp_path)).build().facts()
    assert before["files"] != after["files"]


def test_all_pipelines_of_diffusers_that_make_sounds_of_prompts_can_be_asked_for_a_length():
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    named = {e["pipeline"] for e in known_entries() if e["kind"] == "diffusers"}
    for name in named:
        arguments = inspect.signature(getattr(diffusers, name).__call__).parameters
        assert {"prompt", "generator"} <= set(arguments)
        assert set(LENGTH_ARGUMENTS) & set(arguments), name
    assert {"AudioLDMPipeline", "AudioLDM2Pipeline", "StableAudioPipeline"} <= named


@pytest.mark.parametrize(
    ("title", "fd"),
    [("EzAudio-XL", 14.98), ("xl", 14.98), ("L", 15.59), ("audioldm2-large", 25.03), ("x", None)],
)
def test_the_papers_numbers_stand_beside_the_system_they_are_of(title, fd):
    found = published(title)
    assert (None if found is None else found.fd) == fd


@pytest.fixture(scope="module")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Audio Open with random weights, small enough for a test."""
    import torch

    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("pipeline")
    torch.manual_seed(0)
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0)]
    vocabulary += [(letter, -2.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    tokenizer = transformers.T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=16)
    text = transformers.T5Config(
        vocab_size=64, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2,
        pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    pipeline = diffusers.StableAudioPipeline(
        vae=diffusers.AutoencoderOobleck(
            encoder_hidden_size=4, downsampling_ratios=[2, 4, 8], channel_multiples=[1, 1, 1],
            decoder_channels=4, decoder_input_channels=4, audio_channels=2, sampling_rate=8000,
        ),
        text_encoder=transformers.T5EncoderModel(text),
        projection_model=diffusers.StableAudioProjectionModel(
            text_encoder_dim=16, conditioning_dim=16, min_value=0, max_value=10
        ),
        tokenizer=tokenizer,
        transformer=diffusers.StableAudioDiTModel(
            sample_size=125, in_channels=4, num_layers=1, attention_head_dim=8,
            num_attention_heads=2, num_key_value_attention_heads=2, out_channels=4,
            cross_attention_dim=16, time_proj_dim=8, global_states_input_dim=32,
            cross_attention_input_dim=16,
        ),
        scheduler=diffusers.EDMDPMSolverMultistepScheduler(sigma_min=0.3, sigma_max=500),
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_diffusers_pipeline_goes_through_compare_beside_a_model_and_a_folder(
    tiny_pipeline, model, tmp_path, capsys
):
    from ezaudio.cli.main import run

    write_sounds(tmp_path / "clips", 4)
    rows = [f"clips/c{i:02}.wav,sound {i},0.5" for i in range(4)]
    (tmp_path / "clips.csv").write_text("\n".join(["file,caption,duration", *rows]) + "\n")
    systems = [
        {"kind": "diffusers", "name": "Stable-Audio-Open", "model": str(tiny_pipeline),
         "settings": {"num_inference_steps": 2}},
        {"kind": "ezaudio", "name": "tiny", "model": str(model), "device": "cpu"},
        {"kind": "folder", "name": "published", "folder": str(tmp_path / "clips")},
    ]  # fmt: skip
    (tmp_path / "systems.yaml").write_text(json.dumps({"systems": systems}))
    arguments = [
        "compare", tmp_path / "systems.yaml", "-o", tmp_path / "out", "--protocol", "fake",
        "--manifest", tmp_path / "clips.csv", "--cache", tmp_path / "c.sqlite", "--paper", "-q",
    ]  # fmt: skip
    assert run([str(argument) for argument in arguments]) == 0
    said = capsys.readouterr()
    text = (tmp_path / "out" / "report.md").read_text()
    assert said.out.split()[-1].endswith("differences.md")
    for name in ("Stable-Audio-Open", "tiny", "published"):
        assert f"| {name} |" in text
    assert "paper: FD" in text
    sound = read_audio(tmp_path / "out/sounds/Stable-Audio-Open/seed-0/c00.wav", mono=False)
    assert (sound.sample_rate, sound.samples.shape) == (8000, (2, 4000))
    differences = (tmp_path / "out" / "differences.md").read_text()
    assert "| KL (fake) | Stable-Audio-Open - tiny |" in differences
    # alone, its seeds give the same sounds as in the table
    before = sound.samples
    (tmp_path / "out/sounds/Stable-Audio-Open/seed-0/c00.wav").unlink()
    assert run([str(argument) for argument in arguments]) == 0
    again = read_audio(tmp_path / "out/sounds/Stable-Audio-Open/seed-0/c00.wav", mono=False)
    np.testing.assert_array_equal(again.samples, before)
