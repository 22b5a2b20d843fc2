"""The discriminator: its input, its shapes, what it is blind to, what it can learn."""

import pytest
import torch

from ezaudio.vae.discriminators import DISCRIMINATORS, MultiStftDiscriminatorConfig
from ezaudio.vae.losses import ADVERSARIES

SMALL = MultiStftDiscriminatorConfig(width=4, n_ffts=(320, 80))


def noise(rows, samples, seed=0):
    return torch.randn(rows, 1, samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return SMALL.build()


def test_each_scale_gives_one_map_of_logits_and_five_inner_ones(network):
    logits, maps = network(noise(3, 1600))
    frames = [(1600 - size) // (size // 4) + 1 for size in SMALL.n_ffts]
    bins = [[161, 81, 41, 21, 21], [41, 21, 11, 6, 6]]
    assert [tuple(x.shape) for x in logits] == [(3, 1, frames[0], 21), (3, 1, frames[1], 6)]
    assert [[m.shape[-1] for m in scale] for scale in maps] == bins
    assert {m.shape[:3] for m in maps[0]} == {(3, 4, frames[0])}


def test_the_authors_discriminator_has_five_scales_of_their_size():
    network = MultiStftDiscriminatorConfig().build()
    one = 2 * 64 * 27 + 3 * 64 * 64 * 27 + 64 * 64 * 9 + 64 * 9  # weights
    one += 5 * 64 + 1  # biases
    one += 5 * 64 + 1  # lengths of weight norm
    assert sum(p.numel() for p in network.parameters()) == 5 * one == 1_866_570


def test_every_convolution_is_weight_normed(network):
    from torch.nn.utils.parametrize import is_parametrized

    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(layers) == 12 and all(is_parametrized(m, "weight") for m in layers)


def test_the_input_is_the_complex_spectrum_at_unit_power(network):
    spectrum = network.scales[0].spectrum(noise(4, 24_000))
    power = spectrum.square().sum(1)[:, :, 1:-1].mean()  # without 0 Hz and half the rate
    assert float(power) == pytest.approx(1.0, abs=0.05)
    turned = network.scales[0].spectrum(-noise(4, 24_000))
    torch.testing.assert_close(turned, -spectrum)


def test_it_hears_phase(network):
    wave = noise(1, 1600)
    with torch.no_grad():
        logits = [network(x)[0][0] for x in (wave, -wave, wave.flip(-1))]
    assert not torch.allclose(logits[0], logits[1]) and not torch.allclose(logits[0], logits[2])


def test_a_sound_that_comes_later_is_judged_alike_later(network):
    wave, hop = noise(1, 4000), 80
    with torch.no_grad():
        early, late = (network(x)[0][0] for x in (wave[..., 10 * hop :], wave))
    reach = 1 + 1 + 2 + 4 + 1 + 1  # frames
    inner = slice(reach, early.shape[2] - reach)
    torch.testing.assert_close(early[:, :, inner], late[:, :, 10:][:, :, inner])


def test_rows_do_not_know_each_other(network):
    waves = noise(3, 1600)
    with torch.no_grad():
        together, alone = network(waves)[0], network(waves[1:2])[0]
    for x, y in zip(together, alone, strict=True):
        torch.testing.assert_close(x[1:2], y)


@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_every_discriminator_judges_waveforms_and_changes_none(kind):
    network, wave = DISCRIMINATORS[kind]().build(), noise(2, 2000)
    before = wave.clone()
    logits, maps = network(wave)
    assert torch.equal(wave, before)
    assert all(x.shape[0] == 2 and x.dtype == torch.float32 for x in logits)
    assert len(maps) == len(logits)


def test_a_few_steps_tell_noise_from_clicks(network):
    """It is told that clicks are recordings; the hinge falls from 2 per scale."""
    game = ADVERSARIES["hinge"]
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    clicks = torch.zeros(4, 1, 480)
    clicks[..., ::100] = 3.0
    losses = []
    for step in range(20):
        logits, _ = network(torch.cat([clicks, 0.3 * noise(4, 480, step)]))
        loss = game.discriminator([x[:4] for x in logits], [x[4:] for x in logits])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(4.0, abs=0.5) and losses[-1] < 0.6 * losses[0]
