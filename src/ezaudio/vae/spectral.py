"""Spectral autoencoder: STFT in, ConvNeXt blocks, inverse STFT out.

The waveform is analysed by a short-time Fourier transform with hop 240 (100 frames/s at 24 kHz), a
ConvNeXt trunk of each side works at that rate, and one strided linear map on each side joins two
frames into one latent frame (50 frames/s). The decoder predicts a log magnitude and a phase per bin
and leaves through the inverse transform, so
no layer ever runs at the sample rate: one second costs about 2 GFLOP, a hundredth of the
    convolutional Oobleck
autoencoder at the authors' size, which is what makes it trainable on a CPU.

Deviation: the paper's autoencoder is the convolutional one (`ezaudio.vae.oobleck`). This family
serves the bundled starter model. Sources: ConvNeXt (arXiv 2201.03545), Vocos (arXiv 2306.00814).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ezaudio.config import Config
from ezaudio.vae.model import Autoencoder

MAGNITUDE_FLOOR = 1e-3
"""STFT magnitudes below this carry no information for the encoder (about -107 dB re full-scale
sine).
"""

LOG_MAGNITUDE_CEILING = 7.0
"""Largest log magnitude that the decoder may ask for; a full-scale sine has log(480/2) = 5.5."""


class SpectralConfig(Config):
    """Size of a spectral autoencoder.

    Attributes:
        sample_rate: Hz.
        latent_channels: C.
        n_fft: Analysis and synthesis window in samples, four times the hop.
        frames_per_latent: STFT frames joined into one latent frame.
        encoder_width, encoder_depth: Trunk of the encoder.
        decoder_width, decoder_depth: Trunk of the decoder.
    """

    kind: Literal["spectral"] = "spectral"
    sample_rate: int = 24_000
    latent_channels: int = 32
    n_fft: int = 960
    frames_per_latent: int = 2
    encoder_width: int = 192
    encoder_depth: int = 4
    decoder_width: int = 320
    decoder_depth: int = 6

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
        y = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        y = self.project(F.gelu(self.expand(self.norm(y))))
        return x + self.gain * y


class Trunk(nn.Sequential):
    """A stack of ConvNeXt blocks and a final norm: (B, T, D) -> (B, T, D)."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__(
            *(ConvNeXtBlock(width, 1.0 / depth) for _ in range(depth)), nn.LayerNorm(width)
        )


class SpectralAutoencoder(Autoencoder):
    """STFT-in, iSTFT-out autoencoder with a Gaussian bottleneck.

    Shapes: waveform (B, 1, S), latent (B, C, T) with S = T * hop_samples.
    """

    window: Tensor

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__(
            sample_rate=config.sample_rate,
            hop_samples=config.hop_samples,
            latent_channels=config.latent_channels,
        )
        self.config = config
        bins, group = config.n_fft // 2 + 1, config.frames_per_latent
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.embed_spectrum = nn.Linear(3 * bins, config.encoder_width)
        self.encoder = Trunk(config.encoder_width, config.encoder_depth)
        self.to_posterior = nn.Linear(group * config.encoder_width, 2 * config.latent_channels)
        self.embed_latent = nn.Linear(config.latent_channels, group * config.decoder_width)
        self.decoder = Trunk(config.decoder_width, config.decoder_depth)
        self.to_spectrum = nn.Linear(config.decoder_width, 3 * bins)

    @property
    def receptive_frames(self) -> int:
        """Latent frames on each side that can reach a frame of the output."""
        depth = max(self.config.encoder_depth, self.config.decoder_depth)
        trunk = depth * (ConvNeXtBlock.KERNEL // 2) + 2  # 2 frames: half the STFT window
        return -(-trunk // self.config.frames_per_latent) + 1

    def spectrum(self, wave: Tensor) -> Tensor:
        """Complex STFT whose frame i is centred between samples i*hop and (i+1)*hop: (B, 1, S) ->
        (B, T', F).
        """
        pad = (self.config.n_fft - self.config.hop) // 2
        frames = F.pad(wave[:, 0].float(), (pad, pad)).unfold(
            -1, self.config.n_fft, self.config.hop
        )
        return torch.fft.rfft(frames * self.window)

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
        magnitude = spectrum.abs().clamp_min(MAGNITUDE_FLOOR)
        compressed = spectrum * magnitude.pow(-0.7)  # power law 0.3: phase stays, dynamics shrink
        features = torch.cat([magnitude.log() / 4 + 0.5, compressed.real, compressed.imag], dim=-1)
        hidden = self.encoder(self.embed_spectrum(features.to(self.embed_spectrum.weight.dtype)))
        grouped = rearrange(hidden, "b (t g) d -> b t (g d)", g=self.config.frames_per_latent)
        mean, scale = self.to_posterior(grouped).transpose(1, 2).chunk(2, dim=1)  # (B, C, T) each
        return mean, F.softplus(scale) + 1e-4

    def _decode(self, latent: Tensor) -> Tensor:
        hidden = rearrange(
            self.embed_latent(latent.transpose(1, 2)),
            "b t (g d) -> b (t g) d",
            g=self.config.frames_per_latent,
        )
        log_magnitude, real, imaginary = self.to_spectrum(self.decoder(hidden)).float().chunk(3, -1)
        magnitude = log_magnitude.clamp(max=LOG_MAGNITUDE_CEILING).exp()
        norm = (real.square() + imaginary.square() + 1e-6).rsqrt()  # a unit phasor, smooth at zero
        return self.waveform(torch.complex(magnitude * real * norm, magnitude * imaginary * norm))
