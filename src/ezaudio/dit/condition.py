"""What stays the same while a sound is denoised, prepared once per generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ezaudio.nn.attention import KeysValues


class StepModulation(NamedTuple):
    """What diffusion steps do to the network.

    Attributes:
        blocks: six vectors per block, `(N, blocks, 6, D)`: shift, scale, gate of the
            self-attention, then of the feed-forward layer.
        final: shift and scale before the output projection, `(N, 2, D)`; None in a control branch.
    """

    blocks: Tensor
    final: Tensor | None


@dataclass(frozen=True)
class PreparedSteps:
    """The modulation of all diffusion steps of a generation.

    Attributes:
        timesteps: the N steps, in the order of the rows.
        modulation: their modulation.
    """

    timesteps: tuple[float, ...]
    modulation: StepModulation

    def at(self, timestep: float) -> StepModulation | None:
        """Modulation of one step, with N = 1; None if it was not prepared."""
        if timestep not in self.timesteps:
            return None
        row = self.timesteps.index(timestep)
        blocks, final = self.modulation
        return StepModulation(
            blocks[row : row + 1], None if final is None else final[row : row + 1]
        )


@dataclass(frozen=True)
class Condition:
    """Prepared text and steps; made by `EzAudioDiT.prepare`.

    Attributes:
        texts: per block, the keys and values of the text; empty in a network without text.
        attend: True where a text token may be attended to, bool `(B, 1, 1, L)`, or `(B, 1, t, L)`
            where that differs over the t positions of the stream; None without text.
        steps: modulation of the diffusion steps, shared by all rows; None if it was not prepared.
    """

    texts: tuple[KeysValues, ...] = ()
    attend: Tensor | None = None
    steps: PreparedSteps | None = None

    @property
    def batch(self) -> int:
        """Number of rows; 1 without text. One row serves a latent batch of any size."""
        return 1 if self.attend is None else int(self.attend.shape[0])

    def select(self, rows: Sequence[int] | Tensor | slice) -> Condition:
        """The given rows (indices, possibly repeated), in that order."""
        if self.attend is None:
            return self
        index = rows if isinstance(rows, Tensor | slice) else torch.as_tensor(list(rows))
        texts = tuple(KeysValues(k[index], v[index]) for k, v in self.texts)
        return replace(self, texts=texts, attend=self.attend[index])

    def expand(self, batch: int) -> Condition:
        """Repeat a single row without copying; conditions of more rows are returned as they are."""
        if self.attend is None or self.batch != 1 or batch == 1:
            return self
        texts = tuple(
            KeysValues(k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1))
            for k, v in self.texts
        )
        return replace(self, texts=texts, attend=self.attend.expand(batch, -1, -1, -1))

    @staticmethod
    def in_turn(parts: Sequence[Condition], positions: int, *, overlap: int = 0) -> Condition:
        """One row that reads the texts of others one after another, each in an equal part.

        Every position still hears all others; only the text that it reads is its part's. Near a
        boundary the texts of both sides are read, so that one event fades into the next.

        Args:
            parts: conditions of one row, with text, in order.
            positions: length t of the stream, latent frames over the patch size, rounded up.
            overlap: positions on each side of a boundary that read both texts; at most a quarter of
                a part.

        Source: FreeAudio (arXiv:2507.08557) divides the attention to the text likewise.
        """
        count, place = len(parts), torch.arange(positions)  # (t,)
        overlap = min(overlap, positions // (4 * count))
        earlier = (place - overlap).clamp(min=0) * count // positions
        later = (place + overlap).clamp(max=positions - 1) * count // positions
        attend = [
            ((earlier <= i) & (i <= later))[:, None].to(part.attend.device) & part.attend
            for i, part in enumerate(parts)
            if part.attend is not None
        ]
        texts = tuple(
            KeysValues(*(torch.cat(tensors, dim=2) for tensors in zip(*block, strict=True)))
            for block in zip(*(part.texts for part in parts), strict=True)
        )
        return Condition(texts, torch.cat(attend, dim=-1), parts[0].steps)

    @staticmethod
    def cat(parts: Sequence[Condition]) -> Condition:
        """Join rows, for instance of the prompts and of the negative prompts.

        Shorter texts are padded and masked. The prepared steps are those of the first part
        that has any.

        Raises:
            ValueError: there is nothing to join, or only some of the parts have a text.
        """
        if not parts or len({part.attend is None for part in parts}) != 1:
            raise ValueError("conditions are joined all with text or all without, at least one")
        steps = next((part.steps for part in parts if part.steps is not None), None)
        if parts[0].attend is None:
            return Condition(steps=steps)
        length = max(part.attend.shape[-1] for part in parts if part.attend is not None)
        padded = [part._padded(length) for part in parts]
        texts = tuple(
            KeysValues(torch.cat([kv.keys for kv in block]), torch.cat([kv.values for kv in block]))
            for block in zip(*(part.texts for part in padded), strict=True)
        )
        masks = [part.attend for part in padded if part.attend is not None]
        positions = max(mask.shape[2] for mask in masks)
        attend = torch.cat([mask.expand(-1, -1, positions, -1) for mask in masks])
        return Condition(texts, attend, steps)

    def _padded(self, length: int) -> Condition:
        assert self.attend is not None
        missing = length - self.attend.shape[-1]
        if missing == 0:
            return self
        texts = tuple(
            KeysValues(functional.pad(k, (0, 0, 0, missing)), functional.pad(v, (0, 0, 0, missing)))
            for k, v in self.texts
        )
        return replace(self, texts=texts, attend=functional.pad(self.attend, (0, missing)))
