"""Multi-scale STFT discriminator (EnCodec, Défossez et al. 2022, arXiv:2210.13438, section 3.4).

One network per window size sees the complex spectrum, real and imaginary part as two channels, so
that it hears phase. Its convolutions are wide in frequency, halve the number of bins three times,
and look further in time from layer to layer (dilations 1, 2, 4); the last one gives a logit per
place. All of them are weight-normed.

The spectrum is divided by the length of its window, so that white noise of unit power has unit
power in every bin. Frames lie inside the sound: nothing is padded, and the network is the same
everywhere in time.

Deviation: EnCodec leaves its first layer without weight norm; here it has one as the others.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from ezaudio.config import Config
from ezaudio.nn.precision import full_precision

Verdict: TypeAlias = tuple[list[Tensor], list[list[Tensor]]]
"""Logits (B, 1, T', F') of each scale, and the maps (B, D, T', F') of each scale layer by layer."""

_KERNEL = (3, 9)
_DILATIONS = (1, 2, 4)
_SLOPE = 0.2


class MultiStftDiscriminatorConfig(Config):
    """Size of the discriminator; the defaults are the authors' (1.9 M parameters).

    Attributes:
        width: Channels of every layer. The cost grows with its square: with the authors' 64 a step
            costs more here than in a small autoencoder.
        n_ffts: Window sizes in samples, one scale each; the hop is a quarter.
    """

    kind: Literal["multi-stft"] = "multi-stft"
    width: PositiveInt = 64
    n_ffts: tuple[PositiveInt, ...] = Field((1280, 640, 320, 160, 80), min_length=1)

    def build(self) -> MultiStftDiscriminator:
        """Build the network with random weights."""
        return MultiStftDiscriminator(self)


class StftScale(nn.Module):
    """The network of one window size.

    Args:
        width: Channels of every layer.
        n_fft: Window in samples.
    """

    window: Tensor

    def __init__(self, width: int, n_fft: int) -> None:
        super().__init__()
        self.hop = max(1, n_fft // 4)
        window = torch.hann_window(n_fft)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)
        layers = [_convolution(2, width, _KERNEL)]
        layers += [_convolution(width, width, _KERNEL, dilation=d, stride=2) for d in _DILATIONS]
        layers += [_convolution(width, width, (_KERNEL[0], _KERNEL[0]))]
        self.layers = nn.ModuleList(layers)
        self.judge = _convolution(width, 1, (_KERNEL[0], _KERNEL[0]))

    def spectrum(self, wave: Tensor) -> Tensor:
        """Complex spectrum as two channels: (B, 1, S) -> (B, 2, T', F)."""
        with full_precision(wave):
            size = self.window.shape[0]
            frames = torch.stft(
                wave[:, 0].float(),
                size,
                self.hop,
                window=self.window,
                center=False,
                return_complex=True,
            )
            return rearrange(torch.view_as_real(frames), "b f t two -> b two t f").contiguous()

    def forward(self, wave: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, 1, S) -> logits (B, 1, T', F') and the maps of the layers."""
        x, maps = self.spectrum(wave), []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), _SLOPE)  # (B, D, T', F'), F' halves three times
            maps.append(x)
        return self.judge(x), maps


class MultiStftDiscriminator(nn.Module):
    """One `StftScale` per window size.

    Args:
        config: settings.
    """

    def __init__(self, config: MultiStftDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.scales = nn.ModuleList(StftScale(config.width, size) for size in config.n_ffts)

    def forward(self, wave: Tensor) -> Verdict:
        """Judge (B, 1, S), S at least the largest window."""
        judged = [scale(wave) for scale in self.scales]
        return [logits for logits, _ in judged], [maps for _, maps in judged]


def _convolution(
    width_in: int, width: int, kernel: tuple[int, int], *, dilation: int = 1, stride: int = 1
) -> nn.Module:
    """A weight-normed convolution over (T', F): dilated in time, with a stride in frequency."""
    padding = (dilation * (kernel[0] // 2), kernel[1] // 2)
    layer = nn.Conv2d(
        width_in, width, kernel, stride=(1, stride), dilation=(dilation, 1), padding=padding
    )
    normed: nn.Module = weight_norm(layer)
    return normed
