"""One process: what is shared over processes is then the value itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ezaudio.errors import InputError
from ezaudio.training.loop.distributed import Engine, EngineConfig


@pytest.fixture
def engine():
    return Engine(EngineConfig(device="cpu"))


def test_one_process_is_the_main_one_on_the_cpu(engine):
    assert (engine.rank, engine.world, engine.main) == (0, 1, True)
    assert engine.device == torch.device("cpu")


def test_a_gradient_is_clipped_and_its_norm_given(engine):
    module = engine.prepare(nn.Linear(3, 1, bias=False))
    engine.backward((module(torch.tensor([[3.0, 0.0, 4.0]]))).sum())
    assert engine.clip(module, 1.0) == pytest.approx(5.0)
    (weight,) = module.parameters()
    assert float(weight.grad.norm()) == pytest.approx(1.0, abs=1e-5)


def test_a_norm_that_is_not_a_number_is_told(engine):
    module = engine.prepare(nn.Linear(1, 1))
    engine.backward(module(torch.tensor([[math.nan]])).sum())
    assert math.isnan(engine.clip(module, 1.0))


def test_means_and_sums_of_one_process_are_its_own(engine):
    assert engine.mean({"loss": torch.tensor(2.5), "norm": 3}) == {"loss": 2.5, "norm": 3.0}
    assert engine.total(torch.ones(2)).tolist() == [1.0, 1.0]
    assert engine.highest([1.0, 2.0]) == [1.0, 2.0] and engine.gathered("a") == ["a"]


def test_gradients_of_parts_add_up(engine):
    module = engine.prepare(nn.Linear(2, 1, bias=False))
    for last in (False, True):
        with engine.accumulating(module, last=last):
            engine.backward(module(torch.ones(1, 2)).sum())
    (weight,) = module.parameters()
    assert weight.grad.tolist() == [[2.0, 2.0]]


def test_bfloat16_computes_in_half_precision_and_keeps_weights_whole():
    engine = Engine(EngineConfig(device="cpu", precision="bf16"))
    module = engine.prepare(nn.Linear(4, 4))
    with engine.autocast():
        assert nn.functional.linear(torch.ones(1, 4), torch.ones(2, 4)).dtype == torch.bfloat16
    assert module(torch.ones(1, 4)).dtype == torch.float32
    assert engine.unwrap(module).weight.dtype == torch.float32


@pytest.mark.parametrize("fast", [True, False])
def test_automatic_precision_is_that_in_which_the_device_is_fast(monkeypatch, fast):
    monkeypatch.setattr("ezaudio.training.loop.distributed.fast_in_bfloat16", lambda device: fast)
    engine = Engine(EngineConfig(device="cpu", precision="auto"))
    expected = torch.bfloat16 if fast else torch.float32
    with engine.autocast():
        assert nn.functional.linear(torch.ones(1, 4), torch.ones(2, 4)).dtype == expected


def test_sharding_needs_a_group_of_processes():
    with pytest.raises(InputError, match="torchrun"):
        Engine(EngineConfig(device="cpu", sharding="fsdp2"))
