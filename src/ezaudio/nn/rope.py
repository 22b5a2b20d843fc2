"""Rotary position embedding (Su et al., 2021), half-split.

Channel `i` of a head is paired with channel `i + P/2`; position `t` turns the pair by the angle
`t · 10000^(-2i/P)`. The product of a turned query and a turned key depends on their distance alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class RopeTables(NamedTuple):
    """Cosine and sine of every position and channel, float32 `(T, P)` each."""

    cos: Tensor
    sin: Tensor


def inverse_frequencies(width: int, *, base: float = 10_000.0) -> Tensor:
    """Turning speeds of the channel pairs, in radians per position, float32 `(P/2,)`."""
    return 1.0 / (base ** (torch.arange(0, width, 2, dtype=torch.float32) / width))


def rope_tables(length: int, width: int, *, device: torch.device | None = None) -> RopeTables:
    """Tables for `length` positions and heads of `width` channels."""
    positions = torch.arange(length, dtype=torch.float32)
    angles = torch.outer(positions, inverse_frequencies(width)).repeat(1, 2)  # (T, P)
    return RopeTables(angles.cos().to(device), angles.sin().to(device))


def rotate(x: Tensor, tables: RopeTables) -> Tensor:
    """Turn queries or keys `(B, H, T, P)` by their positions; computed in float32."""
    first, second = x.chunk(2, dim=-1)
    turned = x * tables.cos + torch.cat((-second, first), dim=-1) * tables.sin
    return turned.to(x.dtype)


class Rope(nn.Module):
    """Keeps the tables of the longest sequence seen on the current device.

    Args:
        width: channels per head, `P`; even.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"the width of a head must be even for RoPE, got {width}")
        self.width = width
        self._tables: RopeTables | None = None

    def forward(self, length: int, *, device: torch.device) -> RopeTables:
        """Tables of the first `length` positions."""
        tables = self._tables
        if tables is None or len(tables.cos) < length or tables.cos.device != device:
            with torch.inference_mode(False):  # tables made while sampling also serve training
                tables = self._tables = rope_tables(length, self.width, device=device)
        return RopeTables(tables.cos[:length], tables.sin[:length])
