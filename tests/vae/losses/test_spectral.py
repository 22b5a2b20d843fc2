"""The spectral loss against hand-computed values."""

import math

import pytest
import torch

from ezaudio.vae.losses import SpectralLoss


@pytest.fixture
def noise():
    return 0.1 * torch.randn(2, 1, 9600, generator=torch.Generator().manual_seed(0))


def test_equal_sounds_have_no_distance(noise):
    assert all(float(v) == 0 for v in SpectralLoss()(noise, noise).values())


def test_half_the_amplitude_is_a_known_distance(noise):
    terms = SpectralLoss(floor=1e-9)(noise / 2, noise)
    assert float(terms["convergence"]) == pytest.approx(0.5, abs=1e-3)
    assert float(terms["log_magnitude"]) == pytest.approx(math.log(2), abs=1e-3)
    assert float(terms["log_mel"]) == pytest.approx(math.log(2), abs=1e-3)


def test_what_lies_below_the_floor_does_not_count():
    quiet = 1e-6 * torch.randn(1, 1, 9600, generator=torch.Generator().manual_seed(0))
    terms = SpectralLoss(floor=1e-2)(torch.zeros_like(quiet), quiet)
    assert float(terms["total"]) < 0.02


def test_the_gradient_of_silence_is_finite():
    wave = torch.zeros(1, 1, 4800, requires_grad=True)
    SpectralLoss()(wave, torch.zeros(1, 1, 4800))["total"].backward()
    assert torch.isfinite(wave.grad).all()
