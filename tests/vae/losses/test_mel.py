"""The mel loss in closed form, its floor, its invariances, its settings."""

import math

import pytest
import torch

from ezaudio.config import load_config
from ezaudio.errors import InputError
from ezaudio.vae.losses import RECONSTRUCTION_LOSSES, MelConfig

RATE = 24_000
SMALL = MelConfig(n_ffts=(512, 256), bands=(40, 20))


@pytest.fixture
def noise():
    return 0.1 * torch.randn(2, 1, 4800, generator=torch.Generator().manual_seed(0))


def test_equal_sounds_are_at_no_mel_distance_and_a_third_at_the_logarithm_of_three(noise):
    loss = MelConfig(n_ffts=(512,), bands=(40,), floor=1e-9).build(RATE)
    assert float(loss(noise, noise)) == 0
    assert float(loss(noise / 3, noise)) == pytest.approx(math.log(3), rel=1e-4)


def test_polarity_does_not_count(noise):
    assert float(SMALL.build(RATE)(-noise, noise)) == pytest.approx(0, abs=1e-6)


def test_what_lies_below_sixty_decibels_does_not_count():
    quiet = 1e-6 * torch.randn(1, 1, 4800, generator=torch.Generator().manual_seed(0))
    assert float(SMALL.build(RATE)(torch.zeros_like(quiet), quiet)) == 0


def test_the_mel_gradient_of_silence_is_finite(noise):
    output = torch.zeros_like(noise).requires_grad_()
    SMALL.build(RATE)(output, noise).backward()
    assert torch.isfinite(output.grad).all()


def test_a_number_of_bands_belongs_to_every_size():
    with pytest.raises(InputError, match="one number of bands per window size"):
        load_config(MelConfig, {"n_ffts": [512], "bands": [40, 20]})


@pytest.mark.parametrize("kind", RECONSTRUCTION_LOSSES)
def test_every_reconstruction_loss_sums_up_changes_no_input_and_has_a_gradient(kind, noise):
    loss = RECONSTRUCTION_LOSSES[kind]().build(RATE)
    output = (0.5 * noise.flip(-1)).requires_grad_()
    before = output.detach().clone(), noise.clone()
    terms = loss(output, noise)
    assert float(terms["total"].detach()) == pytest.approx(
        sum(float(value.detach()) for name, value in terms.items() if name != "total"), rel=1e-5
    )
    terms["total"].backward()
    assert torch.isfinite(output.grad).all() and float(output.grad.abs().sum()) > 0
    assert torch.equal(before[0], output.detach()) and torch.equal(before[1], noise)
    assert list(loss.parameters()) == [] and loss.state_dict() == {}
