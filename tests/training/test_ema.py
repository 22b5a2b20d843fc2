"""Averages of weights: the recurrence, several horizons, put in place and taken back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ezaudio.training.loop.ema import PRESENT, Averages, AveragesConfig, WeightAverage


def line(value):
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def test_an_average_trails_the_weights():
    model = line(0.0)
    average = WeightAverage(model, 0.9)
    nn.init.constant_(model.weight, 1.0)
    average.update(model)
    assert float(average.model.weight.detach()) == pytest.approx(1 - 2 / 11)


def test_both_kinds_of_averages_are_the_same_recurrence():
    model = line(0.0)
    one, several = WeightAverage(model, 0.5 ** (1 / 3)), Averages(model, AveragesConfig(
        half_lives=(3.0, 50.0)))  # fmt: skip
    for index in range(40):
        nn.init.constant_(model.weight, float(index % 7))
        one.update(model)
        several.update(index)
    short, long = (shadow["weight"] for shadow in several.shadows.values())
    torch.testing.assert_close(short, one.model.weight.detach())
    assert not torch.allclose(short, long)


def test_after_a_half_life_half_of_the_old_weights_is_left():
    model = line(0.0)
    averages = Averages(model, AveragesConfig(half_lives=(8.0,), every=2))
    averages.updates = 10**6  # past the warm start
    nn.init.constant_(model.weight, 1.0)
    for index in range(8):
        averages.update(index)
    assert float(averages.shadows["half-life-8"]["weight"]) == pytest.approx(0.5, abs=1e-5)


def test_an_average_stands_in_for_a_while_and_the_weights_come_back():
    model = line(0.0)
    averages = Averages(model, AveragesConfig(half_lives=(8.0,)))
    nn.init.constant_(model.weight, 1.0)
    with pytest.raises(RuntimeError), averages.applied("half-life-8"):
        assert float(model.weight.detach()) == 0.0
        raise RuntimeError
    assert float(model.weight.detach()) == 1.0
    with averages.applied(PRESENT):
        assert float(model.weight.detach()) == 1.0
