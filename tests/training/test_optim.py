"""The rate over a run, what is decayed, and values that cannot be."""

from __future__ import annotations

import pytest
from torch import nn

from ezaudio.config import load_config
from ezaudio.errors import InputError
from ezaudio.training.loop.optim import OptimConfig


def test_the_rate_warms_up_stays_and_decays():
    optim = OptimConfig(rate=1.0, warmup_steps=10, decay_share=0.5, final=0.1)
    assert optim.rate_at(0.0, 0) == pytest.approx(0.1)
    assert optim.rate_at(0.4, 100) == 1.0
    assert optim.rate_at(0.75, 100) == pytest.approx(0.5)
    assert optim.rate_at(1.0, 100) == pytest.approx(0.1)


def test_matrices_are_decayed_vectors_and_frozen_weights_are_not():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    model[1].requires_grad_(False)
    matrices, vectors = OptimConfig(rate=1.0, weight_decay=0.3).build(model).param_groups
    assert [p.shape for p in matrices["params"]] == [(3, 2)] and matrices["weight_decay"] == 0.3
    assert [p.shape for p in vectors["params"]] == [(3,)] and vectors["weight_decay"] == 0.0


@pytest.mark.parametrize("betas", [[0.9, 1.0], [-0.1, 0.9], [0.9]])
def test_decays_of_the_moments_lie_below_one(betas):
    with pytest.raises(InputError) as error:
        load_config(OptimConfig, {"rate": 1.0, "betas": betas})
    assert error.value.field.startswith("betas")
