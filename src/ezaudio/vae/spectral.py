"""Spectral autoencoder: a mel-cepstral analysis in, ConvNeXt blocks and an inverse STFT out.

The encoder is a fixed analysis: the short-time power spectrum (hop 240, 100 frames/s at 24 kHz) is
gathered in mel bands, averaged over two frames (50 latent frames/s), put on a logarithmic scale,
and turned into cepstral coefficients by an orthonormal cosine transform over the bands.
Neighbouring bands rise and fall together; coefficients hardly do, so that after each is brought to
unit variance white noise is already close to the covariance of latents, and a diffusion model need
not learn to take noise out of directions in which sounds do not vary.

The decoder goes back to bands and is learned from there: it predicts a log magnitude and a phase
for each bin and leaves through the inverse transform, so no layer ever runs at the sample rate. A
fixed encoder means that latents exist before any training, and that decoder and diffusion model can
be trained side by side; it forgets phase, which the decoder invents.

Deviation: the paper's autoencoder is convolutional and learned at both ends
(`ezaudio.vae.oobleck`). This family serves the bundled starter model, which was trained on a CPU.
Sources: ConvNeXt (arXiv 2201.03545), Vocos (arXiv 2306.00814).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ezaudio.audio_features import mel_filterbank
from ezaudio.config import Config
from ezaudio.vae.model import Autoencoder

MAGNITUDE_FLOOR = 0.1
"""Band magnitudes are raised by this (-68 dB re full-scale sine), where quiet becomes silence."""

LOG_MAGNITUDE_CEILING = 7.0
"""Largest log magnitude that the decoder may ask for; a full-scale sine has log(480 / 2) = 5.5."""


class SpectralConfig(Config):
    """Size of a spectral autoencoder.

    Attributes:
        sample_rate: Hz.
        latent_channels: C, the lowest cepstral coefficients.
        mel_bands: Bands of the analysis, at least C.
        n_fft: Analysis and synthesis window in samples, four times the hop.
        frames_per_latent: STFT frames joined into one latent frame.
        posterior_std: Standard deviation of the posterior in raw units (natural log of magnitude).
        width, depth: Trunk of the decoder.
    """

    kind: Literal["spectral"] = "spectral"
    sample_rate: int = 24_000
    latent_channels: int = 32
    mel_bands: int = 80
    n_fft: int = 960
    frames_per_latent: int = 2
    posterior_std: float = 0.2
    width: int = 320
    depth: int = 6

    @property
    def hop(self) -> int:
        """Samples between two STFT frames."""
        return self.n_fft // 4

    @property
    def hop_samples(self) -> int:
        """Samples per latent frame."""
        return self.hop * self.frames_per_latent

    def build(self) -> SpectralAutoencoder:
        """Build the network with random weights."""
        return SpectralAutoencoder(self)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a pointwise two-layer network, as one residual.

    Shapes: (B, T, D) -> (B, T, D).
    """

    KERNEL = 7

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(
            width, width, self.KERNEL, padding=self.KERNEL // 2, groups=width
        )
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.project = nn.Linear(4 * width, width)
        self.gain = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """Add what the block computes, (B, T, D)."""
        y: Tensor = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        y = self.project(F.gelu(self.expand(self.norm(y))))
        added: Tensor = x + self.gain * y
        return added


