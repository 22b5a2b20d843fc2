"""The multi-resolution STFT loss beside a reference, in closed form, and its symmetries."""

import math

import auraloss
import numpy as np
import pytest
import torch

from ezaudio.config import load_config
from ezaudio.errors import InputError
from ezaudio.vae.losses import MelConfig, MultiStftConfig
from ezaudio.vae.losses.stft import AUTHORS_N_FFTS
from ezaudio.vae.losses.weighting import AWeighting, a_weighting_taps

RATE = 24_000


def sounds(rows=2, samples=4800):
    generator = torch.Generator().manual_seed(0)
    target = 0.1 * torch.randn(rows, 1, samples, generator=generator)
    return target + 0.05 * torch.randn(target.shape, generator=generator), target


def reference(n_ffts, a_weighting):
    hops = [size // 4 for size in n_ffts]
    return auraloss.freq.MultiResolutionSTFTLoss(
        list(n_ffts), hops, list(n_ffts), sample_rate=RATE, perceptual_weighting=a_weighting
    )


@pytest.mark.parametrize("a_weighting", [True, False])
@pytest.mark.parametrize("n_ffts", [AUTHORS_N_FFTS, (512, 2048)])
def test_it_is_the_distance_of_the_reference_with_the_same_options(n_ffts, a_weighting):
    output, target = sounds()
    ours = MultiStftConfig(n_ffts=n_ffts, a_weighting=a_weighting).build(RATE)(output, target)
    theirs = reference(n_ffts, a_weighting)(output, target)
    assert float(ours["total"]) == pytest.approx(float(theirs), rel=1e-5)


def test_its_gradient_is_that_of_the_reference():
    output, target = sounds()
    gradients = []
    for loss in (MultiStftConfig().build(RATE), reference(AUTHORS_N_FFTS, True)):
        given = output.clone().requires_grad_()
        value = loss(given, target)
        (value["total"] if isinstance(value, dict) else value).backward()
        gradients.append(given.grad)
    ours, theirs = gradients
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-3
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


def test_the_filter_is_the_one_of_the_reference():
    theirs = auraloss.perceptual.FIRFilter("aw", fs=RATE).fir.weight[0, 0].double().numpy()
    np.testing.assert_allclose(a_weighting_taps(RATE), theirs, atol=1e-6)


@pytest.mark.parametrize(("hz", "db"), [(500, -3.2), (1000, 0.0), (2000, 1.2), (4000, 1.0)])
def test_the_filter_follows_the_standard_where_the_ear_is_best(hz, db):
    taps = a_weighting_taps(RATE)
    response = abs(np.exp(-2j * np.pi * hz / RATE * np.arange(len(taps))) @ taps)
    assert 20 * math.log10(response) == pytest.approx(db, abs=0.6)


def test_the_filter_delays_nothing():
    impulse = torch.zeros(1, 501)
    impulse[0, 250] = 1
    filtered = AWeighting(RATE)(impulse)[0]
    torch.testing.assert_close(filtered, filtered.flip(0), rtol=0, atol=1e-6)
    assert int(filtered.abs().argmax()) == 250


@pytest.mark.parametrize("per_row", [True, False])
def test_equal_sounds_are_at_no_distance_and_half_the_amplitude_at_a_known_one(per_row):
    _, target = sounds()
    loss = MultiStftConfig(n_ffts=(640, 160), per_row=per_row, power_floor=1e-20).build(RATE)
    assert float(loss(target, target)["total"]) == 0
    terms = loss(target / 2, target)
    assert float(terms["convergence"]) == pytest.approx(0.5, rel=1e-5)
    assert float(terms["log_magnitude"]) == pytest.approx(math.log(2), rel=1e-5)


def test_turning_both_sounds_upside_down_changes_nothing():
    output, target = sounds()
    loss = MultiStftConfig(n_ffts=(640, 20)).build(RATE)
    assert float(loss(-output, -target)["total"]) == pytest.approx(
        float(loss(output, target)["total"]), rel=1e-6
    )


def test_the_gain_of_both_sounds_does_not_count_above_the_floor():
    output, target = sounds()
    loss = MultiStftConfig(n_ffts=(640,), power_floor=1e-20).build(RATE)
    assert float(loss(output / 8, target / 8)["total"]) == pytest.approx(
        float(loss(output, target)["total"]), rel=1e-5
    )


def test_per_row_a_batch_is_the_mean_of_its_rows_however_it_is_split():
    output, target = sounds(4)
    target[0] *= 30
    loss = MultiStftConfig(n_ffts=(640, 80), per_row=True).build(RATE)
    rows = [float(loss(output[i : i + 2], target[i : i + 2])["total"]) for i in (0, 2)]
    assert float(loss(output, target)["total"]) == pytest.approx(sum(rows) / 2, rel=1e-5)


def test_over_the_batch_the_loud_sound_decides():
    output, target = sounds(2)
    target[0] *= 30
    output[0] = target[0]
    terms = [MultiStftConfig(per_row=rows).build(RATE)(output, target) for rows in (False, True)]
    assert float(terms[0]["convergence"]) < 0.2 * float(terms[1]["convergence"])


def test_silence_has_a_finite_loss_and_gradient():
    output = torch.zeros(1, 1, 1600, requires_grad=True)
    MultiStftConfig().build(RATE)(output, torch.zeros(1, 1, 1600))["total"].backward()
    assert torch.isfinite(output.grad).all()


@pytest.mark.parametrize("values", [{"n_ffts": []}, {"power_floor": 0}, {"hop": 2}])
def test_impossible_settings_of_the_loss_are_refused(values):
    with pytest.raises(InputError):
        load_config(MultiStftConfig, values)


def test_half_precision_around_the_losses_does_not_reach_them():
    output, target = sounds(1, 2400)
    for loss in (MultiStftConfig(n_ffts=(640,)).build(RATE), MelConfig().build(RATE)):
        whole = loss(output, target)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = loss(output, target)
        torch.testing.assert_close(half, whole, rtol=0, atol=0)
