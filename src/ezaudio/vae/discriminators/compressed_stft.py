"""Small STFT discriminators over compressed spectra, cheap enough to train on a CPU.

One network per window size sees the complex spectrum with its magnitudes to the power 0.3, so that
quiet places count beside loud ones (phase stays). Four neighbouring bins become the channels of one
place, since convolutions over two channels and a thousand bins are what a CPU is slowest at; then
frequencies are halved three times and time twice. Three of them cost as much as the decoder that
they teach. Window sizes lie far apart: the long one resolves harmonics, the short one onsets.

The spectrum is divided by the length of its window, so that white noise of unit power has unit power
in every bin, and frames lie inside the sound, as in `multi_stft`, from which the shape of the network
follows.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from ezaudio.config import Config
from ezaudio.nn.precision import full_precision
from ezaudio.vae.discriminators.multi_stft import Verdict

_SLOPE = 0.1
_SQUARED_FLOOR = 1e-7
_JOINED = 4
_STRIDES = ((1, 1), (2, 2), (1, 2), (2, 2), (1, 1))  # (time, frequency)


class CompressedStftDiscriminatorConfig(Config):
    """Size of the discriminator.

    Attributes:
        widths: Channels of the five layers.
        n_ffts: Window sizes in samples, multiples of 8, one scale each; the hop is a quarter.
        power: Of the magnitudes.
    """

    kind: Literal["compressed-stft"] = "compressed-stft"
    widths: tuple[PositiveInt, ...] = Field((16, 16, 32, 32, 32), min_length=5, max_length=5)
    n_ffts: tuple[PositiveInt, ...] = Field((1536, 512, 192), min_length=1)
    power: float = Field(0.3, gt=0, le=1)

    @field_validator("n_ffts")
    @classmethod
    def _foldable(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(size % (2 * _JOINED) for size in value):
            raise ValueError(f"multiples of {2 * _JOINED}")
        return value

    def build(self) -> CompressedStftDiscriminator:
        """Build the network with random weights."""
        return CompressedStftDiscriminator(self)


class CompressedScale(nn.Module):
    """The network of one window size.

    Args:
        config: Widths and power.
        n_fft: Window in samples.
    """

    window: Tensor

    def __init__(self, config: CompressedStftDiscriminatorConfig, n_fft: int) -> None:
        super().__init__()
        self.hop, self.power = max(1, n_fft // 4), config.power
        window = torch.hann_window(n_fft)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)
        widths = (2 * _JOINED, *config.widths)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(widths[i], widths[i + 1], 3, stride=stride, padding=1))
            for i, stride in enumerate(_STRIDES)
        )
        self.judge = weight_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def spectrum(self, wave: Tensor) -> Tensor:
        """Compressed spectrum, four bins to a place: (B, 1, S) -> (B, 8, T', F / 4)."""
        with full_precision(wave):
            frames = torch.stft(
                wave[:, 0].float(),
                self.window.shape[0],
                self.hop,
                window=self.window,
                center=False,
                return_complex=True,
            ).transpose(1, 2)
            squared = frames.real.square() + frames.imag.square() + _SQUARED_FLOOR
            gain = squared.pow((self.power - 1) / 2)
            parts = torch.stack([frames.real * gain, frames.imag * gain], 1)[..., 1:]
            return rearrange(parts, "b two t (f j) -> b (two j) t f", j=_JOINED).contiguous()

    def forward(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, 1, S) -> logits (B, 1, T', F') and the maps of the layers."""
        x, maps = self.spectrum(wave), []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), _SLOPE)  # (B, D, T', F')
            maps.append(x)
        return self.judge(x), maps


class CompressedStftDiscriminator(nn.Module):
    """One `CompressedScale` per window size.

    Args:
        config: settings.
    """

    def __init__(self, config: CompressedStftDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.scales = nn.ModuleList(CompressedScale(config, size) for size in config.n_ffts)

    def forward(self, wave: Tensor) -> Verdict:
        """Judge (B, 1, S), S at least the largest window."""
        judged = [scale(wave) for scale in self.scales]
        return [logits for logits, _ in judged], [maps for _, maps in judged]
