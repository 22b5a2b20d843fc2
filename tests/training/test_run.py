"""A run is bounded, logged, and continues from its last checkpoint as if nothing had happened."""

import json

import pytest
import torch
from torch import nn

from ezaudio.errors import CheckpointError
from ezaudio.training.optim import OptimConfig, WeightAverage, update
from ezaudio.training.run import Run, RunConfig


def losses_of(folder, config):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    average = WeightAverage(model, 0.9)
    optimizer = OptimConfig(rate=1e-2, warmup_steps=1, decay_share=0.0).build(model)
    run = Run(folder, config, {"model": model, "average": average, "optimizer": optimizer})
    losses = []

    def step(run):
        x = torch.randn(5, 3, generator=run.generator)
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        update(optimizer, rate=1e-2)
        average.update(model)
        losses.append(float(loss.detach()))
        return {"loss": losses[-1]}

    run.loop(step, lambda run: {"valid": 0.0})
    return losses


def test_a_resumed_run_repeats_the_losses_of_an_uninterrupted_one(tmp_path):
    whole = losses_of(tmp_path / "a", RunConfig(steps=12, save_every=4, log_every=4))
    first = losses_of(tmp_path / "b", RunConfig(steps=8, save_every=4, log_every=4))
    second = losses_of(tmp_path / "b", RunConfig(steps=12, save_every=4, log_every=4))
    assert first + second == whole


def test_the_log_holds_averages_and_validation(tmp_path):
    losses = losses_of(tmp_path, RunConfig(steps=4, save_every=4, log_every=2))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 4]
    assert lines[0]["loss"] == pytest.approx(sum(losses[:2]) / 2, abs=1e-5)
    assert "valid" in lines[-1]


def test_a_damaged_checkpoint_is_one_clear_line(tmp_path):
    losses_of(tmp_path, RunConfig(steps=2, save_every=2))
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="cannot be resumed from"):
        losses_of(tmp_path, RunConfig(steps=4))


def test_hours_end_a_run_too(tmp_path):
    assert len(losses_of(tmp_path, RunConfig(steps=10**9, hours=1e-6))) < 1000


def test_the_rate_warms_up_stays_and_decays():
    optim = OptimConfig(rate=1.0, warmup_steps=10, decay_share=0.5, final=0.1)
    assert optim.rate_at(0.0, 0) == pytest.approx(0.1)
    assert optim.rate_at(0.4, 100) == 1.0
    assert optim.rate_at(0.75, 100) == pytest.approx(0.5)
    assert optim.rate_at(1.0, 100) == pytest.approx(0.1)


def test_the_average_trails_the_weights():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    average = WeightAverage(model, 0.9)
    nn.init.constant_(model.weight, 1.0)
    average.update(model)
    assert float(average.model.weight.detach()) == pytest.approx(1 - 2 / 11)
