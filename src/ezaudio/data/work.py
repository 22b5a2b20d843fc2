"""Many clips at once, in order, with little in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def in_order(function: Callable[[In], Out], items: Iterable[In], *, workers: int) -> Iterator[Out]:
    """Call a function for every item, in threads; results come in the order of the items.

    Decoding, resampling, compressing and hashing leave the interpreter's lock, so threads are
    enough, and nothing has to be copied between processes.

    Args:
        function: What to do.
        items: Taken as they are needed: at most four per worker are on their way.
        workers: Threads; 0 or 1 does the work in this one.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Out]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
