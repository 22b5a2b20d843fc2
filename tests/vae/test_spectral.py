"""The spectral autoencoder: exact transforms, a known analysis, finite context, gradients."""

import math

import pytest
import torch

from ezaudio.vae import SpectralConfig
from ezaudio.vae.spectral import MAGNITUDE_FLOOR

SMALL = SpectralConfig(latent_channels=8, mel_bands=8, width=16, depth=2)


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
    assert posterior.mean.shape == posterior.std.shape == (1, 8, 50)
    assert vae.decode(posterior.mean).shape == (1, 1, 24_000)
    assert (posterior.std > 0).all()


def test_a_frame_reaches_no_further_than_the_stated_context(vae):
    latent = torch.randn(1, 8, 60)
    changed = latent.clone()
    changed[..., 30] += 1
    with torch.inference_mode():
        difference = (vae.decode(latent) - vae.decode(changed)).abs()[0, 0]
    reached = difference.nonzero()[:, 0] // SMALL.hop_samples
    assert reached.min() >= 30 - vae.receptive_frames
    assert reached.max() <= 30 + vae.receptive_frames


def test_a_few_steps_bring_the_output_closer():
    from ezaudio.vae.losses import SpectralLoss

    torch.manual_seed(0)
    vae, loss = SMALL.build(), SpectralLoss((512, 128), mel_n_fft=512)
    time = torch.arange(4800) / 24_000
    wave = (0.3 * torch.sin(2 * torch.pi * 440 * time))[None, None]
    optimizer = torch.optim.Adam(vae.parameters(), lr=3e-3)
    distances = []
    for _ in range(25):
        total = loss(vae.decode(vae.encode(wave).mean), wave)["total"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        distances.append(float(total.detach()))
    assert distances[-1] < 0.6 * distances[0]


def test_silence_encodes_and_decodes_to_finite_values(vae):
    posterior = vae.encode(torch.zeros(1, 1, 4800))
    assert torch.isfinite(posterior.mean).all()
    assert torch.isfinite(vae.decode(posterior.mean)).all()


def test_the_latent_of_a_sine_is_the_log_magnitude_of_its_band(vae):
    time = torch.arange(24_000) / 24_000
    sine = torch.sin(2 * torch.pi * 1000 * time)[None, None]
    mean, quiet = (vae.cosines.T @ vae.encode(g * sine).mean[0, :, 25] for g in (0.5, 0.05))
    band = int(mean.argmax())
    centre = (vae.mel[band] * torch.arange(481) * 25.0).sum()
    assert abs(float(centre) - 1000) < 600
    assert float(mean[band] - quiet[band]) == pytest.approx(math.log(10), abs=0.01)


def test_silence_is_the_floor(vae):
    mean = vae.cosines.T @ vae.encode(torch.zeros(1, 1, 4800)).mean
    torch.testing.assert_close(mean, torch.full_like(mean, math.log(MAGNITUDE_FLOOR)))


def test_the_cosine_transform_is_orthonormal(vae):
    torch.testing.assert_close(vae.cosines @ vae.cosines.T, torch.eye(8), atol=1e-6, rtol=0)
