"""AdaLN-Single: one linear layer for all, and constants per block (Chen et al., 2023)."""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from ezaudio.config import Config
from ezaudio.nn.initialisation import zeroed


class SingleAdaLN(Config):
    """Settings: none; 6 D² parameters in all, and 6 D per block."""

    kind: Literal["single"] = "single"

    def build(self, *, width: int, blocks: int) -> SingleModulation:
        """Make the layer for `blocks` blocks of `width` channels."""
        return SingleModulation(width, blocks)


class SingleModulation(nn.Module):
    """A shared linear layer plus a table, all zero at the start."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.shared = zeroed(nn.Linear(width, 6 * width))
        self.table = nn.Parameter(torch.zeros(blocks, 6, width))

    def forward(self, step: Tensor) -> Tensor:
        """Map step vectors `(N, D)` to `(N, blocks, 6, D)`."""
        shared: Tensor = rearrange(self.shared(step), "N (b m D) -> N b m D", b=1, m=6)
        return shared + self.table
