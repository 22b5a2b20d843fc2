"""`ezaudio train`: plans, runs, resumed runs, signals, and what goes wrong."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from tests.cli.words import with_set
from tests.training.small import MODEL, STAGE, write_latents

from ezaudio.cli.progress import fitting
from ezaudio.cli.train import facts
from ezaudio.data.checks import LENIENT
from ezaudio.data.clips import ClipRow
from ezaudio.data.pack import PackConfig, pack_clips
from ezaudio.training.loop.loggers import read_log
from ezaudio.training.loop.trainer import Progress
from ezaudio.training.tasks.diffusion import DiffusionTask


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    return write_latents(tmp_path_factory.mktemp("latents"))


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    place = tmp_path_factory.mktemp("sounds")
    for i in range(4):
        wave = np.random.default_rng(i).uniform(-0.3, 0.3, 7200)
        soundfile.write(place / f"{i}.wav", wave, 24_000)
    rows = [ClipRow(file=f"{i}.wav", label="noise", caption="Noise.") for i in range(4)]
    pack_clips(rows, place, place / "packed", PackConfig(check=LENIENT))
    return place / "packed"


@pytest.fixture
def train(ezaudio, latents):
    """`ezaudio train` of a small recipe of two stages in an empty folder."""

    def call(*arguments, recipe="mine.yaml"):
        data = {"latents": str(latents), "batch": {"rows": 4, "duration_s": [0.3, 0.6]}}
        values = {
            "output": "run",
            "engine": {"device": "cpu"},
            "model": MODEL,
            "text": {"kind": "fake"},
            "each": {**STAGE, "data": data},
            "stages": {"mask": {"text": False}, "align": {}},
        }
        Path("mine.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        return ezaudio("train", recipe, *with_set(arguments))

    return call


ONE = "stages.mask=null"


def test_a_recipe_is_trained_stage_by_stage_and_its_files_are_printed(train):
    code, out, err = train()
    assert code == 0
    assert out.splitlines()[0] == "run/mask/dit.safetensors"
    assert "run/align/dit.safetensors" in out.splitlines()
    assert all(Path(line).is_file() for line in out.splitlines())
    assert "mask: 6 steps, valid_loss" in err and "align: 6 steps, valid_loss" in err
    assert "loss " in err and " ms" in err and max(map(len, err.splitlines())) <= 80
    code, out, err = train("--resume", "-q")
    assert (code, out, err) == (0, "", "")


def test_quiet_says_nothing_but_the_files(train):
    code, out, err = train(ONE, "-q")
    assert (code, err) == (0, "") and out.splitlines()[0] == "run/dit.safetensors"


def test_a_signal_leaves_with_its_number_and_resume_goes_on_with_the_same_losses(
    train, monkeypatch
):
    assert train(ONE, "output=whole", "-q")[0] == 0
    step = DiffusionTask.step

    def stopped(self, index, rate):
        if index == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, index, rate)

    monkeypatch.setattr(DiffusionTask, "step", stopped)
    code, out, err = train(ONE, "-q")
    assert (code, out) == (128 + signal.SIGTERM, "")
    assert err == "align: stopped by SIGTERM after step 3; --resume goes on.\n"
    monkeypatch.setattr(DiffusionTask, "step", step)
    code, out, err = train(ONE)
    assert (code, out, err.count("\n")) == (2, "", 1) and "--resume" in err
    assert train(ONE, "--resume", "-q")[0] == 0
    found, expected = (
        {line["step"]: line["loss"] for line in read_log(Path(name)) if "loss" in line}
        for name in ("run", "whole")
    )
    assert found == expected and len(found) == 6


def test_resume_without_a_run_says_that_one_begins(train):
    code, _, err = train(ONE, "--resume", "stages.align.run.steps=1", "-q")
    assert (code, err) == (0, "")
    code, _, err = train(ONE, "--resume", "stages.align.run.steps=1", "output=other")
    assert code == 0 and "nothing to go on with" in err


def test_a_dry_run_of_each_kind_shows_the_plan_and_writes_nothing(train, latents, packed):
    code, out, err = train("--dry-run")
    assert (code, err) == (0, "") and out.count("stage  ") == 2
    assert f"{latents}: 1 shards, 10 clips" in out and "a step" in out
    changes = (f"waveforms={packed}", "--dry-run")
    for name in ("starter-vae", "paper-vae"):
        code, out, err = train(*changes, recipe=name)
        assert (code, err) == (0, "")
        assert "of activations" in out and "a step" in out and "GFLOP" in out
        assert f"{packed}: 1 shards, 4 clips" in out
    code, out, _ = train("--dry-run", recipe="paper-xl")
    assert code == 0 and "not there yet" in out and "100,000" in out
    assert re.findall(r"parameters  (\d+)\.\d M", out) == ["717", "874", "874"]
    assert [path.name for path in Path().iterdir()] == ["mine.yaml"]


def test_the_time_of_a_stage_that_hours_bound_is_not_that_of_all_its_steps(train):
    code, out, _ = train(ONE, "--dry-run", "stages.align.run={steps: 900000000, hours: 0.5}")
    assert code == 0
    time = next(line for line in out.splitlines() if line.strip().startswith("time"))
    assert "0.5 h in all, which are about " in time and "days" not in time
    assert "of a trial step here" in time


def test_the_measures_of_a_step_fit_a_terminal_of_80_columns():
    values = {"loss": 12.3456, "gradient_norm": 123.45, "sound_s": 480.0}
    progress = Progress(99_999, 100_000, 0.99, 1.234, 3 << 30, values)
    wide, narrow = (fitting(facts(progress), columns) for columns in (200, 36))
    assert wide == "loss 12.3456 · 1234 ms · norm 123.45 · 389 x real time · 3.00 GiB"
    assert narrow == "loss 12.3456 · 1234 ms · norm 123.45"
    assert fitting(facts(progress), 13) == "loss 12.3456"


def test_a_loss_that_is_no_number_is_one_line_with_the_batch_and_the_report(train, monkeypatch):
    monkeypatch.setattr(DiffusionTask, "step", lambda *a: {"loss": float("nan")})
    code, out, err = train(ONE, "-q")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "step 0: the loss is nan; batch: " in err and "run/report.json" in err


BAD = [
    ([], "starr", "`RECIPE`"),
    ([], "tar.yaml", "YAML mapping"),
    (["--set", "nothing"], None, "field.field=value"),
    (["nothing=1"], None, "the fields kind, output, engine, model, text, stages"),
    (
        ["each.nothing=1"],
        None,
        "`stages.align.nothing`: got 1; allowed: the fields draws, loss, averages",
    ),
    (["stages.align.run.stepz=1"], None, "the fields steps, hours, seed"),
    (
        ["model.adaln.nothing=1"],
        None,
        "`model.adaln.sola.nothing`: got 1; allowed: the fields kind, ",
    ),
    (["stages.align.run.steps=x"], None, "`stages.align.run.steps`"),
    (["model.width=17"], None, "multiple of"),
    (["model.latent_channels=5"], None, "allowed: 4, as the latents"),
    (["model.text_width=5"], None, "`model.text_width`"),
    (["text.kind=parrot"], None, "minilm"),
    (["each.data.latents=none"], None, "`latents`: got 'none'"),
    (["each.data.texts=none"], None, "`texts`: got 'none'"),
    (["each.data.batch.rows=-1"], None, "`stages.align.data.batch.rows`"),
    (["each.data.batch.mixed_share=0.5"], None, "the store has no mixes"),
    (["each.draws.mask.ratio=[0.9, 0.1]"], None, "the lower one first"),
    (["each.draws.mask.ratio=[1, 2]"], None, "two shares from 0 to 1"),
    (["each.optim.betas=[0.9, 1.0]"], None, "below 1"),
    (["each.averages.half_lives=[0]"], None, "different half-lives above 0"),
    (["each.compute.compile=gcc"], None, "inductor"),
    (["output="], None, "`output`: got None; allowed: a path"),
    (["stages.align.start=none.safetensors"], None, "none.safetensors"),
    (["each.listen={vae: none.safetensors}"], None, "none.safetensors"),
    (["engine.sharding=fsdp2"], None, "torchrun"),
    (["engine.device=tpu"], None, "'auto' or 'cpu'"),
    (["output=mine.yaml"], None, "mine.yaml"),
    (["output=/proc/run"], None, "/proc/run"),
    (["waveforms=none"], "starter-vae", "none"),
    (["waveforms=none"], "paper-vae", "none"),
    (["crops.gain_db=[3, -3]"], "starter-vae", "two levels in dB"),
    (["crops.crop_s=0.001"], "starter-vae", "longest window"),
    (["crops.crop_s=0.001"], "paper-vae", "longest window"),
    (["model.kind=x"], "starter-vae", "`model.kind`: got 'x'; allowed: 'oobleck', 'spectral'"),
]


@pytest.mark.parametrize(
    ("changes", "recipe", "said"), BAD, ids=[" ".join([*c, r or ""]) for c, r, _ in BAD]
)
def test_bad_input_is_one_line_and_nothing_is_written(train, changes, recipe, said):
    Path("tar.yaml").write_text("just words")
    only = [ONE] if recipe is None else []
    code, out, err = train(*only, *changes, recipe=recipe or "mine.yaml")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    left = {path.name for path in Path().rglob("*")} - {"mine.yaml", "tar.yaml"}
    assert left == set()
