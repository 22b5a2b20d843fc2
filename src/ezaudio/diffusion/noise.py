"""Noise that belongs to a seed, not to a batch.

Every row has its own generator, so a row depends on its seed alone: the same bits come alone, in
any batch, at any place in it, on any device (numbers are drawn in float32 on the CPU, then moved).
Values are drawn frame by frame, so a longer clip of the same seed begins with the noise of the
shorter one; this holds for the first draw, later draws follow on from where the first one ended.

Limit: the generator keeps 32 bits of its seed, so larger seeds would repeat; they are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from ezaudio.diffusion.seeds import MAX_SEED
from ezaudio.errors import InputError

NoiseSource: TypeAlias = Callable[[], Tensor]
"""Gives fresh standard normal noise (B, C, T) on every call."""

_BLOCK = 16  # the generator fills whole blocks alike; a partial one at the end would differ


class SeededNoise:
    """Standard normal noise, one generator per row.

    Args:
        seeds: one per row, whole numbers from 0 to 2^32 - 1.
        channels: C.
        frames: T.
        device: where the noise is wanted.
        dtype: in which precision.

    Raises:
        InputError: a seed is out of range, or the shape is empty.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        channels: int,
        frames: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        for field, size in (("seeds", len(seeds)), ("channels", channels), ("frames", frames)):
            if size < 1:
                raise InputError(field, size, "at least 1")
        self.channels, self.frames, self.device, self.dtype = channels, frames, device, dtype
        self._generators = [_generator(seed) for seed in seeds]

    def __call__(self) -> Tensor:
        """The next noise `(B, C, T)`."""
        rows = torch.stack([self._row(generator) for generator in self._generators])
        return rows.to(device=self.device, dtype=self.dtype)

    def _row(self, generator: torch.Generator) -> Tensor:
        count = self.frames * self.channels
        values = torch.randn(-(-count // _BLOCK) * _BLOCK, generator=generator)
        return values[:count].reshape(self.frames, self.channels).T.contiguous()  # (C, T)


def _generator(seed: int) -> torch.Generator:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise InputError("seed", seed, f"a whole number from 0 to {MAX_SEED}")
    return torch.Generator().manual_seed(seed)
