"""What every training run needs besides its step: a clock, a log, resumable checkpoints.

A run is bounded by steps and by hours, whichever ends first; progress is the larger share of the
two, so the learning rate reaches its floor at the end of either. Checkpoints are written beside the
last one and then renamed, so a run that is killed continues from the last complete one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ezaudio.checkpoints import atomic_write
from ezaudio.config import Config
from ezaudio.errors import CheckpointError


class RunConfig(Config):
    """Bounds and rhythm of a run.

    Attributes:
        steps: Optimiser steps at most.
        hours: Wall time at most, summed over resumed parts.
        seed: Of weights, data order and noise.
        log_every, save_every: Steps.
        threads: CPU threads.
    """

    steps: int
    hours: float = 1e9
    seed: int = 0
    log_every: int = 50
    save_every: int = 250
    threads: int = 2


class Run:
    """Clock, log and checkpoints of one run in one folder.

    Args:
        folder: Where `state.pt` and `log.jsonl` live.
        config: Bounds.
        parts: Named objects with `state_dict` and `load_state_dict`, saved and restored together.
    """

    def __init__(self, folder: Path, config: RunConfig, parts: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.config, self.parts = folder, config, parts
        self.step, self.seconds = 0, 0.0
        self.generator = torch.Generator().manual_seed(config.seed)
        self._sums: dict[str, float] = {}
        self._began = time.monotonic()
        state = folder / "state.pt"
        if state.exists():
            self._restore(state)

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        hours = (self.seconds + time.monotonic() - self._began) / 3600
        return min(1.0, max(self.step / self.config.steps, hours / self.config.hours))

    def loop(
        self, step: Callable[[Run], dict[str, float]], at_save: Callable[[Run], dict[str, float]]
    ) -> None:
        """Call `step` until the run is over; `at_save` measures (for the log) whenever a checkpoint
        is written.
        """
        while self.progress < 1.0:
            for name, value in step(self).items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            self.step += 1
            if self.step % self.config.log_every == 0:
                self.log({k: v / self.config.log_every for k, v in self._sums.items()})
                self._sums = {}
            if self.step % self.config.save_every == 0 or self.progress >= 1.0:
                self.save()
                self.log(at_save(self))

    def log(self, values: dict[str, float]) -> None:
        """Append a line to the log."""
        seconds = self.seconds + time.monotonic() - self._began
        line = {
            "step": self.step,
            "seconds": round(seconds, 1),
            **{k: round(v, 5) for k, v in values.items()},
        }
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Write `state.pt` atomically."""
        state = {
            "step": self.step,
            "seconds": self.seconds + time.monotonic() - self._began,
            "generator": self.generator.get_state(),
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
        }
        with atomic_write(self.folder / "state.pt") as path:
            torch.save(state, path)

    def _restore(self, path: Path) -> None:
        try:
            state = torch.load(path, weights_only=True)
        except (OSError, RuntimeError, EOFError) as error:
            raise CheckpointError(
                f"{path} cannot be resumed from: {str(error).splitlines()[0]}"
            ) from None
        self.step, self.seconds = state["step"], state["seconds"]
        self.generator.set_state(state["generator"])
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])


def use_threads(config: RunConfig) -> None:
    """Set the number of CPU threads of this process."""
    torch.set_num_threads(min(config.threads, os.cpu_count() or 1))
