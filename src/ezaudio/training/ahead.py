"""Batches made ahead, in a thread, while a step is computed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """A function of the step number whose next values are computed before they are asked for.

    It is still that function: nothing depends on what was asked for before.

    Args:
        make: The function; one thread at a time calls it.
        depth: How many values to compute ahead; 0 computes each when it is asked for.
    """

    def __init__(self, make: Callable[[int], T], depth: int) -> None:
        self.make, self.depth = make, depth
        self._waiting: dict[int, Future[T]] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="batches") if depth else None

    def __call__(self, index: int) -> T:
        """The value at `index`."""
        if self._worker is None:
            return self.make(index)
        wanted = range(index, index + self.depth + 1)
        for gone in [known for known in self._waiting if known not in wanted]:
            self._waiting.pop(gone).cancel()
        for next_one in wanted:
            if next_one not in self._waiting:
                self._waiting[next_one] = self._worker.submit(self.make, next_one)
        return self._waiting.pop(index).result()
