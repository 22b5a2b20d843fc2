"""Recipes: bases, stages, overrides; every one that comes with the package trains at tiny size."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile
import yaml
from tests.tiny_model import FakeTextConfig
from tests.training.small import MODEL, run_small, write_latents

from ezaudio.data.checks import LENIENT
from ezaudio.data.manifest import ClipRow
from ezaudio.data.pack import PackConfig, pack_clips
from ezaudio.dit import DIT_PRESETS
from ezaudio.errors import InputError
from ezaudio.text import TEXT_ENCODERS
from ezaudio.training.loop.distributed import Engine, EngineConfig
from ezaudio.training.recipe import FOLDER, find_recipe, merged, read_recipe, read_values
from ezaudio.training.runner import run_recipe
from ezaudio.training.tasks.plan import measure

OTHERS = ("lora",)
"""Recipes of commands of their own; `test_lora.py` runs this one as it is, for fewer steps."""

NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem not in OTHERS)
STAGED = [name for name in NAMES if read_values(FOLDER / f"{name}.yaml")["kind"] == "diffusion"]
WAVES = [name for name in NAMES if name not in STAGED]
OWN = {"starter", "paper-l", "starter-vae", "paper-vae"}


@pytest.fixture(scope="session")
def latents(tmp_path_factory):
    return write_latents(tmp_path_factory.mktemp("latents"))


@pytest.fixture(scope="session")
def packed(tmp_path_factory):
    """Four short noises, one of them for validation."""
    place, rows = tmp_path_factory.mktemp("packed"), []
    for i in range(4):
        wave = np.random.default_rng(i).uniform(-0.3, 0.3, 4800)
        soundfile.write(place / f"{i}.wav", wave, 24_000)
        facts = {"split": "valid" if i == 3 else "train", "label": "noise", "caption": "Noise."}
        rows.append(ClipRow(file=f"{i}.wav", **facts))
    pack_clips(rows, place, place / "store", PackConfig(audio="wav", check=LENIENT))
    return place / "store"


@pytest.fixture(autouse=True)
def fake_text(monkeypatch):
    monkeypatch.setitem(TEXT_ENCODERS, "fake", FakeTextConfig)


def tiny(stages, latents, output):
    """Overrides that make a recipe run in no time."""
    model = {name: value for name, value in MODEL.items() if name != "adaln"}
    changes = [f"model.{name}={value}" for name, value in model.items()]
    changes += ["text={kind: fake}", f"output={output}", "engine={device: cpu}"]
    for stage in stages:
        changes += [
            f"stages.{stage}.{change}"
            for change in (
                f"data.latents={latents}",
                "data.batch.rows=4",
                "data.batch.duration_s=[0.3, 0.4]",
                "run.steps=2",
                "run.hours=null",
                "run.tensorboard=false",
                "valid.batches=1",
                "listen=null",
                "averages.every=1",
                "data.batch.mixed_share=0",
                "compute.micro_rows=2",
                "compute.compile=null",
            )
        ]
    return changes


@pytest.mark.parametrize("name", STAGED)
def test_every_recipe_trains_all_its_stages_at_tiny_size(name, latents, tmp_path):
    stages = read_recipe(name).stages
    recipe = read_recipe(name, tiny(stages, latents, tmp_path))
    ended = run_recipe(recipe, Engine(EngineConfig(device="cpu")))
    assert [each.outcome.step for each in ended] == [2] * len(stages)
    config = recipe.model
    assert (config.adaln, config.long_skips) == tuple(
        getattr(read_recipe(name).model, field) for field in ("adaln", "long_skips")
    )


SMALL = {
    "spectral": ["model.width=8", "model.depth=1"],
    "oobleck": ["model.base_width=2", "model.latent_channels=4"],
    "multi-stft": "discriminator.width=2",
    "compressed-stft": "discriminator.widths=[2, 2, 2, 2, 2]",
}


@pytest.mark.parametrize("name", WAVES)
def test_every_recipe_of_an_autoencoder_trains_at_tiny_size(name, packed, tmp_path):
    values = read_values(FOLDER / f"{name}.yaml")
    changes = [f"waveforms={packed}", f"output={tmp_path}", "engine={device: cpu}", "start=null"]
    changes += ["crops.rows=2", "crops.crop_s=0.1", "valid_batches=1"]
    changes += ["run.steps=2", "run.hours=null", "run.tensorboard=false"]
    changes += SMALL[values["model"]["kind"]]
    if values.get("discriminator"):
        changes.append(SMALL[values["discriminator"]["kind"]])
    (ended,) = run_recipe(read_recipe(name, changes), Engine(EngineConfig(device="cpu")))
    assert ended.outcome.step == 2 and math.isfinite(ended.outcome.measured["valid_loss"])
    assert (tmp_path / "vae.safetensors").is_file()


def test_no_recipe_is_left_out():
    every = {path.stem for path in FOLDER.iterdir() if path.suffix in (".yaml", ".yml")}
    assert every == {*STAGED, *WAVES, *OTHERS}
    assert {"starter", "paper-l", "paper-xl", "paper-vae"} <= every


@pytest.mark.parametrize("name", sorted({*NAMES} - OWN))
def test_a_variant_is_at_most_twenty_lines_over_a_base(name):
    text = (FOLDER / f"{name}.yaml").read_text()
    assert len(text.splitlines()) <= 20 and "base" in yaml.safe_load(text)


@pytest.mark.parametrize(("name", "preset"), [("paper-l", "l"), ("paper-xl", "xl")])
def test_the_papers_recipes_have_the_papers_numbers(name, preset):
    recipe = read_recipe(name)
    assert recipe.model == DIT_PRESETS[preset]
    stages = recipe.stages
    assert [(s.run.steps, s.optim.rate) for s in stages.values()] == [
        (100_000, 1e-4),
        (50_000, 5e-5),
        (30_000, 1e-5),
    ]
    assert [s.draws.mask.full_share for s in stages.values()] == [0.0, 0.75, 0.75]
    assert [s.text for s in stages.values()] == [False, True, True]
    assert all(s.data.batch.rows == 128 and s.draws.text_dropout == 0.1 for s in stages.values())


def test_the_ablations_are_the_papers():
    steps = {
        name: [(s.run.steps, s.optim.rate) for s in read_recipe(name).stages.values()]
        for name in ("figure-2", "table-1-no-mask", "table-1-wavcaps")
    }
    assert steps["figure-2"] == [(80_000, 1e-4)]
    assert steps["table-1-no-mask"] == [(150_000, 1e-4), (30_000, 1e-5)]
    assert steps["table-1-wavcaps"] == steps["table-1-no-mask"]
    variants = {
        (read_recipe(n).model.adaln.kind, read_recipe(n).model.long_skips)
        for n in NAMES
        if n.startswith("figure-2") and "small" not in n
    }
    assert len(variants) == 6


def test_mappings_are_merged_and_null_removes():
    below = {"a": {"b": 1, "c": 2}, "d": [1, 2], "e": {"kind": "x", "f": 1}}
    above = {"a": {"c": 3}, "d": [3], "e": {"kind": "y"}, "g": 4}
    assert merged(below, above) == {"a": {"b": 1, "c": 3}, "d": [3], "e": {"kind": "y"}, "g": 4}
    assert merged(below, {"a": None, "d": None}) == {"e": {"kind": "x", "f": 1}}
    assert below["a"] == {"b": 1, "c": 2}


def test_a_recipe_may_lie_beside_its_base(tmp_path):
    (tmp_path / "base.yaml").write_text((FOLDER / "starter.yaml").read_text())
    (tmp_path / "mine.yaml").write_text("base: base.yaml\noutput: elsewhere\n")
    recipe = read_recipe(tmp_path / "mine.yaml", ["stages.align.run.steps=7"])
    assert str(recipe.output) == "elsewhere" and recipe.stages["align"].run.steps == 7
    assert list(recipe.stages) == ["mask", "align", "tune"]
    recipe = read_recipe("starter", ["stages.mask=null", "each.run.seed=5"])
    assert {s.run.seed for s in recipe.stages.values()} == {5} and len(recipe.stages) == 2


@pytest.mark.parametrize(
    ("source", "overrides", "field"),
    [
        ("nothing", [], "recipe"),
        ("starter", ["stages.align.nothing=1"], "stages.align.nothing"),
        ("starter", ["stages.align.run.steps=0"], "stages.align.run.steps"),
        ("starter", ["text.kind=nothing"], "text"),
        ("starter", ["stages={}"], "DiffusionRecipe"),
        ("starter", ["model.heads=7"], "model"),
    ],
)
def test_a_fault_in_a_recipe_is_named(source, overrides, field):
    with pytest.raises(InputError) as error:
        read_recipe(source, overrides)
    assert error.value.field == field


def test_a_circle_of_bases_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(InputError, match="at most 8 files"):
        read_recipe(tmp_path / "a.yaml")


def test_an_unknown_kind_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("kind: nothing\n")
    with pytest.raises(InputError, match="diffusion"):
        read_recipe(tmp_path / "a.yaml")
    assert find_recipe("starter") == FOLDER / "starter.yaml"


# Plans


def test_a_plan_counts_what_a_stage_takes(latents, tmp_path):
    recipe = read_recipe("starter", tiny(["mask", "align", "tune"], latents, tmp_path))
    plans = [job.plan(1) for job in recipe.jobs()]
    network = recipe.model.build()
    parameters = sum(p.numel() for p in network.parameters())
    assert plans[1].parameters == parameters > plans[0].parameters
    assert plans[1].state_bytes == parameters * 4 * (4 + 3)
    assert "2 shards" in plans[0].notes["latents"] or "1 shards" in plans[0].notes["latents"]


def test_operations_of_a_plan_are_those_of_the_network():
    recipe = read_recipe("paper-l")
    stage = recipe.stages["align"]
    _, two, kept_two = measure(recipe.model, stage, rows=2, frames=500)
    _, four, kept_four = measure(recipe.model, stage, rows=4, frames=500)
    assert four == 2 * two and 1.9 < kept_four / kept_two <= 2.0
    one = two / 2
    linear = 2 * 500 * 25 * 1024 * 1024 * (4 + 12)  # attention's four, GEGLU's twelve
    assert linear < one < 1.6 * linear


def test_a_plan_of_the_paper_needs_no_data_and_no_memory():
    plan = read_recipe("paper-xl").jobs()[1].plan(8)
    assert abs(plan.parameters - 874e6) < 5e6 and plan.steps == 50_000
    assert "not there yet" in plan.notes["latents"]
    assert plan.step_flops > 1e14


# Going on


def test_a_run_goes_on_with_its_own_recipe_only(latents, tmp_path):
    run_small(latents, tmp_path)
    with pytest.raises(InputError, match="--resume"):
        run_small(latents, tmp_path)
    with pytest.raises(InputError, match=r"model\.width"):
        run_small(latents, tmp_path, "model.width=32", "stages.align.run.steps=9", resume=True)
    (ended,) = run_small(latents, tmp_path, "stages.align.run.steps=9", resume=True)
    assert ended.outcome.step == 9
    kept = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    assert kept["stages"]["align"]["run"]["steps"] == 9
