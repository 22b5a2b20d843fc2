"""Where in a sound a position lies, seen from both of its ends."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ezaudio.nn.initialisation import zeroed

WAVES = 8
"""Cosines over the whole length, from half a period to four."""


def place_features(length: int, *, device: torch.device | str | None = None) -> Tensor:
    """Describe each of `length` positions by its share of the whole and its distance to both ends.

    Args:
        length: number of positions `t`.
        device: where the features are made.

    Returns:
        float32 `(t, WAVES + 2)`: cosines of the share of the length that lies before the position,
        and the logarithms of its distances to the first and to the last one.
    """
    place = torch.arange(length, dtype=torch.float32, device=device)
    waves = torch.arange(1, WAVES + 1, dtype=torch.float32, device=device)
    cosines = torch.outer((place + 0.5) * (math.pi / max(length, 1)), waves).cos()
    distances = torch.stack([place, length - 1 - place], dim=1).log1p() / 4
    return torch.cat([cosines, distances], dim=1)


class Ends(nn.Module):
    """Tells each position where in the sound it lies; adds nothing at first.

    Rotary embeddings tell positions how far they are from each other. Where every position holds
    noise and all of them read the same text, nothing then tells the first half from the second, and
    "a dog barking, then rain" has no order that could be followed.

    Args:
        width: model width `D`.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = zeroed(nn.Linear(WAVES + 2, width))

    def forward(self, length: int) -> Tensor:
        """Vectors `(t, D)` of `length` positions."""
        weight = self.linear.weight
        vectors: Tensor = self.linear(place_features(length, device=weight.device).to(weight.dtype))
        return vectors
