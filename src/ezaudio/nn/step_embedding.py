"""A number that says how noisy the input is, as a vector."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ezaudio.nn.initialisation import xavier


def sinusoids(steps: Tensor, width: int, *, longest: float = 10_000.0) -> Tensor:
    """Cosines, then sines, of each step at `width / 2` frequencies from 1 down to `1 / longest`.

    Args:
        steps: diffusion steps `(N,)`, integer or fractional.
        width: number of channels; even.
        longest: period of the slowest frequency, divided by 2π.

    Returns:
        float32 `(N, width)`.
    """
    half = width // 2
    channel = torch.arange(half, dtype=torch.float32, device=steps.device)
    angles = torch.outer(steps.float(), torch.exp(channel * (-math.log(longest) / half)))
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class StepEmbedding(nn.Module):
    """Sinusoids, then a two-layer perceptron.

    Args:
        width: model width `D`.
        frequencies: number of sinusoid channels.
    """

    def __init__(self, width: int, *, frequencies: int = 256) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.input = xavier(nn.Linear(frequencies, width))
        self.output = xavier(nn.Linear(width, width))

    def forward(self, steps: Tensor) -> Tensor:
        """Map steps `(N,)` to vectors `(N, D)`."""
        waves = sinusoids(steps, self.frequencies).to(self.input.weight.dtype)
        vectors: Tensor = self.output(functional.silu(self.input(waves)))
        return vectors
