"""The spectral autoencoder: exact transforms, a known analysis, a filter that learns."""

import math

import pytest
import torch

from ezaudio.audio_texture import NOISE_TEXTURE, repetition, texture
from ezaudio.vae import SpectralConfig
from ezaudio.vae.spectral import MAGNITUDE_FLOOR

SMALL = SpectralConfig(cepstra=8, differences=2, mel_bands=8, width=16, depth=2)


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return SMALL.build().eval()


def test_the_inverse_transform_undoes_the_transform(vae):
    wave = torch.randn(2, 1, 480 * 7)
    restored = vae.waveform(vae.spectrum(wave))
    inner = slice(480, -480)
    assert restored.shape == wave.shape
    torch.testing.assert_close(restored[..., inner], wave[..., inner], atol=1e-5, rtol=0)


def test_fifty_latent_frames_stand_for_a_second(vae):
    posterior = vae.encode(torch.randn(1, 1, 24_000))
    assert posterior.mean.shape == posterior.std.shape == (1, 10, 50)
    assert vae.decode(posterior.mean).shape == (1, 1, 24_000)
    assert (posterior.std > 0).all()


def test_a_frame_reaches_no_further_than_the_stated_context(vae):
    latent = torch.randn(1, 10, 60)
    changed = latent.clone()
    changed[..., 30] += 1
    with torch.inference_mode():
        difference = (vae.decode(latent) - vae.decode(changed)).abs()[0, 0]
    reached = difference.nonzero()[:, 0] // SMALL.hop_samples
    assert reached.min() >= 30 - vae.receptive_frames
    assert reached.max() <= 30 + vae.receptive_frames


def test_silence_stays_silent(vae):
    posterior = vae.encode(torch.zeros(1, 1, 4800))
    assert torch.isfinite(posterior.mean).all()
    assert vae.decode(posterior.mean).abs().max() < 1e-4


def noise_filter(**sizes):
    """The large configuration as it is before training, without its share of tone."""
    torch.manual_seed(0)
    vae = SpectralConfig(width=16, depth=1, **sizes).build().eval()
    torch.nn.init.constant_(vae.to_tone.bias, -20.0)
    return vae


def test_an_untrained_decoder_makes_noise_of_the_spectrum_that_it_was_given():
    vae = noise_filter()
    wave = 0.1 * torch.randn(1, 1, 48_000, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        made = vae.decode(vae.encode(wave).mean)
    samples = made[0, 0].numpy()
    assert float(made.std()) == pytest.approx(0.1, rel=0.1)
    assert texture(samples, 24_000) == pytest.approx(NOISE_TEXTURE, rel=0.08)
    assert abs(repetition(samples, 24_000)) < 0.1


def test_other_noise_makes_another_sound_of_the_same_envelope():
    vae = noise_filter()
    latent = vae.encode(0.1 * torch.randn(1, 1, 24_000)).mean
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        one, same, other = (
            vae.decode(latent, noise)
            for noise in (None, None, torch.randn(1, 1, 24_000, generator=generator))
        )
    assert torch.equal(one, same)
    similarity = torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), 0)
    assert abs(float(similarity)) < 0.1
    assert float(one.std() / other.std()) == pytest.approx(1, abs=0.1)


def test_noise_of_another_length_is_refused(vae):
    with pytest.raises(ValueError, match=r"noise must be \(1, 1, 4800\)"):
        vae.decode(torch.zeros(1, 10, 10), torch.zeros(1, 1, 480))


def test_the_second_half_of_a_frame_may_be_louder_than_its_first():
    vae = noise_filter()
    wave = torch.zeros(1, 1, 4800)
    wave[..., 2400 + 240 :] = 0.3 * torch.randn(1, 1, 2160)  # begins in the middle of a frame
    exact = vae.log_bands(vae.encode(wave).mean)[0].mean(-1)
    blind = vae.encode(wave).mean.clone()
    blind[:, vae.config.cepstra :] = 0
    averaged = vae.log_bands(blind)[0].mean(-1)
    assert exact[11] - exact[10] > 0.5
    assert float((averaged[11] - averaged[10]).abs()) < 1e-4


def test_a_decoder_can_be_trained_towards_tone():
    torch.manual_seed(0)
    vae = SMALL.build()
    before = vae.to_tone.bias.clone()
    latent = vae.encode(torch.sin(torch.arange(4800) / 10)[None, None]).mean
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-2)
    wave = torch.sin(torch.arange(4800) / 10)[None, None]
    first = last = None
    for _ in range(30):
        loss = (vae.decode(latent) - wave).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = first or float(loss.detach()), float(loss.detach())
    assert last < 0.8 * first
    assert not torch.equal(vae.to_tone.bias, before)


def test_the_latent_of_a_sine_is_the_log_magnitude_of_its_band(vae):
    time = torch.arange(24_000) / 24_000
    sine = torch.sin(2 * torch.pi * 1000 * time)[None, None]
    mean, quiet = (vae.cosines.T @ vae.encode(g * sine).mean[0, :8, 25] for g in (0.5, 0.05))
    band = int(mean.argmax())
    centre = (vae.mel[band] * torch.arange(481) * 25.0).sum()
    assert abs(float(centre) - 1000) < 600
    assert float(mean[band] - quiet[band]) == pytest.approx(math.log(10), abs=0.01)


def test_silence_is_the_floor(vae):
    mean = vae.cosines.T @ vae.encode(torch.zeros(1, 1, 4800)).mean[:, :8]
    torch.testing.assert_close(mean, torch.full_like(mean, math.log(MAGNITUDE_FLOOR)))


def test_the_cosine_transform_is_orthonormal(vae):
    torch.testing.assert_close(vae.cosines @ vae.cosines.T, torch.eye(8), atol=1e-6, rtol=0)


def test_a_share_of_tone_that_is_whole_has_a_gradient(vae):
    torch.nn.init.constant_(vae.to_tone.bias, 40.0)  # the sigmoid rounds to 1
    vae.decode(torch.randn(1, 10, 4)).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in vae.parameters() if p.grad is not None)
