"""On a cluster, or on several processes of this machine: Ray Data with one actor for each worker.

Tasks wait on disk, in a folder that all machines see; Ray Data streams their names through a pool
of actors, each of which opens the job's worker once. Actors ask for less than one CPU each: a pool
that holds every CPU leaves none for reading, and hangs.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ezaudio.captions.executors.job import Result, WorkerFactory
from ezaudio.config import Config
from ezaudio.errors import EzAudioError

_LONGEST_START_S = 300
"""How long a busy machine may take to start Ray."""


class RayExecutor(Config):
    """Ray Data.

    Attributes:
        address: of a cluster that runs (`auto` finds the one of this machine); None starts one
            here.
        workers: actors.
        cpus: CPUs that each asks for; below 1 unless the cluster has CPUs to spare.
        gpus: GPUs, or parts of one, that each asks for.
        spool: folder for waiting tasks that every machine sees; None takes the system's.
        local_cpus: CPUs of a cluster that is started here; None counts them.
    """

    kind: Literal["ray"] = "ray"
    address: str | None = None
    workers: int = Field(2, ge=1)
    cpus: float = Field(0.5, gt=0)
    gpus: float = Field(0.0, ge=0)
    spool: str | None = None
    local_cpus: int | None = Field(None, ge=1)

    @property
    def ahead(self) -> bool:
        """All tasks are laid out before the first is done."""
        return True

    def run(self, job: WorkerFactory[Any, Result], tasks: Iterable[Any]) -> Iterator[Result]:
        """Do all tasks; results come as they are ready.

        Raises:
            EzAudioError: Ray is not installed, or a worker failed.
        """
        folder = Path(tempfile.mkdtemp(prefix="ezaudio-tasks-", dir=self.spool))
        try:
            names = [str(_lay(folder, number, task)) for number, task in enumerate(tasks)]
            if names:
                yield from self._stream(job, names)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _stream(self, job: WorkerFactory[Any, Result], names: list[str]) -> Iterator[Result]:
        ray = _ray()
        began = not ray.is_initialized()
        if began:
            here = self.address is None
            ray.init(
                address=self.address,
                num_cpus=self.local_cpus if here else None,
                include_dashboard=False if here else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        try:
            ray.data.DataContext.get_current().enable_progress_bars = False
            blocks = min(len(names), 4 * self.workers)
            rows = ray.data.from_items([{"task": n} for n in names], override_num_blocks=blocks)
            done = rows.map_batches(
                _Actor,
                fn_constructor_args=(ray.cloudpickle.dumps(job), str(Path.cwd())),
                batch_size=1,
                num_cpus=self.cpus,
                num_gpus=self.gpus or None,
                compute=ray.data.ActorPoolStrategy(size=self.workers),
            )
            for batch in done.iter_batches(batch_size=1, batch_format="numpy"):
                result = pickle.loads(bytes(batch["result"][0]))
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            if began:
                ray.shutdown()


class _Actor:
    """A worker behind Ray's interface; an error that a person can cause travels as a value.

    Args:
        job: pickled.
        folder: the run's working folder, which relative paths start from here too.
    """

    def __init__(self, job: bytes, folder: str) -> None:
        self._error: EzAudioError | None = None
        with suppress(OSError):  # a folder that this machine does not see
            os.chdir(folder)
        try:
            self._worker: Any = pickle.loads(job).open()
        except EzAudioError as error:
            self._error = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        return {"result": [pickle.dumps(self._done(str(name))) for name in batch["task"]]}

    def _done(self, name: str) -> object:
        if self._error is not None:
            return self._error
        try:
            return self._worker(pickle.loads(Path(name).read_bytes()))
        except EzAudioError as error:
            return error


def _lay(folder: Path, number: int, task: object) -> Path:
    path = folder / f"{number:08d}.task"
    path.write_bytes(pickle.dumps(task))
    return path


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", str(_LONGEST_START_S))
    try:
        import ray
        import ray.cloudpickle
        import ray.data
    except ImportError:
        raise EzAudioError(
            'this executor needs Ray: pip install "ezaudio[captions,ray]" brings it'
        ) from None
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return ray
