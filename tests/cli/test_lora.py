"""`ezaudio train lora`, `ezaudio lora merge`, and `--lora`."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from tests.cli.words import with_set

from ezaudio.audio import read_audio, read_metadata
from ezaudio.dit.lora_file import load_adapter, save_adapter
from ezaudio.files import sha256_file
from ezaudio.training.tasks.lora import LoRATask

RATE = 24_000
CPU = ("--device", "cpu", "--dtype", "float32")
QUICK = (
    "lora.rank=2", "batch.seconds=1", "batch.duration_s=[0.3, 0.5]", "run.steps=3",
    "run.tensorboard=false", "optim.rate=1.0e-2",
)  # fmt: skip


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    place = tmp_path_factory.mktemp("my sounds")
    time = np.arange(RATE // 2) / RATE
    for i, hz in enumerate((300, 400, 500)):
        soundfile.write(place / f"low tone {i}.wav", 0.3 * np.sin(2 * np.pi * hz * time), RATE)
    return place


@pytest.fixture
def train(ezaudio, folder, sounds):
    def call(*arguments, place=sounds):
        return ezaudio("train", "lora", place, "--model", folder, *CPU, *with_set(arguments))

    return call


@pytest.fixture(scope="module")
def adapter(tmp_path_factory, folder, sounds):
    from ezaudio.cli.main import run

    path = tmp_path_factory.mktemp("made") / "tones.safetensors"
    words = ["train", "lora", sounds, "--model", folder, *CPU, "-o", path, "-q", *with_set(QUICK)]
    assert run([str(word) for word in words]) == 0
    return path


def test_a_folder_of_sounds_becomes_an_adapter_that_generates(train, ezaudio, folder):
    code, out, err = train("-o", "my-lora.safetensors", *QUICK)
    assert (code, out) == (0, "my-lora.safetensors\n")
    assert "3 sounds, 1.5 s;" in err
    assert "with the adapter" in err
    words = ("low tone", "--model", folder, *CPU, "--duration", 0.3, "--seed", 1)
    code, out, err = ezaudio("generate", *words, "--lora", "my-lora.safetensors:0.8", "-o", "a.wav")
    assert (code, out) == (0, "a.wav\n")
    told = read_metadata("a.wav")
    assert told["loras"] == [
        {"name": "my-lora", "sha256": sha256_file("my-lora.safetensors"), "strength": 0.8}
    ]
    assert (told["seed"], told["prompt"]) == (1, "low tone")


def test_both_spellings_do_the_same(train, ezaudio, folder, sounds):
    assert train("-o", "one.safetensors", "-q", *QUICK)[0] == 0
    words = (sounds, "--model", folder, *CPU, "-o", "two.safetensors", "-q", *with_set(QUICK))
    assert ezaudio("lora", "train", *words) == (0, "two.safetensors\n", "")
    assert sha256_file("one.safetensors") == sha256_file("two.safetensors")


def test_a_dry_run_shows_the_plan_and_writes_nothing(train):
    code, out, _ = train("-o", "x.safetensors", "--dry-run", *QUICK)
    assert code == 0
    assert "3 to learn from" in out and "frozen" in out and "steps       3" in out
    assert list(Path().iterdir()) == []


def test_a_stopped_run_goes_on_with_resume(train, monkeypatch):
    step = LoRATask.step

    def stopped(self, index, rate):
        os.kill(os.getpid(), signal.SIGINT)
        return step(self, index, rate)

    monkeypatch.setattr(LoRATask, "step", stopped)
    code, out, err = train("-o", "x.safetensors", "-q", *QUICK)
    assert (code, out) == (130, "") and "stopped by SIGINT after step 1; --resume" in err
    monkeypatch.setattr(LoRATask, "step", step)
    code, _, err = train("-o", "x.safetensors", *QUICK)
    assert code == 2 and "--resume" in err and err.count("\n") == 1
    code, out, _ = train("-o", "x.safetensors", "--resume", *QUICK)
    assert (code, out) == (0, "x.safetensors\n")
    assert load_adapter("x.safetensors").facts["training"]["steps"] == 3


def test_resume_begins_what_has_not_begun_and_leaves_what_is_complete(train):
    code, out, _ = train("-o", "x.safetensors", "--resume", *QUICK)
    assert (code, out) == (0, "x.safetensors\n")
    made = Path("x.safetensors").stat().st_mtime_ns
    code, out, err = train("-o", "x.safetensors", "--resume", *QUICK)
    assert (code, out) == (0, "") and err == "was complete.\n"
    code, _, err = train("-o", "x.safetensors", "--resume", *QUICK, "text_dropout=0.5")
    assert code == 2 and "`text_dropout`: got 0.5" in err and err.count("\n") == 1
    assert Path("x.safetensors").stat().st_mtime_ns == made


def test_sounds_that_are_left_out_are_told(train, sounds):
    shutil.copytree(sounds, "mine")
    Path("mine/bad.wav").write_bytes(b"no sound")
    code, _, err = train("-o", "x.safetensors", *QUICK, place="mine")
    assert code == 0
    assert "left out: mine/bad.wav" in err


BAD_TRAINING = [
    (["-o", "x.bin"], "`--output`"),
    (["-o", "no/where/x.safetensors"], "no folder"),
    (["-o", "x.safetensors", "rank=2"], "`rank`"),
    (["-o", "x.safetensors", "lora.rank=two"], "`lora.rank`"),
    (["-o", "x.safetensors", "lora.rank=999"], "at most"),
    (["-o", "x.safetensors", "lora.targets=[ears]"], "feedforward"),
    (["-o", "x.safetensors", "--set", "lora.rank"], "field.field=value"),
    (["-o", "x.safetensors", "--recipe", "none.yaml"], "none.yaml"),
    ([], "-o"),
]


@pytest.mark.parametrize(
    ("words", "said"), BAD_TRAINING, ids=[" ".join(w) for w, _ in BAD_TRAINING]
)
def test_bad_input_of_a_training_is_one_line_and_leaves_nothing(train, words, said):
    code, out, err = train(*words, "-q")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert list(Path().iterdir()) == []


def test_a_folder_without_sounds_is_one_line(train):
    Path("empty").mkdir()
    for place in ("empty", "none"):
        code, out, err = train("-o", "x.safetensors", place=place)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "`SOUNDS`" in err


def test_an_edit_names_its_adapters(ezaudio, folder, adapter):
    soundfile.write("in.wav", 0.1 * np.ones(RATE // 2), RATE)
    code, *_ = ezaudio("edit", "in.wav", "low tone", "--span", "0.1:0.3", "-o", "out.wav",
                       "--model", folder, *CPU, "--lora", adapter)  # fmt: skip
    assert code == 0
    assert read_metadata("out.wav")["loras"][0]["strength"] == 1.0


def test_info_shows_what_an_adapter_is(ezaudio, folder, adapter):
    code, out, _ = ezaudio("info", adapter)
    told = yaml.safe_load(out)
    assert code == 0
    assert (told["kind"], told["config"]["rank"]) == ("lora", 2)
    assert told["base"] == {"name": "tiny", "sha256": sha256_file(folder / "dit.safetensors")}
    assert told["training"]["captions"] == ["low tone"]


def test_a_merged_model_gives_what_the_adapter_gives(ezaudio, folder, adapter):
    code, out, _ = ezaudio("lora", "merge", folder, f"{adapter}:0.5", "-o", "m", "--name", "toner")
    assert code == 0
    assert out.split() == ["m/dit.safetensors", "m/vae.safetensors", "m/model.json"]
    words = ("low tone", *CPU, "--duration", 0.3, "--seed", 1)
    ezaudio("generate", *words, "--model", "m", "-o", "a.wav")
    ezaudio("generate", *words, "--model", folder, "--lora", f"{adapter}:0.5", "-o", "b.wav")
    one, two = (read_audio(name).samples for name in ("a.wav", "b.wav"))
    np.testing.assert_allclose(one, two, atol=2 / 32768)
    assert read_metadata("a.wav")["model"] == "toner"


@pytest.fixture
def elsewhere(adapter, tmp_path):
    """The adapter, as if it was fitted to another model."""
    from dataclasses import replace

    found = load_adapter(adapter)
    base = replace(found.base, name="dogs", sha256="d" * 64)
    save_adapter(tmp_path / "dogs.safetensors", replace(found, base=base))
    return tmp_path / "dogs.safetensors"


@pytest.mark.parametrize("command", ["generate", "edit", "merge"])
def test_an_adapter_of_another_model_is_one_line_with_both_names(
    ezaudio, folder, elsewhere, command
):
    soundfile.write("in.wav", 0.1 * np.ones(RATE // 2), RATE)
    words = {
        "generate": ["generate", "a", "-o", "x.wav", "--model", folder, "--lora", elsewhere],
        "edit": ["edit", "in.wav", "a", "--span", "0:0.2", "-o", "x.wav", "--model", folder,
                 "--lora", elsewhere],
        "merge": ["lora", "merge", folder, elsewhere, "-o", "m"],
    }  # fmt: skip
    code, out, err = ezaudio(*words[command])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "fitted to dogs (sha256 dddd" in err and "here is tiny (" in err
    assert sorted(p.name for p in Path().iterdir()) == ["dogs.safetensors", "in.wav"]


@pytest.mark.parametrize(
    ("value", "said"),
    [("none.safetensors", "no such file"), ("cut.safetensors", "truncated"), (":2", "`--lora`"),
     ("{adapter}:nan", "`--lora`"), ("{adapter}:99", "`--lora`"), ("{dit}", "expected a `lora`")],
)  # fmt: skip
def test_a_lora_that_cannot_be_is_one_line_before_the_model_is_loaded(
    ezaudio, folder, adapter, monkeypatch, value, said
):
    monkeypatch.setattr(
        "ezaudio.pipelines.ezaudio.EzAudio.from_pretrained", lambda *a, **k: pytest.fail("loaded")
    )
    Path("cut.safetensors").write_bytes(adapter.read_bytes()[:-9])
    value = value.format(adapter=adapter, dit=folder / "dit.safetensors")
    code, out, err = ezaudio("generate", "a", "--model", folder, "-o", "x.wav", "--lora", value)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not Path("x.wav").exists()
