"""Telling the caller how far the work is, and hearing that it should stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from ezaudio.errors import Cancelled


@dataclass(frozen=True)
class Progress:
    """One diffusion step of one batch is done.

    Attributes:
        step: steps done so far, from 1, over the whole call.
        total: steps of the whole call.
        preview: gives the waveform (B, 1, S) that the model expects now, for the sounds under way;
            it costs one pass of the decoder, only when called, and only during the callback.
    """

    step: int
    total: int
    preview: Callable[[], Tensor]


Callback: TypeAlias = Callable[[Progress], "bool | None"]
"""Called after every step; returning False, or raising `Cancelled`, ends the work."""


class Counter:
    """Counts steps over several batches and calls back.

    Args:
        total: steps to come.
        callback: told about each.
        decode: turns a latent (B, C, T) into a waveform (B, 1, S).
    """

    def __init__(
        self, total: int, callback: Callback | None, decode: Callable[[Tensor], Tensor]
    ) -> None:
        self.total, self.done = total, 0
        self._callback, self._decode = callback, decode

    def __call__(self, index: int, steps: int, t: float, x0: Tensor) -> None:
        """Take note of a sampler's step.

        Raises:
            Cancelled: the callback returned False.
        """
        self.done += 1
        if self._callback is None:
            return
        progress = Progress(self.done, self.total, lambda: self._decode(x0))
        if self._callback(progress) is False:
            raise Cancelled()
