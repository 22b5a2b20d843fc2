"""In this process: one worker, one task after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from ezaudio.captions.executors.job import Result, WorkerFactory
from ezaudio.config import Config


class LocalExecutor(Config):
    """The default. The worker is opened when the first task comes."""

    kind: Literal["local"] = "local"

    @property
    def ahead(self) -> bool:
        """A task is taken when the one before it is done."""
        return False

    def run(self, job: WorkerFactory[Any, Result], tasks: Iterable[Any]) -> Iterator[Result]:
        """Do all tasks in order."""
        worker = None
        try:
            for task in tasks:
                if worker is None:
                    worker = job.open()
                yield worker(task)
        finally:
            if worker is not None:
                worker.close()
