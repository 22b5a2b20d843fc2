"""The one loop. It trains any task: steps, log, checkpoints, signals, and an end.

A run is bounded by steps and, if asked for, by hours; progress is the larger share of the two, and
the learning rate follows it. A run bounded by steps alone is a function of its recipe: killed at
any moment and resumed, it repeats the losses of a run that was never killed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import Field

from ezaudio.config import Config
from ezaudio.errors import InputError, OutputError
from ezaudio.training.loop.checkpointing import Checkpoints
from ezaudio.training.loop.distributed import Engine
from ezaudio.training.loop.divergence import DivergenceGuard, write_report
from ezaudio.training.loop.loggers import Loggers
from ezaudio.training.loop.optim import RateConfig
from ezaudio.training.loop.task import Audible, Plan, Task
from ezaudio.training.loop.throughput import Clock, Means, memory_bytes

CHECKPOINTS = "checkpoints"
BEST = "best"


class RunConfig(Config):
    """Bounds and rhythm of a run.

    Attributes:
        steps: Optimiser steps at most.
        hours: Wall time at most, summed over resumed parts.
        seed: Of weights, data order and noise.
        log_every: Steps between lines of the log.
        save_every: Steps between checkpoints; each is measured on the validation split.
        save_minutes: Save after that time, too.
        listen_every: Steps between sounds of fixed prompts, for tasks that make some.
        keep_last: Newest checkpoints that stay.
        keep_best: Best checkpoints that stay, by `best_by`.
        best_by: Measure of the validation; lower is better.
        explode: A loss that many times the highest of the last 100 stops the run.
        tensorboard: Log for TensorBoard, too.
    """

    steps: int = Field(ge=1)
    hours: float | None = Field(None, gt=0)
    seed: int = Field(0, ge=0)
    log_every: int = Field(50, ge=1)
    save_every: int = Field(1000, ge=1)
    save_minutes: float | None = Field(None, gt=0)
    listen_every: int | None = Field(None, ge=1)
    keep_last: int = Field(2, ge=1)
    keep_best: int = Field(1, ge=0)
    best_by: str = "valid_loss"
    explode: float | None = Field(10.0, gt=1)
    tensorboard: bool = True


@dataclass(frozen=True)
class Progress:
    """What a run tells after each step.

    Attributes:
        step, steps: Done, and of how many.
        progress: Share of the run that is done, in [0, 1].
        step_s: Seconds that a step took lately.
        memory_bytes: Most that this process (or its accelerator) held.
        values: What was measured in the step.
    """

    step: int
    steps: int
    progress: float
    step_s: float
    memory_bytes: int
    values: dict[str, float]


Callback: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        step: Steps done.
        stopped_by: The signal that stopped it; None when it is complete.
        exported: Files for inference.
        measured: The last validation.
    """

    step: int
    stopped_by: int | None = None
    exported: tuple[Path, ...] = ()
    measured: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One run of a recipe: a stage.

    Attributes:
        name: Of the stage.
        folder: Of its run.
        config: All that it depends on; a run is resumed with the same.
        run: Bounds and rhythm.
        schedule: Learning rate over the run.
        make: Builds the task.
        plan: Says what it takes, for a number of processes.
    """

    name: str
    folder: Path
    config: Config
    run: RunConfig
    schedule: RateConfig
    make: Callable[[Engine], Task]
    plan: Callable[[int], Plan]


def train(
    task: Task,
    run: RunConfig,
    engine: Engine,
    *,
    folder: Path,
    schedule: RateConfig | None = None,
    resume: bool = False,
    callback: Callback | None = None,
) -> Outcome:
    """Train a task until its run is over, or a signal stops it.

    SIGTERM and Ctrl-C save after the step that is being made; a second Ctrl-C leaves at once.

    Args:
        task: What is trained.
        run: Bounds and rhythm.
        engine: The processes.
        folder: Where log, checkpoints, samples and exported weights go.
        schedule: Learning rate over the run.
        resume: Go on from the newest whole checkpoint, or begin if there is none.
        callback: Told after each step.

    Raises:
        InputError: The folder has checkpoints and `resume` is not set; `best_by` is not measured.
        CheckpointError: No checkpoint is whole.
        DivergedError: The loss is not a number, or exploded.
        OutputError: The disk is full; the last checkpoint stays.
    """
    loop = _Loop(task, run, engine, folder=folder, schedule=schedule or RateConfig())
    loop.begin(resume=resume)
    try:
        with _signals() as caught:
            while not loop.over:
                loop.step(callback)
                stopped = int(engine.highest([float(caught.number)])[0])
                if stopped:
                    loop.save(measure=False)
                    return Outcome(loop.done, stopped_by=stopped, measured=loop.measured)
            loop.save()
            exported = loop.export(folder)
            return Outcome(loop.done, exported=exported, measured=loop.measured)
    finally:
        loop.loggers.close()


class _Loop:
    """The state of a run between two steps."""

    def __init__(
        self, task: Task, run: RunConfig, engine: Engine, *, folder: Path, schedule: RateConfig
    ) -> None:
        self.task, self.run, self.engine, self.folder = task, run, engine, folder
        self.schedule, self.guard = schedule, DivergenceGuard(run.explode)
        self.done, self.saved, self.progress = 0, 0, 0.0
        self.measured: dict[str, float] = {}
        self.best = float("inf")
        self.clock, self.means = Clock(engine), Means()
        self.checkpoints = Checkpoints(
            folder / CHECKPOINTS,
            engine,
            keep_last=run.keep_last,
            keep_best=run.keep_best,
            measure=run.best_by,
        )

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        return self.progress >= 1.0

    def begin(self, *, resume: bool) -> None:
        """Start, or take up a checkpoint."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {self.folder}: {error.strerror}") from None
        if not resume and any((self.folder / CHECKPOINTS).glob("[0-9]*")):
            allowed = "a folder without checkpoints, or --resume to go on with the run there"
            raise InputError("output", str(self.folder), allowed)
        saved = self.checkpoints.restore(self.task.parts()) if resume else None
        if saved is not None:
            self.done = self.saved = saved.step
            self.measured, self.best = saved.facts["measured"], saved.facts["best"]
            self.guard.recent = saved.facts["recent"]
            self.means.restore(saved.facts["means"])
        self.loggers = Loggers(
            self.folder, step=self.done, main=self.engine.main, tensorboard=self.run.tensorboard
        )
        self.clock.start(0.0 if saved is None else saved.facts["seconds"])
        self._advance()

    def step(self, callback: Callback | None) -> None:
        """Make a step, and what is due after it."""
        rate = self.schedule.factor_at(self.progress, self.done)
        values = self.engine.mean(self.task.step(self.done, rate))
        fault = self.guard.fault(values)
        if fault is not None:
            batch = self.engine.gathered(self.task.describe(self.done))
            raise write_report(
                self.folder, index=self.done, fault=fault, values=values, batch=batch
            )
        self.means.add(values)
        self.done += 1
        self._advance()
        if callback is not None and self.engine.main:
            callback(self._told(values))
        if self.done % self.run.log_every == 0:
            self._log(rate)
        if self.run.listen_every and self.done % self.run.listen_every == 0:
            self._listen()
        late = self.clock.save_is_late(self.run.save_minutes)
        if self.done % self.run.save_every == 0 or late or self.over:
            self.save()

    def save(self, *, measure: bool = True) -> None:
        """Measure, log, keep a checkpoint, export; nothing if this step was saved already."""
        if self.saved == self.done:
            return
        with self.clock.paused():
            measured = self.task.validate() if measure else {}
            self.loggers.values(self.done, measured)
            found = measured.get(self.run.best_by, float("inf"))
            better, self.best = found < self.best, min(found, self.best)
            self.measured = measured or self.measured
            if better and self.run.keep_best:  # before the checkpoint, which says it was done
                self.export(self.folder / BEST)
            self.checkpoints.save(self.done, self.task.parts(), self._facts(measured))
            self.saved = self.done
            self.clock.saved()
        if measured and self.run.best_by not in measured:  # once saved: nothing is lost
            raise InputError("run.best_by", self.run.best_by, f"one of {', '.join(measured)}")

    def export(self, folder: Path) -> tuple[Path, ...]:
        """Write the weights that inference wants."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = tuple(self.task.export(folder, step=self.done))
        self.engine.barrier()
        return paths

    def _facts(self, measured: dict[str, float]) -> dict[str, Any]:
        return {
            "measured": measured,
            "seconds": self.clock.seconds,
            "means": self.means.facts(),
            "recent": self.guard.recent,
            "best": self.best,
        }

    def _advance(self) -> None:
        self.clock.advance()
        by_time = self.clock.seconds / 3600 / self.run.hours if self.run.hours else 0.0
        self.progress = min(1.0, max(self.done / self.run.steps, by_time))

    def _log(self, rate: float) -> None:
        step_s = self.clock.step_s(self.means.steps)
        values = self.means.take()
        values |= {"rate": rate, "step_s": step_s, "seconds": self.clock.seconds}
        if "sound_s" in values:
            values["sound_s_per_s"] = values["sound_s"] * self.engine.world / step_s
        values["memory_gib"] = memory_bytes(self.engine.device) / 2**30
        self.loggers.values(self.done, values)
        self.clock.logged()

    def _listen(self) -> None:
        if isinstance(self.task, Audible):
            with self.clock.paused():
                self.loggers.sounds(self.done, self.task.listen())

    def _told(self, values: dict[str, float]) -> Progress:
        step_s, memory = self.clock.step_s(self.means.steps), memory_bytes(self.engine.device)
        return Progress(self.done, self.run.steps, self.progress, step_s, memory, values)


class _Caught:
    """The signal that came, or 0."""

    number = 0

    def __call__(self, number: int, frame: object) -> None:
        if self.number == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.number = number


@contextmanager
def _signals() -> Iterator[_Caught]:
    """Note SIGTERM and SIGINT instead of dying from them; only a main thread may."""
    caught = _Caught()
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.signal(number, caught) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
