"""Multi-head attention with normalised queries and keys, on torch's fused kernels."""

from __future__ import annotations

from typing import NamedTuple

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
        mixed = functional.scaled_dot_product_attention(q, k, v)
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

    def forward(self, x: Tensor, context: KeysValues, attend: Tensor) -> Tensor:
        """Map `(B, T, D)` to `(B, T, D)`; `attend` is bool `(B, 1, 1 or T, L)`."""
        q = self.query_norm(rearrange(self.query(x), "B T (H P) -> B H T P", H=self.heads))
        mixed = functional.scaled_dot_product_attention(
            q, context.keys, context.values, attn_mask=attend
        )
        mapped: Tensor = self.output(rearrange(mixed, "B H T P -> B T (H P)"))
        return mapped
