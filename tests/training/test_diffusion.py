"""A stage is a value: masks, text, weights and where it begins; all are trained by one task."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.training.small import recipe_of, run_small, task_of, write_latents
from tests.training.toys import killed_at_random, on_processes, on_two

from ezaudio.checkpoints import load_module, save_module
from ezaudio.data.batches import LatentBatch
from ezaudio.diffusion import add_noise, velocity_target, zero_snr_schedule
from ezaudio.errors import CheckpointError, InputError
from ezaudio.training.loop.distributed import Engine, EngineConfig
from ezaudio.training.loop.loggers import read_log
from ezaudio.training.tasks.corruption import DrawConfig, MaskConfig, Place, draw
from ezaudio.training.tasks.diffusion import DiffusionTask, load_material, load_start
from ezaudio.training.tasks.velocity import VelocityError
from ezaudio.types import TextEmbedding
from ezaudio.vae import OobleckConfig

TWO_RANKS = 2e-5
"""Largest relative difference of a loss between one process and two: sums in another order."""

SHARDED = 2e-5


@pytest.fixture(scope="session")
def latents(tmp_path_factory):
    return write_latents(tmp_path_factory.mktemp("latents"))


@pytest.fixture(scope="session")
def whole(latents, tmp_path_factory):
    """A stage of six steps, and its losses."""
    folder = tmp_path_factory.mktemp("whole")
    run_small(latents, folder)
    return folder


def losses(folder):
    return {line["step"]: line["loss"] for line in read_log(folder) if "loss" in line}


def apart(ours, theirs):
    assert list(ours) == list(theirs)
    return max(abs(ours[step] - theirs[step]) / theirs[step] for step in theirs)


# One step


def test_the_error_of_a_batch_is_a_weighted_mean_over_the_frames_that_are_hidden(latents, tmp_path):
    task = task_of(latents, tmp_path, "stages.align.loss.channel_power=0.5")
    with torch.no_grad():
        for parameter in task.network.parameters():
            parameter.add_(0.1)
    rows = task.train.rows(3)
    schedule = zero_snr_schedule()
    x_t = add_noise(rows.x0, rows.noise, rows.steps, schedule)
    target = velocity_target(rows.x0, rows.noise, rows.steps, schedule)
    text = TextEmbedding(rows.tokens, rows.attend)
    v = task.network(
        x_t, rows.steps, task.network.prepare(text), known=rows.x0, regenerate=rows.regenerate
    )
    error = ((v - target).square() * task.error.channel_weights).mean(dim=1, keepdim=True)
    expected = (error * rows.weight)[rows.regenerate].sum() / rows.weight[rows.regenerate].sum()
    found = task.error(rows).sum() / rows.weight.sum()
    torch.testing.assert_close(found, expected)
    assert not rows.regenerate.all() and rows.regenerate.any()


def test_frames_that_are_shown_and_frames_of_no_weight_do_not_count(latents, tmp_path):
    task = task_of(latents, tmp_path)
    rows = task.train.rows(0)
    assert bool((rows.weight[~rows.regenerate] == 0).all())
    quiet = rows._replace(weight=torch.zeros_like(rows.weight))
    assert float(task.error(quiet).detach().abs().sum()) == 0.0


def test_min_snr_is_the_published_weight_and_zero_in_pure_noise(latents, tmp_path):
    task = task_of(latents, tmp_path)
    rows = task.train.rows(0)
    steps = torch.tensor([0, 300, 700, 999])
    schedule = zero_snr_schedule()
    alpha, sigma = (x[steps].float()[:, None, None] for x in (schedule.alpha, schedule.sigma))
    rows = rows._replace(steps=steps, alpha=alpha, sigma=sigma)
    weighed = VelocityError(task.network, torch.ones(4), min_snr=5.0)
    ratio = (weighed(rows) / task.error(rows)).detach()
    snr = (alpha / sigma).square()[:, 0, 0]
    torch.testing.assert_close(ratio, snr.clamp(max=5.0) / (snr + 1))
    assert ratio[-1] == 0 and task.stage.loss.min_snr is None


def test_a_step_changes_the_weights_and_a_faulty_one_does_not(latents, tmp_path):
    task = task_of(latents, tmp_path)
    before = {name: x.clone() for name, x in task.network.state_dict().items()}
    assert math.isfinite(float(task.step(0, 1.0)["loss"]))
    after = {name: x.clone() for name, x in task.network.state_dict().items()}
    assert any(not torch.equal(before[name], after[name]) for name in before)
    task.train.rows = None
    rows = task.rows.make(1)
    task.rows.make = lambda index: rows._replace(x0=rows.x0 * math.nan)
    assert math.isnan(task.step(1, 1.0)["gradient_norm"])
    assert all(torch.equal(after[name], x) for name, x in task.network.state_dict().items())


@pytest.mark.parametrize(
    ("override", "tolerance"),
    [
        ("compute.micro_rows=1", 2e-6),
        ("compute.micro_rows=3", 2e-6),
        ("compute.gradient_checkpointing=true", 0.0),
        ("compute.prefetch=2", 0.0),
        pytest.param(
            "compute.compile=eager",
            0.0,
            marks=pytest.mark.filterwarnings("ignore:The .grad attribute"),  # torch's tracing
        ),
    ],
)
def test_trades_of_time_for_memory_keep_the_losses(latents, whole, tmp_path, override, tolerance):
    run_small(latents, tmp_path, f"stages.align.{override}")
    assert apart(losses(tmp_path), losses(whole)) <= tolerance


def test_bfloat16_stays_close_and_keeps_whole_weights(latents, whole, tmp_path):
    run_small(latents, tmp_path, "engine.precision=bf16")
    assert 0 < apart(losses(tmp_path), losses(whole)) < 0.02
    assert load_file(tmp_path / "dit.safetensors")["patches.weight"].dtype == torch.float32


def test_dropout_follows_from_the_step(latents, tmp_path):
    settings = ("model.dropout=0.2", "stages.align.optim.decay_share=0")
    run_small(latents, tmp_path / "a", *settings)
    run_small(latents, tmp_path / "b", *settings, "stages.align.run.steps=3")
    run_small(latents, tmp_path / "b", *settings, resume=True)
    assert losses(tmp_path / "a") == losses(tmp_path / "b")


# What is drawn


def rows_of(count, frames=40):
    return LatentBatch(
        x0=torch.zeros(count, 4, frames),
        prompts=tuple(f"sound {i}" for i in range(count)),
        weight=torch.ones(count, 1, frames),
        ids=("",) * count,
    )


def drawn(count, place, **config):
    return draw(rows_of(count), DrawConfig(**config), place, num_steps=1000, frame_rate=50.0)


def test_two_processes_draw_together_what_one_draws():
    one = drawn(6, Place(seed=7, step=3, rank=0, world=1))
    two = [drawn(3, Place(seed=7, step=3, rank=rank, world=2)) for rank in range(2)]
    for name in ("noise", "steps", "regenerate"):
        assert torch.equal(getattr(one, name), torch.cat([getattr(x, name) for x in two]))


def test_three_quarters_are_made_as_a_whole_and_a_tenth_has_no_prompt():
    made = [drawn(50, Place(0, step, 0, 1)) for step in range(20)]
    full = torch.cat([x.regenerate.all(dim=2) for x in made]).float().mean()
    share = torch.cat([x.regenerate.float().mean(dim=2) for x in made])
    empty = [prompt == "" for x in made for prompt in x.prompts]
    assert 0.70 < full < 0.82 and 0.07 < np.mean(empty) < 0.13
    assert float(share.min()) >= 0.24


def test_masked_modelling_hides_a_quarter_to_all_in_spans_of_two_tenths_of_a_second():
    made = drawn(200, Place(0, 0, 0, 1), mask=MaskConfig(full_share=0.0))
    share = made.regenerate.float().mean(dim=2)
    assert 0.24 <= float(share.min()) < 0.3 and float(share.max()) > 0.95
    hidden = made.regenerate[0, 0].int()
    runs = torch.cat([torch.tensor([0]), hidden, torch.tensor([0])]).diff().nonzero()[:, 0]
    assert int((runs[1::2] - runs[::2]).min()) >= 10


def test_steps_of_a_batch_are_spread_over_the_whole_range():
    steps = drawn(10, Place(0, 5, 0, 1)).steps
    assert sorted((steps // 100).tolist()) == list(range(10))
    noisier = drawn(1000, Place(0, 5, 0, 1), step_power=0.5).steps.float().mean()
    assert 620 < noisier < 710


def test_a_broken_clip_never_stops_a_run(tmp_path):
    folder = write_latents(tmp_path)
    tar = next(folder.glob("*.tar"))
    content = bytearray(tar.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = b"\xff" * 64  # float16 NaNs
    tar.write_bytes(content)
    (ended,) = run_small(folder, tmp_path / "run", "stages.align.run.steps=20")
    assert ended.outcome.step == 20
    assert all(math.isfinite(loss) for loss in losses(tmp_path / "run").values())


# Stages


def test_three_stages_follow_one_another(latents, tmp_path):
    stages = {
        "mask": {"text": False, "draws": {"mask": {"full_share": 0.0}}},
        "align": {},
        "tune": {"optim": {"rate": 1e-4}},
    }
    ended = run_small(latents, tmp_path, stages=stages)
    assert [each.job.name for each in ended] == ["mask", "align", "tune"]
    made = {name: load_module(tmp_path / name / "dit.safetensors") for name in stages}
    assert made["mask"].config["text_width"] is None
    assert not [name for name in made["mask"].tensors if "text" in name]
    assert made["align"].config["text_width"] == 24
    assert made["align"].extra["step"] == 6 and made["align"].extra["average"]
    assert str(tmp_path) not in json.dumps(made["tune"].extra)
    again = run_small(latents, tmp_path, stages=stages, resume=True)
    assert [each.outcome for each in again] == [None, None, None]


def test_alignment_begins_as_the_network_without_text_and_learns_to_read(latents, tmp_path):
    start = tmp_path / "mask.safetensors"
    without = recipe_of(latents, tmp_path / "m", "stages.align.text=false")
    mask = without.jobs()[0].make(Engine(EngineConfig(device="cpu")))
    for index in range(3):
        mask.step(index, 1.0)
    save_module(start, mask.network.state_dict(), kind="dit", config=mask.model)
    task = task_of(latents, tmp_path / "a", f"stages.align.start={start}")
    rows = task.train.rows(0)
    silent = rows._replace(tokens=None, attend=None)
    torch.testing.assert_close(task.error(rows), mask.error(silent), rtol=0, atol=1e-6)
    looking = task.network.blocks[0].text.attention.output.weight
    assert float(looking.detach().abs().max()) == 0.0
    task.step(0, 1.0)
    assert float(looking.detach().abs().max()) > 0.0


def test_a_start_of_another_network_is_refused(latents, tmp_path):
    task = task_of(latents, tmp_path)
    other = recipe_of(latents, tmp_path, "model.width=24").model
    save_module(tmp_path / "x.safetensors", other.build().state_dict(), kind="dit", config=other)
    with pytest.raises(CheckpointError, match="do not fit"):
        load_start(task.network, tmp_path / "x.safetensors")


def test_a_network_may_be_changed_before_its_optimiser_is_built(latents, tmp_path):
    recipe = recipe_of(latents, tmp_path)

    def freeze(network):
        network.requires_grad_(False)
        network.output.linear.requires_grad_(True)

    engine = Engine(EngineConfig(device="cpu"))
    stage = recipe.stages["align"]
    material = load_material(recipe.model, recipe.text, stage, engine)
    task = DiffusionTask(material, stage, engine, adapt=freeze)
    before = {name: x.clone() for name, x in task.network.state_dict().items()}
    task.step(0, 1.0)
    changed = [n for n, x in task.network.state_dict().items() if not torch.equal(x, before[n])]
    assert set(changed) == {"output.linear.weight", "output.linear.bias"}


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("model.latent_channels=8", "model.latent_channels"),
        ("model.text_width=32", "model.text_width"),
        ("stages.align.data.latents=nowhere", "latents"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(latents, tmp_path, override, field):
    with pytest.raises(InputError, match=field):
        task_of(latents, tmp_path, override)


# Measuring


def test_losses_are_told_apart_by_noise_level_and_average(latents, tmp_path):
    task = task_of(latents, tmp_path)
    for index in range(4):
        task.step(index, 1.0)
    found = task.validate()
    assert found == task.validate()
    assert {"valid_loss", "valid_loss_t250", "valid_loss_t750", "valid_loss_present"} <= set(found)
    names = [name for name in found if "half-life" in name]
    assert len(names) == 2
    assert found["valid_loss"] == min(found[n] for n in [*names, "valid_loss_present"])
    levels = torch.cat([task.valid.levels(i) for i in range(2)])
    steps = torch.cat([task.valid.rows(i).steps for i in range(2)])
    assert torch.equal(levels, (steps >= 500).long()) and levels.float().mean() == 0.5


def test_every_average_is_exported_and_the_best_has_the_plain_name(latents, tmp_path):
    task = task_of(latents, tmp_path)
    for index in range(4):
        task.step(index, 1.0)
    present = {name: x.clone() for name, x in task.network.state_dict().items()}
    task.choice.losses = {"half-life-3": 0.9, "half-life-10": 0.5, "present": 0.8}
    names = [path.name for path in task.export(tmp_path, step=4)]
    rest = ["dit-half-life-3.safetensors", "dit-present.safetensors"]
    assert names[0] == "dit.safetensors" and sorted(names[1:]) == rest
    best = load_module(tmp_path / "dit.safetensors")
    assert best.extra["average"] == "half-life-10" and best.extra["valid_loss"] == 0.5
    torch.testing.assert_close(load_file(tmp_path / rest[1]), present, rtol=0, atol=0)
    shadow = task.averages.shadows["half-life-10"]["network.patches.weight"]
    torch.testing.assert_close(best.tensors["patches.weight"], shadow, rtol=0, atol=0)
    torch.testing.assert_close(task.network.state_dict(), present, rtol=0, atol=0)


def test_fixed_prompts_are_played_with_and_without_text(latents, tmp_path):
    vae = OobleckConfig(latent_channels=4, base_width=2).build()
    file = tmp_path / "vae.safetensors"
    config = OobleckConfig(latent_channels=4, base_width=2)
    save_module(file, vae.state_dict(), kind="vae", config=config)
    listen = f"{{vae: {file}, prompts: [dog, rain], duration_s: 0.2, steps: 2}}"
    for text in ("true", "false"):
        changes = (f"stages.align.listen={listen}", f"stages.align.text={text}")
        task = task_of(latents, tmp_path, *changes)
        heard, again = task.listen(), task.listen()
        assert [each.name for each in heard] == ["dog", "rain"]
        assert heard[0].samples.shape == (4800,) and heard[0].sample_rate == 24_000
        assert all(np.array_equal(a.samples, b.samples) for a, b in zip(heard, again, strict=True))
        torch.testing.assert_close(task.listener.vae.latent_scale[:, 0], task.store.scale)


# Resuming, and many processes


def test_a_resumed_stage_repeats_its_losses_bit_by_bit(latents, whole, tmp_path):
    run_small(latents, tmp_path, "stages.align.run.steps=3", "stages.align.optim.decay_share=0.0")
    with pytest.raises(InputError, match="decay_share"):
        run_small(latents, tmp_path, resume=True)
    other = tmp_path / "again"
    seed = "stages.align.run.seed=1"
    with pytest.raises(InputError, match=r"run\.seed"):
        run_small(latents, tmp_path, "stages.align.optim.decay_share=0.0", seed, resume=True)
    run_small(latents, other)
    for gone in (other / "checkpoints").glob("*6"):
        gone.rename(other / "gone")
    (other / "done.json").unlink()
    first = load_file(other / "dit.safetensors")
    run_small(latents, other, resume=True)
    assert losses(other) == losses(whole)
    torch.testing.assert_close(load_file(other / "dit.safetensors"), first, rtol=0, atol=0)


def test_two_processes_give_the_losses_of_one_under_torchrun(latents, whole, tmp_path):
    """Started as a user starts them, with gradients added up over parts of the batch."""
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\nfrom tests.training.small import run_small\nrun_small(*sys.argv[1:4])\n"
    )
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "src")])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--standalone", "--nproc-per-node", "2"),
            *(str(script), str(latents), str(tmp_path), "stages.align.compute.micro_rows=1"),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert apart(losses(tmp_path), losses(whole)) < TWO_RANKS
    ours, theirs = (
        [x["valid_loss"] for x in read_log(f) if "valid_loss" in x] for f in (tmp_path, whole)
    )
    assert ours == pytest.approx(theirs, rel=TWO_RANKS)


def test_a_sharded_run_gives_the_same_losses_and_resumes_on_any_number_of_processes(
    latents, whole, tmp_path
):
    sharded = "engine.sharding=fsdp2"
    assert on_two(run_small, latents, tmp_path, sharded, "stages.align.run.keep_last=9") == [0, 0]
    assert apart(losses(tmp_path), losses(whole)) < SHARDED
    files = {path.name for path in (tmp_path / "checkpoints" / "000000003").iterdir()}
    assert files == {".metadata", "__0_0.distcp", "__1_0.distcp", "facts.json", "state.pt"}
    made = load_file(tmp_path / "dit.safetensors")
    expected = load_file(whole / "dit.safetensors")
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)
    (tmp_path / "checkpoints" / "000000006").rename(tmp_path / "gone")
    (tmp_path / "done.json").unlink()
    before = losses(tmp_path)
    changes = (sharded, "stages.align.run.keep_last=9")
    alone = tmp_path.parent / "alone"
    shutil.copytree(tmp_path, alone)
    assert on_two(run_small, latents, tmp_path, *changes, resume=True) == [0, 0]
    assert losses(tmp_path) == before
    assert on_processes(1, run_small, latents, alone, *changes, resume=True) == [0]
    assert apart(losses(alone), before) < SHARDED
    torch.testing.assert_close(load_file(alone / "dit.safetensors"), made, rtol=1e-4, atol=1e-5)
    with pytest.raises(CheckpointError, match=r"another `engine\.sharding`"):
        (alone / "done.json").unlink()
        run_small(latents, alone, "stages.align.run.keep_last=9", resume=True)


def test_a_stage_killed_at_random_moments_repeats_its_losses_bit_by_bit(latents, tmp_path):
    changes = ("stages.align.run.steps=40", "stages.align.run.save_every=2")
    run_small(latents, tmp_path / "whole", *changes)
    arguments, log = (latents, tmp_path / "cut", *changes), tmp_path / "cut" / "log.jsonl"
    assert killed_at_random(run_small, *arguments, kills=4, most_s=0.5, log=log, resume=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    one, two = (load_file(tmp_path / name / "dit.safetensors") for name in ("cut", "whole"))
    torch.testing.assert_close(one, two, rtol=0, atol=0)
