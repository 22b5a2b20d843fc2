"""`edit`, `reconstruct`, `models`, `convert` and `info`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from tests.cli.words import Bytes

from ezaudio.audio import read_audio, read_metadata, write_audio
from ezaudio.cli.main import COMMANDS

RATE = 24_000
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def sound(tmp_path):
    samples = np.random.default_rng(0).standard_normal(24_000).astype(np.float32) * 0.1
    path = tmp_path / "in.wav"
    write_audio(path, samples, RATE)
    return path


@pytest.fixture
def edit(ezaudio, folder):
    def call(*arguments):
        return ezaudio("edit", *arguments, "--model", folder, "--device", "cpu", "--dtype",
                       "float32")  # fmt: skip

    return call


def outside(name, spans):
    samples, _ = soundfile.read(name, dtype="int16")
    keep = np.ones(24_000, bool)
    for start, end in spans:
        keep[round(start * RATE) : round(end * RATE)] = False
    return samples[:24_000][keep]


def test_a_span_is_made_anew_and_the_file_keeps_the_rest(edit, sound):
    code, out, _ = edit(sound, "a bell", "--start", 0.3, "--end", 0.5, "-o", "out.wav", "--seed", 1)
    assert (code, out) == (0, "out.wav\n")
    np.testing.assert_array_equal(outside("out.wav", [(0.3, 0.5)]), outside(sound, [(0.3, 0.5)]))
    assert soundfile.info("out.wav").subtype == "PCM_16"
    told = read_metadata("out.wav")
    assert (told["prompt"], told["spans_s"], told["seed"]) == ("a bell", [[0.3, 0.5]], 1)


def test_several_spans_and_outpainting_in_both_spellings(edit, sound):
    spans = [(0.1, 0.2), (0.4, 0.6), (0.9, 1.5)]
    code, *_ = edit(sound, "rain", "--start", 0.1, "--end", 0.2, "--span", "0.4:0.6",
                    "--span", "0.9:1.5", "-o", "out.flac", "--num", 2)  # fmt: skip
    assert code == 0
    for name in ("out-1.flac", "out-2.flac"):
        assert len(read_audio(name).samples) == 36_000
        np.testing.assert_array_equal(outside(name, spans), outside(sound, spans))


def test_without_an_output_a_new_name_is_made(edit, sound):
    for _ in range(2):
        assert edit(sound, "rain", "--span", "0.1:0.2")[0] == 0
    names = sorted(path.name for path in Path().glob("*.wav"))
    assert names == ["in-edited-2.wav", "in-edited.wav", "in.wav"]


def test_a_sound_comes_from_standard_input_and_goes_to_standard_output(
    edit, ezaudio, folder, sound, monkeypatch
):
    before = sorted(Path().iterdir())
    monkeypatch.setattr(sys, "stdin", Bytes(sound.read_bytes()))
    monkeypatch.setattr(sys, "stdout", stdout := Bytes())
    assert edit("-", "rain", "--span", "0.2:0.4", "-o", "-", "-q")[0] == 0
    samples, rate = soundfile.read(io.BytesIO(stdout.buffer.getvalue()), dtype="int16")
    whole, _ = soundfile.read(sound, dtype="int16")
    assert rate == RATE and np.array_equal(samples[:4800], whole[:4800])
    monkeypatch.setattr(sys, "stdin", Bytes(sound.read_bytes()))
    monkeypatch.setattr(sys, "stdout", stdout := Bytes())
    assert ezaudio("reconstruct", "-", "--model", folder, "-o", "-")[0] == 0
    samples, _ = soundfile.read(io.BytesIO(stdout.buffer.getvalue()))
    assert len(samples) == 24_000
    monkeypatch.undo()
    monkeypatch.setattr(sys, "stdin", Bytes(sound.read_bytes()))
    assert json.loads(ezaudio("info", "-", "--json")[1])["duration_s"] == 1.0
    assert sorted(Path(sound.parent).iterdir()) == [sound.parent / p for p in before]


def test_an_edit_in_place_keeps_rate_channels_and_depth(edit, sound):
    samples = np.random.default_rng(0).standard_normal((44_100, 2)) * 0.1
    soundfile.write("field.wav", samples, 44_100, subtype="PCM_24")
    before, _ = soundfile.read("field.wav", dtype="int32")
    code, out, err = edit("field.wav", "rain", "--span", "0.5:0.7", "-o", "field.wav", "-q")
    assert (code, out, err) == (0, "field.wav\n", "")
    info = soundfile.info("field.wav")
    assert (info.samplerate, info.channels, info.subtype) == (44_100, 2, "PCM_24")
    after, _ = soundfile.read("field.wav", dtype="int32")
    assert np.array_equal(before[:22_050], after[:22_050])
    assert np.array_equal(before[30_870:], after[30_870:])
    _, _, err = edit("field.wav", "rain", "--span", "0.5:0.7", "-o", "field.ogg")
    assert "codes all samples anew" in err


def test_tables_are_json_too(ezaudio, folder, sound):
    _, out, _ = ezaudio("reconstruct", sound, sound, "--model", folder, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["file"] for row in rows] == [str(sound)] * 2
    assert rows[0]["log_mel_l1"] >= 0
    names = [row["name"] for row in json.loads(ezaudio("models", "--json")[1])]
    assert names == ["starter", "l", "xl"]


BAD_EDITS = [
    (["--start", "0.5", "--end", "0.2"], "`--end`"),
    (["--start", "0.5"], "`--end`"),
    (["--span", "1-2"], "`--span`"),
    (["--span", "0:nan"], "`--end`"),
    (["--span", "nan:1"], "`--start`"),
    (["--span", "0:inf"], "`--end`"),
    (["--span", "5:6"], "`--start`"),
    (["--span", "0:3.9"], "`--span`"),
    ([], "`--start`"),
    (["--span", "0.1:0.2", "--crossfade", "-1"], "`--crossfade`"),
    (["--span", "0.1:0.2", "--context", "nan"], "`--context`"),
    (["--span", "0.1:0.2", "-o", "no/where.wav/x.wav"], "where.wav"),
    (["--span", "0.1:0.2", "--sampler", "x"], "`--sampler`"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD_EDITS, ids=[" ".join(a) for a, _ in BAD_EDITS])
def test_a_bad_edit_is_one_line_before_the_model_is_loaded(
    edit, sound, monkeypatch, arguments, said
):
    monkeypatch.setattr(
        "ezaudio.pipelines.ezaudio.EzAudio.from_pretrained", lambda *a, **k: pytest.fail("loaded")
    )
    Path("no").write_text("a file where a folder is needed")
    code, out, err = edit(sound, "rain", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["in.wav", "no"]


@pytest.mark.parametrize("content", [None, b"", b"RIFF", b"not a sound"], ids=str)
@pytest.mark.parametrize("command", ["edit", "reconstruct", "info"])
def test_a_sound_that_cannot_be_read_is_one_line(ezaudio, folder, command, content):
    if content is not None:
        Path("bad.wav").write_bytes(content)
    more = {"edit": ["rain", "--span", "0:1", "--model", folder], "info": []}
    code, out, err = ezaudio(command, "bad.wav", *more.get(command, ["--model", folder]))
    assert code == 2
    assert out == "" or command == "reconstruct"
    assert "bad.wav" in err
    assert err.count("\n") == 1


def test_reconstructions_are_saved_and_measured(ezaudio, folder, sound):
    code, out, _ = ezaudio("reconstruct", sound, "-o", "again.wav", "--model", folder)
    assert code == 0
    assert len(read_audio("again.wav").samples) == 24_000
    head, row = out.splitlines()
    assert head.split("  ")[0] == "sound"
    assert len([float(text) for text in row.split()[1:]]) == 3


def test_many_files_and_folders_keep_their_names(ezaudio, folder, sound):
    for name in ("a/x.wav", "a/deep/y.wav", "b/x.flac"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        write_audio(name, read_audio(sound).samples[:4800], RATE)
    Path("a/notes.txt").write_text("no sound")
    code, out, _ = ezaudio("reconstruct", "a", "b/x.flac", sound, "-o", "out", "--model", folder)
    assert code == 0
    names = sorted(str(p.relative_to("out")) for p in Path("out").rglob("*.wav"))
    assert names == ["deep/y.wav", "in.wav", "x-2.wav", "x.wav"]
    assert len(out.splitlines()) == 6
    assert out.splitlines()[-1].startswith("mean")


def test_one_bad_file_among_many_is_told_and_the_others_are_done(ezaudio, folder, sound):
    Path("bad.wav").write_bytes(b"")
    code, out, err = ezaudio("reconstruct", "bad.wav", sound, "-o", "out", "--model", folder)
    assert code == 2
    assert "bad.wav" in err
    assert Path("out/in.wav").exists()
    assert not Path("out/bad.wav").exists()
    assert len(out.splitlines()) == 2


def test_without_an_output_sounds_are_only_measured(ezaudio, folder, sound):
    code, out, _ = ezaudio("reconstruct", sound, "--model", folder)
    assert code == 0
    assert len(out.splitlines()) == 2
    assert [path.name for path in Path().iterdir()] == ["in.wav"]


def test_a_reconstruction_never_replaces_its_original(ezaudio, folder, sound):
    before = sound.read_bytes()
    for output in (".", "in.wav"):
        code, _, err = ezaudio("reconstruct", sound, "-o", output, "--model", folder)
        assert code == 2
        assert "original" in err
    assert sound.read_bytes() == before


def test_models_are_listed_with_licence_and_size(ezaudio):
    code, out, _ = ezaudio("models")
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert set(lines) == {"name", "starter", "l", "xl"}
    assert "MIT" in lines["xl"]
    assert "GB" in lines["xl"]
    assert {"downloadable", "cached"} & set(lines["l"].split())


def test_info_shows_what_made_a_sound(ezaudio, folder, sound):
    ezaudio("generate", "a dog", "-o", "dog.ogg", "--model", folder, "--seed", 7, "--device", "cpu")
    code, out, _ = ezaudio("info", "dog.ogg")
    told = yaml.safe_load(out)
    assert code == 0
    assert (told["made_by"]["prompt"], told["made_by"]["seed"]) == ("a dog", 7)
    assert (told["sample_rate"], told["channels"], told["duration_s"]) == (RATE, 1, 0.5)
    assert json.loads(ezaudio("info", "dog.ogg", "--json")[1]) == told
    assert "nothing that ezaudio wrote" in ezaudio("info", sound)[1]


def test_info_shows_what_is_in_a_checkpoint_a_folder_and_a_named_model(ezaudio, folder):
    told = yaml.safe_load(ezaudio("info", folder / "dit.safetensors")[1])
    assert (told["kind"], told["config"]["width"], len(told["sha256"])) == ("dit", 32, 64)
    whole = yaml.safe_load(ezaudio("info", folder)[1])
    assert whole["dit"]["sha256"] == told["sha256"]
    assert whole == yaml.safe_load(ezaudio("info", folder / "model.json")[1])
    assert yaml.safe_load(ezaudio("info", "l")[1])["text"]["name"] == "google/flan-t5-large"
    torch.save({"model": {"x": torch.zeros(2, 3)}}, "theirs.pt")
    assert yaml.safe_load(ezaudio("info", "theirs.pt")[1])["first_tensors"] == {"x": [2, 3]}


@pytest.mark.parametrize(
    "name", ["cut.safetensors", "none.safetensors", "none.pt", "none", " ", "a\0"]
)
def test_info_of_what_cannot_be_read_is_one_line(ezaudio, folder, name):
    if name.startswith("cut"):
        Path(name).write_bytes((folder / "dit.safetensors").read_bytes()[:500])
    code, out, err = ezaudio("info", name)
    assert (code, out, err.count("\n")) == (2, "", 1)


def weights_of(name):
    tensors = load_file(GOLDEN / name)
    weights = {k.removeprefix("weights/"): v for k, v in tensors.items() if "weights/" in k}
    with safe_open(GOLDEN / name, "pt") as file:
        return weights, file.metadata()["config"]


def test_the_authors_files_are_converted_and_generate(ezaudio):
    for part, name, key in (("dit", "dit_ada_sola_bias", "model"), ("vae", "vae", "state_dict")):
        weights, settings = weights_of(f"{name}.safetensors")
        torch.save({key: weights}, f"{part}.pt")
        Path(f"{part}.json").write_text(settings)
    code, out, err = ezaudio("convert", "dit.pt", "-o", "m", "--dit-config", "dit.json",
                             "--text", "fake", "--name", "golden")  # fmt: skip
    assert (code, out) == (0, "m/dit.safetensors\nm/model.json\n")
    assert "no vae.safetensors yet" in err
    code, out, err = ezaudio("convert", "vae.pt", "-o", "m", "--vae-config", "vae.json")
    assert (code, out, err) == (0, "m/vae.safetensors\n", "")
    code, *_ = ezaudio("generate", "a dog", "--model", "m", "-o", "dog.wav", "--steps", 2,
                       "--duration", 0.5, "--device", "cpu")  # fmt: skip
    assert code == 0
    assert read_metadata("dog.wav")["model"] == "golden"
    assert len(read_audio("dog.wav").samples) == 12_000


@pytest.mark.parametrize(
    "arguments",
    [["none.pt"], ["bad.pt"], ["dit.pt"], ["dit.pt", "--dit-config", "none.yml"],
     ["dit.pt", "--text", "[1"], ["dit.pt", "--text", "3"]],
)  # fmt: skip
def test_a_bad_conversion_is_one_line(ezaudio, arguments):
    torch.save({"model": weights_of("dit_ada_sola_bias.safetensors")[0]}, "dit.pt")
    Path("bad.pt").write_bytes(b"no checkpoint")
    code, out, err = ezaudio("convert", *arguments, "-o", "m")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert not Path("m").exists()


def test_the_list_of_commands_is_that_of_the_files():
    import ezaudio.cli

    files = {path.stem for path in Path(ezaudio.cli.__file__).parent.glob("*.py")}
    assert set(COMMANDS) == files - {
        "__init__", "main", "actions", "options", "progress", "streams", "caption_steps",
        "paper_small",
    }  # fmt: skip
