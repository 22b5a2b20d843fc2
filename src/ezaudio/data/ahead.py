"""The next batches, made while this one is learnt from."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Calls a function of the step number before its result is asked for.

    Only speed depends on it: what step `index` gets is what the function gives for `index`. One
    thread does the work, in order, so the function need not be safe to call from several.

    Args:
        batch: Function of the step number, such as `LatentBatches.batch`.
        depth: Steps that are made ahead; 0 makes each when it is asked for.
        last: First step that is not made ahead, such as the end of the run.
    """

    def __init__(
        self, batch: Callable[[int], T], *, depth: int = 2, last: int | None = None
    ) -> None:
        self._batch, self._depth, self._last = batch, depth, last
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._made: dict[int, Future[T]] = {}

    def __call__(self, index: int) -> T:
        """What the function gives for a step; its errors are raised here."""
        for old in [step for step in self._made if not index <= step <= index + self._depth]:
            self._made.pop(old).cancel()
        stop = index + self._depth + 1
        if self._last is not None:
            stop = max(index + 1, min(stop, self._last))
        for step in range(index, stop):
            if step not in self._made:
                self._made[step] = self._pool.submit(self._batch, step)
        return self._made.pop(index).result()

    def close(self) -> None:
        """Stop making batches."""
        self._pool.shutdown(wait=False, cancel_futures=True)
