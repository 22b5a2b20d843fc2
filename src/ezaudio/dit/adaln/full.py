"""AdaLN: each block has its own linear layer from the diffusion step (Peebles and Xie, 2023)."""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from ezaudio.config import Config


class FullAdaLN(Config):
    """Settings: none; 6 D² parameters per block."""

    kind: Literal["full"] = "full"

    def build(self, *, width: int, blocks: int) -> FullModulation:
        """Make the layer for `blocks` blocks of `width` channels."""
        return FullModulation(width, blocks)


class FullModulation(nn.Module):
    """One linear layer per block, all zero at the start."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(blocks, 6 * width, width))
        self.bias = nn.Parameter(torch.zeros(blocks, 6 * width))

    def forward(self, step: Tensor) -> Tensor:
        """Map step vectors `(N, D)` to `(N, blocks, 6, D)`."""
        flat = torch.einsum("nd,bmd->nbm", step, self.weight) + self.bias
        return rearrange(flat, "N b (m D) -> N b m D", m=6)
