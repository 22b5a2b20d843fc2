"""On a cluster, or on several processes of this machine: Ray Data with one actor for each worker.

Tasks wait on disk, in a folder that all machines see; Ray Data streams their names through a pool
of actors, each of which opens the job's worker once. Actors ask for less than one CPU each: a pool
that holds every CPU leaves none for reading, and hangs.
"""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ezaudio.captions.executors.job import Job, Result
from ezaudio.config import Config
from ezaudio.errors import EzAudioError


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

    def run(self, job: Job[Any, Result], tasks: Iterable[Any]) -> Iterator[Result]:
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

    def _stream(self, job: Job[Any, Result], names: list[str]) -> Iterator[Result]:
        ray = _ray()
        began = not ray.is_initialized()
        if began:
            ray.init(
                address=self.address,
                num_cpus=self.local_cpus if self.address is None else None,
                include_dashboard=False if self.address is None else None,
                log_to_driver=False,
                logging_level="ERROR",
            )
        try:
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            rows = ray.data.from_items([{"task": name} for name in names], override_num_blocks=None)
            done = rows.repartition(min(len(names), 4 * self.workers)).map_batches(
                _Actor,
                fn_constructor_args=(pickle.dumps(job),),
                batch_size=1,
                num_cpus=self.cpus,
                num_gpus=self.gpus,
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
    """A worker behind Ray's interface; an error that a person can cause travels as a value."""

    def __init__(self, job: bytes) -> None:
        self._worker: Any = pickle.loads(job).open()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        results = []
        for name in batch["task"]:
            task = pickle.loads(Path(str(name)).read_bytes())
            try:
                result: object = self._worker(task)
            except EzAudioError as error:
                result = error
            results.append(pickle.dumps(result))
        return {"result": results}


def _lay(folder: Path, number: int, task: object) -> Path:
    path = folder / f"{number:08d}.task"
    path.write_bytes(pickle.dumps(task))
    return path


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError:
        raise EzAudioError(
            'this executor needs Ray: pip install "ezaudio[captions,ray]" brings it'
        ) from None
    return ray
