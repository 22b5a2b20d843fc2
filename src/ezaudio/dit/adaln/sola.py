"""AdaLN-SOLA: one linear layer for all, a low-rank adjustment per block (paper, section 2.1).

For a step vector s, block b is modulated by `W s + c + (alpha / R) · up_b (down_b s) [+ table_b]`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from ezaudio.config import Config
from ezaudio.nn.initialisation import zeroed


class SolaAdaLN(Config):
    """Settings.

    Attributes:
        rank: rank `R` per modulation vector; the adjustment of a block has rank 6 R.
        alpha: the adjustment is scaled by `alpha / rank`; None means `rank`, so a factor of 1.
        table: whether each block has a table of constants too.

    Deviation: the paper describes no table; the released L and XL have it.
    """

    kind: Literal["sola"] = "sola"
    rank: int = Field(default=32, ge=1)
    alpha: float | None = Field(default=None, gt=0)
    table: bool = True

    @property
    def scaling(self) -> float:
        """Factor on the low-rank adjustment."""
        return 1.0 if self.alpha is None else self.alpha / self.rank

    def build(self, *, width: int, blocks: int) -> SolaModulation:
        """Make the layer for `blocks` blocks of `width` channels."""
        return SolaModulation(self, width, blocks)


class SolaModulation(nn.Module):
    """A shared linear layer plus low-rank adjustments.

    The shared layer, the tables and the `up` halves start at zero; the `down` halves start at
    random, so that the first gradient reaches `up`.
    """

    def __init__(self, config: SolaAdaLN, width: int, blocks: int) -> None:
        super().__init__()
        self.scaling = config.scaling
        self.shared = zeroed(nn.Linear(width, 6 * width))
        self.down = nn.Parameter(torch.empty(blocks, 6 * config.rank, width))
        self.up = nn.Parameter(torch.zeros(blocks, 6 * width, 6 * config.rank))
        self.table = nn.Parameter(torch.zeros(blocks, 6, width)) if config.table else None
        nn.init.uniform_(self.down, -1 / math.sqrt(width), 1 / math.sqrt(width))

    def forward(self, step: Tensor) -> Tensor:
        """Map step vectors `(N, D)` to `(N, blocks, 6, D)`."""
        narrow = torch.einsum("nd,brd->nbr", step, self.down)
        adjustment = torch.einsum("nbr,bmr->nbm", narrow, self.up) * self.scaling
        flat = self.shared(step).unsqueeze(1) + adjustment  # (N, blocks, 6 D)
        modulation: Tensor = rearrange(flat, "N b (m D) -> N b m D", m=6)
        return modulation if self.table is None else modulation + self.table
