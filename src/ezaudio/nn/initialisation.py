"""How weights start: three named helpers."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def zeroed(module: M) -> M:
    """Set every parameter to zero and return the module: a branch that first adds nothing."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def xavier(module: M, *, parts: int = 1, gain: float = 1.0) -> M:
    """Start a linear or convolution layer from Xavier's uniform distribution, its bias from zero.

    Args:
        module: a layer with `weight` (out, in, ...) and perhaps `bias`.
        parts: how many layers of equal size are stacked along the outputs (3 for fused Q, K, V);
            each starts as it would alone.
        gain: factor on the weights.
    """
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    for part in weight.data.flatten(1).chunk(parts):
        nn.init.xavier_uniform_(part, gain=gain)
    if isinstance(module.bias, torch.Tensor):
        nn.init.zeros_(module.bias)
    return module


def pass_through(module: nn.Conv1d) -> nn.Conv1d:
    """Start a convolution as the identity, its bias from zero."""
    nn.init.dirac_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module
