"""How far a run is and how fast it goes, and the means of what its steps measured."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from ezaudio.training.loop.distributed import Engine


class Clock:
    """Wall time of a run over all its parts; the slowest clock counts on all processes.

    Args:
        engine: The processes.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.start(0.0)

    def start(self, seconds: float) -> None:
        """Begin, or go on after that many seconds."""
        self.seconds = self._before = seconds
        self._began = self._saved = self._logged = time.monotonic()

    def advance(self) -> None:
        """Bring `seconds` up to date."""
        now = self._before + time.monotonic() - self._began
        (self.seconds,) = self.engine.highest([now])

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that does not count as that of steps."""
        began = time.monotonic()
        yield
        self._logged += time.monotonic() - began

    def save_is_late(self, minutes: float | None) -> bool:
        """Whether the last save is that long ago."""
        if minutes is None:
            return False
        (waited,) = self.engine.highest([time.monotonic() - self._saved])
        return waited >= 60 * minutes

    def saved(self) -> None:
        """Note that a save is done."""
        self._saved = time.monotonic()

    def step_s(self, steps: int) -> float:
        """Seconds of each of the last `steps` steps since the last `logged`."""
        return (time.monotonic() - self._logged) / max(1, steps)

    def logged(self) -> None:
        """Begin to count steps anew."""
        self._logged = time.monotonic()


class Means:
    """Means over the steps between two lines of the log."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.steps = 0

    def add(self, values: Mapping[str, float]) -> None:
        """Count a step in; not every step has every value."""
        self.steps += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """Give the means, and begin anew."""
        means = {name: total / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts, self.steps = {}, {}, 0
        return means

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"sums": self.sums, "counts": self.counts, "steps": self.steps}

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Take it back."""
        self.sums, self.counts = dict(facts["sums"]), dict(facts["counts"])
        self.steps = int(facts["steps"])


def memory_bytes(device: torch.device) -> int:
    """Most memory held so far: of the accelerator, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows; psutil comes with the extra `train`
        return _memory_by_psutil()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _memory_by_psutil() -> int:
    """Most memory of this process, or what it has now where the system does not keep the most."""
    try:
        import psutil
    except ImportError:
        return 0
    held = psutil.Process().memory_info()
    return int(getattr(held, "peak_wset", held.rss))
