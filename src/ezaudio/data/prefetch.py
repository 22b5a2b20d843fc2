"""Batches made in a thread while the step before is computed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """A function of the step number whose next values are computed before they are asked for.

    It is still that function: nothing depends on what was asked for before, and its errors are
    raised where the value is asked for. One thread computes, in order, so the function need not be
    safe to call from several.

    Args:
        make: The function, such as `LatentBatches.batch`.
        depth: How many values to compute ahead; 0 computes each when it is asked for.
        last: First step that is not computed ahead, such as the end of the run.
    """

    def __init__(
        self, make: Callable[[int], T], depth: int = 2, *, last: int | None = None
    ) -> None:
        self.make, self.depth, self.last = make, depth, last
        self._waiting: dict[int, Future[T]] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="batches") if depth else None

    def __call__(self, index: int) -> T:
        """The value at `index`."""
        if self._worker is None:
            return self.make(index)
        stop = index + self.depth + 1
        if self.last is not None:
            stop = max(index + 1, min(stop, self.last))
        for gone in [step for step in self._waiting if not index <= step < stop]:
            self._waiting.pop(gone).cancel()
        for step in range(index, stop):
            if step not in self._waiting:
                self._waiting[step] = self._worker.submit(self.make, step)
        return self._waiting.pop(index).result()

    def close(self) -> None:
        """Stop computing ahead."""
        if self._worker is not None:
            self._worker.shutdown(wait=False, cancel_futures=True)
