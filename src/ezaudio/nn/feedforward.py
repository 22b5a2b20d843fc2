"""The feed-forward part of a block."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ezaudio.nn.initialisation import xavier


class GEGLU(nn.Module):
    """Gated feed-forward layer: `output(a · gelu(g))` with `a, g = input(x)` (Shazeer, 2020).

    Args:
        width: model width `D`.
        hidden: width between the two layers.
        dropout: probability of zeroing a hidden channel while training.
        gain: factor on the initial output projection.
    """

    def __init__(self, width: int, hidden: int, *, dropout: float = 0.0, gain: float = 1.0) -> None:
        super().__init__()
        self.input = xavier(nn.Linear(width, 2 * hidden), parts=2)
        self.dropout = nn.Dropout(dropout)
        self.output = xavier(nn.Linear(hidden, width), gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(..., D)` to `(..., D)`."""
        value, gate = self.input(x).chunk(2, dim=-1)
        mapped: Tensor = self.output(self.dropout(value * functional.gelu(gate)))
        return mapped


def hidden_width(width: int, ratio: float) -> int:
    """`width · ratio`, rounded to the nearest multiple of 8 (fast matrix shapes).

    Deviation: the authors' code cuts the fraction off; the two agree for the ratio 4 of the paper.
    """
    return max(8, 8 * round(width * ratio / 8))
