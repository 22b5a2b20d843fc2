"""What the DiT and its control branch share: input, text, diffusion step, a stack of blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ezaudio.dit.block import Block
from ezaudio.dit.condition import Condition, PreparedSteps, StepModulation
from ezaudio.dit.config import DiTConfig
from ezaudio.nn.attention import KeysValues
from ezaudio.nn.initialisation import xavier
from ezaudio.nn.rope import Rope, RopeTables
from ezaudio.nn.step_embedding import StepEmbedding
from ezaudio.types import TextEmbedding

Timestep: TypeAlias = Tensor | int | float
"""Steps `(B,)`, or one step for all rows: a number or a tensor without axes."""


@dataclass(frozen=True)
class Call:
    """What all blocks of one forward pass share: everything but the stream.

    Attributes:
        steering: per block, the six vectors that steer it, `(B or 1, 6, D)`.
        final: shift and scale before the output projection, `(B or 1, 2, D)`.
        rope: positions.
        texts: per block, keys and values of the text; empty without text.
        attend: True where a text token may be attended to.
    """

    steering: tuple[Tensor, ...]
    final: Tensor | None
    rope: RopeTables
    texts: tuple[KeysValues, ...]
    attend: Tensor | None


class Trunk(nn.Module):
    """Base of networks that run blocks over a latent.

    Args:
        config: sizes and variants.
        blocks: number of blocks.

    Attributes:
        gradient_checkpointing: recompute the blocks in the backward pass: less memory, about a
            third more time.
    """

    def __init__(self, config: DiTConfig, *, blocks: int) -> None:
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False
        width, patch = config.width, config.patch_size
        self.patches = xavier(
            nn.Conv1d(2 * config.latent_channels + 1, width, kernel_size=patch, stride=patch)
        )
        self.step = StepEmbedding(width)
        self.text = None if config.text_width is None else _projection(config.text_width, width)
        self.adaln = config.adaln.build(width=width, blocks=blocks)
        self.blocks = nn.ModuleList(Block(config) for _ in range(blocks))
        self.rope = Rope(width // config.heads)

    def prepare(
        self, text: TextEmbedding | None = None, timesteps: Tensor | None = None
    ) -> Condition:
        """Compute all that does not depend on the latent.

        Args:
            text: prompts, `(B, L, E)`; None exactly for a network without text.
            timesteps: the steps of a generation, `(N,)`; each is then steered from the prepared
                table.

        Returns:
            Keys and values of the text for each block, and the modulation of each step.

        Raises:
            ValueError: text is missing, not wanted, or of another width.
        """
        steps = None
        if timesteps is not None:
            numbers = tuple(float(step) for step in timesteps.tolist())
            steps = PreparedSteps(numbers, self.modulate(timesteps))
        width = None if text is None else text.tokens.shape[-1]
        if width != self.config.text_width:
            raise ValueError(f"text of width {self.config.text_width} expected, got {width}")
        if text is None or self.text is None:
            return Condition(steps=steps)
        weight = self.patches.weight
        moved = text.to(weight.device, weight.dtype)
        projected = self.text(moved.tokens)  # (B, L, D)
        texts = tuple(cast(Block, block).read(projected) for block in self.blocks)
        return Condition(texts, moved.attend[:, None, None, :], steps)

    def modulate(self, timesteps: Tensor) -> StepModulation:
        """Modulation of steps `(N,)`, computed afresh."""
        vectors = functional.silu(self.step(timesteps.to(self.patches.weight.device)))
        return StepModulation(self.adaln(vectors), self._final_modulation(vectors))

    def _final_modulation(self, vectors: Tensor) -> Tensor | None:
        """What step vectors `(N, D)` do after the last block; nothing here."""
        return None

    def embed(self, composed: Tensor) -> Tensor:
        """Map a composed input `(B, 2 C + 1, T)` to the stream `(B, T / patch, D)`.

        The stream has the type of the weights, also where products are computed in another.
        """
        stream: Tensor = rearrange(self.patches(composed), "B D t -> B t D")
        return stream.to(self.patches.weight.dtype).contiguous()

    def call(self, stream: Tensor, timestep: Timestep, condition: Condition) -> Call:
        """Gather what the blocks need for a stream `(B, t, D)`.

        Raises:
            ValueError: the rows of the stream, the steps and the condition do not fit.
        """
        batch, length, _ = stream.shape
        modulation = self._modulation_at(timestep, condition)
        if len(modulation.blocks) not in (1, batch) or condition.batch not in (1, batch):
            raise ValueError(
                f"{batch} latents do not go with {len(modulation.blocks)} timesteps "
                f"and a condition of {condition.batch} rows"
            )
        rope = self.rope(length, device=stream.device)
        condition = condition.expand(batch)
        steering = modulation.blocks.unbind(1)
        return Call(steering, modulation.final, rope, condition.texts, condition.attend)

    def _modulation_at(self, timestep: Timestep, condition: Condition) -> StepModulation:
        if isinstance(timestep, Tensor) and timestep.ndim > 0:
            return self.modulate(timestep)
        prepared = condition.steps and condition.steps.at(float(timestep))
        return prepared or self.modulate(torch.as_tensor([float(timestep)]))

    def run(self, index: int, stream: Tensor, call: Call) -> Tensor:
        """Run one block over `(B, t, D)`."""
        block = self.blocks[index]
        text = call.texts[index] if call.texts else None
        inputs = (stream, call.steering[index], call.rope, text, call.attend)
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return cast(Tensor, checkpoint(block, *inputs, use_reentrant=False))
        return cast(Tensor, block(*inputs))


def _projection(text_width: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        xavier(nn.Linear(text_width, width)), nn.SiLU(), xavier(nn.Linear(width, width))
    )
