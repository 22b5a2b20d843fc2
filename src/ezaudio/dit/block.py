"""The parts that are stacked: a block, a long skip, the output."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from ezaudio.dit.config import DiTConfig
from ezaudio.nn.attention import CrossAttention, KeysValues, SelfAttention
from ezaudio.nn.feedforward import GEGLU
from ezaudio.nn.initialisation import pass_through, xavier, zeroed
from ezaudio.nn.norms import NORMS
from ezaudio.nn.rope import RopeTables


class Modulation(NamedTuple):
    """How the diffusion step steers one residual branch; each `(B or 1, 1, D)`."""

    shift: Tensor
    scale: Tensor
    gate: Tensor

    def enter(self, x: Tensor) -> Tensor:
        """Shift and scale what enters the branch, `(B, T, D)`."""
        return torch.addcmul(self.shift, x, 1 + self.scale)

    def leave(self, x: Tensor, branch: Tensor) -> Tensor:
        """Add the branch. A gate of 0 is an open gate: the branch counts `1 - gate`."""
        return torch.addcmul(x, 1 - self.gate, branch)


class BlockModulation(NamedTuple):
    """Modulation of the two steered branches of a block."""

    attention: Modulation
    feedforward: Modulation

    @classmethod
    def of(cls, six: Tensor) -> BlockModulation:
        """Name the six vectors `(B or 1, 6, D)`."""
        vectors = six.unsqueeze(2).unbind(1)
        return cls(Modulation(*vectors[:3]), Modulation(*vectors[3:]))


class TextLookup(nn.Module):
    """Normalise, attend to the text, add."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.norm = NORMS[config.norm](config.width)
        self.context_norm = NORMS[config.norm](config.width)
        self.attention = CrossAttention(config.width, config.heads, qk_norm=config.qk_norm)

    def prepare(self, text: Tensor) -> KeysValues:
        """Keys and values of projected text `(B, L, D)`."""
        return self.attention.prepare(self.context_norm(text))

    def forward(self, x: Tensor, text: KeysValues, attend: Tensor) -> Tensor:
        """Map `(B, T, D)` to `(B, T, D)`."""
        looked_up: Tensor = x + self.attention(self.norm(x), text, attend)
        return looked_up


class Block(nn.Module):
    """Self-attention, the text (if any) and the feed-forward layer, each added to the stream.

    With fresh weights the gates are open and the outputs of the branches are scaled by `1 / sqrt(2
    · blocks)` (Radford et al., 2019), so that the variance of the stream does not grow with depth.

    Deviation: the authors start the branches unscaled.
    """

    called_beside_forward = ("read",)
    """Methods that compute with the weights, for an engine that brings them there for each call."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        gain = 1 / math.sqrt(2 * (config.depth + 1))
        self.attention_norm = NORMS[config.norm](config.width)
        self.attention = SelfAttention(
            config.width, config.heads, qk_norm=config.qk_norm, gain=gain
        )
        self.text = None if config.text_width is None else TextLookup(config)
        self.feedforward_norm = NORMS[config.norm](config.width)
        self.feedforward = GEGLU(config.width, config.hidden, dropout=config.dropout, gain=gain)

    def read(self, text: Tensor) -> KeysValues:
        """Keys and values of projected text `(B, L, D)`."""
        if self.text is None:
            raise ValueError("this block has no cross-attention")
        return self.text.prepare(text)

    def forward(
        self,
        x: Tensor,
        six: Tensor,
        rope: RopeTables,
        text: KeysValues | None,
        attend: Tensor | None,
    ) -> Tensor:
        """Map `(B, T, D)` to `(B, T, D)`, steered by `six` vectors `(B or 1, 6, D)`."""
        step = BlockModulation.of(six)
        entered = step.attention.enter(self.attention_norm(x))
        x = step.attention.leave(x, self.attention(entered, rope))
        if self.text is not None:
            x = self.text(x, text, attend)
        entered = step.feedforward.enter(self.feedforward_norm(x))
        return step.feedforward.leave(x, self.feedforward(entered))


class LongSkip(nn.Module):
    """Join the stream with an earlier one: concatenate, normalise, project back to the width."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        norm = config.norm if config.skip_norm else "none"
        self.norm = NORMS[norm](2 * config.width)
        self.linear = xavier(nn.Linear(2 * config.width, config.width))

    def forward(self, x: Tensor, skip: Tensor, residual: Tensor | None) -> Tensor:
        """Map `(B, T, D)` to `(B, T, D)`; a control's residual is added to the skip."""
        skip = skip if residual is None else skip + residual
        joined: Tensor = self.linear(self.norm(torch.cat([x, skip], dim=-1)))
        return joined.to(x.dtype)


class NoSkip(nn.Module):
    """Ignore the earlier stream; a control's residual is added to the stream itself."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()

    def forward(self, x: Tensor, skip: Tensor, residual: Tensor | None) -> Tensor:
        """Map `(B, T, D)` to `(B, T, D)`."""
        return x if residual is None else x + residual


class Output(nn.Module):
    """From the stream to a velocity: normalise, steer, project, convolve over the frames.

    With fresh weights the projection is zero and the convolution passes through, so the first
    velocity is zero.

    Deviation: the authors start both from Xavier's distribution.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        channels = config.latent_channels
        self.patch_size = config.patch_size
        self.modulation = zeroed(nn.Linear(config.width, 2 * config.width))
        self.norm = NORMS[config.norm](config.width)
        self.linear = zeroed(nn.Linear(config.width, config.patch_size * channels))
        self.conv = pass_through(nn.Conv1d(channels, channels, kernel_size=3, padding=1))

    def modulate(self, vectors: Tensor) -> Tensor:
        """Shift and scale for step vectors `(N, D)`: `(N, 2, D)`."""
        modulation: Tensor = rearrange(self.modulation(vectors), "N (m D) -> N m D", m=2)
        return modulation

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        """Map `(B, T / patch, D)` to `(B, C, T)`, steered by shift and scale `(B or 1, 2, D)`."""
        shift, scale = step.unsqueeze(2).unbind(1)
        patches = self.linear(torch.addcmul(shift, self.norm(x), 1 + scale))
        velocity: Tensor = self.conv(
            rearrange(patches, "B t (p C) -> B C (t p)", p=self.patch_size)
        )
        return velocity