class Trunk(nn.Sequential):
    """A stack of ConvNeXt blocks and a final norm: (B, T, D) -> (B, T, D)."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__(
            *(ConvNeXtBlock(width, 1.0 / depth) for _ in range(depth)), nn.LayerNorm(width)
        )


class SpectralAutoencoder(Autoencoder):
    """Log-mel analysis, learned synthesis.

    Shapes: waveform (B, 1, S), latent (B, C, T) with S = T * hop_samples.
    """

    window: Tensor
    mel: Tensor
    cosines: Tensor

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__(
            sample_rate=config.sample_rate,
            hop_samples=config.hop_samples,
            latent_channels=config.latent_channels,
        )
        self.config = config
        bins, group = config.n_fft // 2 + 1, config.frames_per_latent
        with torch.device("cpu"):  # constants exist even where parameters are only declared (meta)
            self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
            self.register_buffer("mel", _band_averages(config), persistent=False)
            self.register_buffer("cosines", _cosines(config), persistent=False)
        self.embed_bands = nn.Linear(config.mel_bands, group * config.width)
        self.decoder = Trunk(config.width, config.depth)
        self.to_spectrum = nn.Linear(config.width, 3 * bins)

    @property
    def receptive_frames(self) -> int:
        """Latent frames on each side that can reach a frame of the output."""
        trunk = self.config.depth * (ConvNeXtBlock.KERNEL // 2) + 2  # 2: half the STFT window
        return -(-trunk // self.config.frames_per_latent) + 1

    def spectrum(self, wave: Tensor) -> Tensor:
        """Complex STFT, (B, 1, S) -> (B, T', F).

        Frame i is centred on the samples from i * hop to (i + 1) * hop.
        """
        pad = (self.config.n_fft - self.config.hop) // 2
        padded = F.pad(wave[:, 0].float(), (pad, pad))
        frames = padded.unfold(-1, self.config.n_fft, self.config.hop)
        spectrum: Tensor = torch.fft.rfft(frames * self.window)
        return spectrum

    def waveform(self, spectrum: Tensor) -> Tensor:
        """Overlap-add inverse of `spectrum`: complex (B, T', F) -> (B, 1, S)."""
        n_fft, hop = self.config.n_fft, self.config.hop
        frames = torch.fft.irfft(spectrum, n=n_fft) * self.window  # (B, T', n_fft)
        length = (frames.shape[1] - 1) * hop + n_fft
        envelope = (self.window**2).expand(1, frames.shape[1], n_fft)
        both = torch.cat([frames, envelope]).transpose(1, 2)
        summed = F.fold(both, (1, length), (1, n_fft), stride=(1, hop))[:, 0, 0]
        pad = (n_fft - hop) // 2
        summed = summed[:, pad : length - pad]
        return (summed[:-1] / summed[-1:].clamp_min(1e-4)).unsqueeze(1)

    def _encode(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        spectrum = self.spectrum(wave)
        power = spectrum.real.square() + spectrum.imag.square()
        bands = power @ self.mel.T  # (B, T', mel bands)
        joined = bands.unflatten(1, (-1, self.config.frames_per_latent)).mean(2)
        log_mel = 0.5 * (joined + MAGNITUDE_FLOOR**2).log()
        mean = (log_mel @ self.cosines.T).transpose(1, 2).to(wave.dtype)  # (B, C, T)
        return mean, torch.full_like(mean, self.config.posterior_std)

    def _decode(self, latent: Tensor) -> Tensor:
        hidden: Tensor = rearrange(
            self.embed_bands(latent.transpose(1, 2) @ self.cosines),
            "b t (g d) -> b (t g) d",
            g=self.config.frames_per_latent,
        )
        log_magnitude, real, imaginary = self.to_spectrum(self.decoder(hidden)).float().chunk(3, -1)
        magnitude = log_magnitude.clamp(max=LOG_MAGNITUDE_CEILING).exp()
        norm = (real.square() + imaginary.square() + 1e-6).rsqrt()  # a unit phasor, smooth at zero
        return self.waveform(torch.complex(magnitude * real * norm, magnitude * imaginary * norm))


def _band_averages(config: SpectralConfig) -> Tensor:
    """Mel bands as weighted means of bins, (mel bands, F)."""
    bank = mel_filterbank(
        config.sample_rate, config.n_fft, config.mel_bands, 0.0, config.sample_rate / 2
    )
    return torch.from_numpy(bank / bank.sum(1, keepdims=True)).float()


def _cosines(config: SpectralConfig) -> Tensor:
    """First rows of the orthonormal cosine transform (DCT-II) over mel bands, (C, mel bands)."""
    order = torch.arange(config.latent_channels, dtype=torch.float64)[:, None]
    band = torch.arange(config.mel_bands, dtype=torch.float64)[None]
    rows = torch.cos(math.pi / config.mel_bands * (band + 0.5) * order)
    rows *= math.sqrt(2 / config.mel_bands)
    rows[0] /= math.sqrt(2)
    return rows.float()
