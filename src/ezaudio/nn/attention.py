"""Multi-head attention with normalised queries and keys, on torch's fused kernels."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ezaudio.nn.initialisation import xavier, zeroed
from ezaudio.nn.norms import NORMS, QKNormKind
from ezaudio.nn.rope import RopeTables, rotate


class KeysValues(NamedTuple):
    """Keys (normalised) and values of a sequence that is attended to, `(B, H, L, P)` each."""

    keys: Tensor
    values: Tensor


MOST_WRITTEN_OUT = 2**26
"""Most weights of one call that are kept for a backward pass on a CPU (256 MiB in float32)."""


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mix values by the likeness of queries and keys.

    A backward pass on a CPU computes with the weights written out, as long as they are few: matrix
    products there are several times as fast as the backward pass of torch's fused kernel.

    Args:
        q: Queries, `(B, H, T, P)`.
        k: Keys, `(B, H, L, P)`.
        v: Values, `(B, H, L, P)`.
        mask: True where a key may be attended to, bool, broadcast to `(B, H, T, L)`.

    Returns:
        `(B, H, T, P)`.
    """
    few = q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2] <= MOST_WRITTEN_OUT
    if not (few and q.device.type == "cpu" and torch.is_grad_enabled()):
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    likeness = (q / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2)  # (B, H, T, L)
    if mask is not None:
        likeness = likeness.masked_fill(~mask, -math.inf)
    weights = likeness.softmax(dim=-1, dtype=torch.float32)
    return weights.to(v.dtype) @ v


class SelfAttention(nn.Module):
    """Every frame looks at every frame.

    Args:
        width: model width `D`.
        heads: number of heads `H`; divides the width.
        qk_norm: norm over the channels of each head of the queries and of the keys.
        gain: factor on the initial output projection.
    """

    def __init__(self, width: int, heads: int, *, qk_norm: QKNormKind, gain: float = 1.0) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = xavier(nn.Linear(width, 3 * width, bias=False), parts=3)
        self.query_norm = NORMS[qk_norm](width // heads)
        self.key_norm = NORMS[qk_norm](width // heads)
        self.output = xavier(nn.Linear(width, width), gain=gain)

    def forward(self, x: Tensor, rope: RopeTables) -> Tensor:
        """Map `(B, T, D)` to `(B, T, D)`."""
        q, k, v = rearrange(self.qkv(x), "B T (n H P) -> n B H T P", n=3, H=self.heads).unbind(0)
        q = rotate(self.query_norm(q), rope)
        k = rotate(self.key_norm(k), rope)
        mixed = attend(q, k, v)
        mapped: Tensor = self.output(rearrange(mixed, "B H T P -> B T (H P)"))
        return mapped


class CrossAttention(nn.Module):
    """Every frame looks at a context, whose keys and values are computed apart and can be kept.

    The output projection starts at zero, so that adding this layer to a trained network changes
    nothing at first.

    Args:
        width: width of the frames and of the context, `D`.
        heads: number of heads `H`; divides the width.
        qk_norm: norm over the channels of each head of the queries and of the keys.
    """

    def __init__(self, width: int, heads: int, *, qk_norm: QKNormKind) -> None:
        super().__init__()
        self.heads = heads
        self.query = xavier(nn.Linear(width, width, bias=False))
        self.key_value = xavier(nn.Linear(width, 2 * width, bias=False), parts=2)
        self.query_norm = NORMS[qk_norm](width // heads)
        self.key_norm = NORMS[qk_norm](width // heads)
        self.output = zeroed(nn.Linear(width, width))

    def prepare(self, context: Tensor) -> KeysValues:
        """Keys and values of a context `(B, L, D)`."""
        k, v = rearrange(
            self.key_value(context), "B L (n H P) -> n B H L P", n=2, H=self.heads
        ).unbind(0)
        return KeysValues(self.key_norm(k), v)

    def forward(self, x: Tensor, context: KeysValues, mask: Tensor) -> Tensor:
        """Map `(B, T, D)` to `(B, T, D)`; the mask is bool `(B, 1, 1 or T, L)`, True to attend."""
        q = self.query_norm(rearrange(self.query(x), "B T (H P) -> B H T P", H=self.heads))
        mixed = attend(q, context.keys, context.values, mask)
        mapped: Tensor = self.output(rearrange(mixed, "B H T P -> B T (H P)"))
        return mapped
