"""The network: `(x_t, t, condition) -> v` (paper, section 2.1 and Figure 1).

The input is the noisy latent, the known latent and a mask, along the channels. A stack of blocks
follows whose second half also sees the outputs of the first, joined last to first. This module
alone transposes latents.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ezaudio.dit.block import LongSkip, NoSkip, Output
from ezaudio.dit.condition import Condition
from ezaudio.dit.config import DiTConfig
from ezaudio.dit.trunk import Timestep, Trunk


class EzAudioDiT(Trunk):
    """Diffusion transformer over latents `(B, C, T)`.

    Args:
        config: sizes and variants.

    Attributes:
        unknown: what stands in the known latent where nothing is known, `(C,)`; learned, zero at
            the start.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__(config, blocks=config.depth + 1)
        skip = LongSkip if config.long_skips else NoSkip
        self.unknown = nn.Parameter(torch.zeros(config.latent_channels))
        self.skips = nn.ModuleList(skip(config) for _ in range(config.half))
        self.output = Output(config)

    def forward(
        self,
        x_t: Tensor,
        timestep: Timestep,
        condition: Condition,
        *,
        known: Tensor | None = None,
        regenerate: Tensor | None = None,
        residuals: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Predict the velocity.

        Args:
            x_t: noisy latent, `(B, C, T)`; T need not be a multiple of the patch size.
            timestep: steps `(B,)`, or one for all rows, looked up in `condition` if it was prepared
                there.
            condition: what `prepare` returned; one row serves all latents.
            known: latent of a sound to keep in part, `(B, C, T)`; nothing is known without it.
            regenerate: True where `known` is to be replaced, bool `(B, 1, T)`; comes with `known`.
            residuals: output of a control branch, one `(B, T / patch, D)` for each block of the
                first half.

        Returns:
            velocity, `(B, C, T)`.

        Raises:
            ValueError: the arguments do not fit together.
        """
        stream = self.embed(self.compose(x_t, known=known, regenerate=regenerate))
        call = self.call(stream, timestep, condition)
        half = self.config.half
        waiting: list[Tensor] = []
        extras = _extras(residuals, half)
        for index in range(half):
            stream = self.run(index, stream, call)
            waiting.append(stream)
        stream = self.run(half, stream, call)
        for index, skip in enumerate(self.skips, start=half + 1):
            stream = skip(stream, waiting.pop(), extras.pop())
            stream = self.run(index, stream, call)
        velocity: Tensor = self.output(stream, call.final)
        return velocity[..., : x_t.shape[-1]]

    def compose(
        self, x_t: Tensor, *, known: Tensor | None = None, regenerate: Tensor | None = None
    ) -> Tensor:
        """Stack the noisy latent, the known latent and the mask, padded to whole patches.

        Frames that are padded are zero in `x_t` and unknown: the network continues the sound into
        them.

        Returns:
            `(B, 2 C + 1, T)`, with T rounded up to a multiple of the patch size.
        """
        if (known is None) != (regenerate is None):
            raise ValueError("`known` and `regenerate` come together")
        padding = (0, -x_t.shape[-1] % self.config.patch_size)
        x_t = functional.pad(x_t, padding)
        unknown = self.unknown.to(x_t.dtype)[:, None].expand_as(x_t)
        if known is None or regenerate is None:
            return torch.cat([x_t, unknown, torch.ones_like(x_t[:, :1])], dim=1)
        regenerate = functional.pad(regenerate, padding, value=True)
        known = torch.where(regenerate, unknown, functional.pad(known.to(x_t.dtype), padding))
        return torch.cat([x_t, known, regenerate.to(x_t.dtype).expand_as(x_t[:, :1])], dim=1)

    def _final_modulation(self, vectors: Tensor) -> Tensor:
        return self.output.modulate(vectors)


def _extras(residuals: Sequence[Tensor] | None, half: int) -> list[Tensor | None]:
    if residuals is None:
        return [None] * half
    if len(residuals) != half:
        raise ValueError(f"{half} residuals expected, got {len(residuals)}")
    return list(residuals)
