"""Normalisation layers, chosen by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn

NormKind = Literal["layernorm", "rmsnorm"]
QKNormKind = Literal["layernorm", "rmsnorm", "none"]


def _layernorm(width: int) -> nn.Module:
    return nn.LayerNorm(width, eps=1e-5)


def _rmsnorm(width: int) -> nn.Module:
    return nn.RMSNorm(width, eps=1e-6)


def _none(width: int) -> nn.Module:
    return nn.Identity()


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layernorm": _layernorm,
    "rmsnorm": _rmsnorm,
    "none": _none,
}
"""Name of a norm to its builder; a builder takes the width of the last axis."""
