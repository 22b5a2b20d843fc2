"""Where the work is done. An executor runs one job's worker on many tasks and gives the results.

To add one: write one file with a settings class, and add a line to `EXECUTORS`.
"""

from __future__ import annotations

from ezaudio.captions.executors.job import Executor
from ezaudio.captions.executors.local import LocalExecutor
from ezaudio.captions.executors.ray import RayExecutor
from ezaudio.errors import InputError

EXECUTORS: dict[str, type[LocalExecutor] | type[RayExecutor]] = {
    "local": LocalExecutor,
    "ray": RayExecutor,
}
"""Every executor by name."""

__all__ = ["EXECUTORS", "Executor", "executor_from"]


def executor_from(kind: str, **settings: object) -> LocalExecutor | RayExecutor:
    """Make an executor; settings that are None keep their default.

    Raises:
        InputError: no such executor, or a setting that it does not have or allow.
    """
    from ezaudio.config import load_config

    if kind not in EXECUTORS:
        raise InputError("executor", kind, f"one of {', '.join(EXECUTORS)}")
    chosen = {name: value for name, value in settings.items() if value is not None}
    return load_config(EXECUTORS[kind], {"kind": kind, **chosen})
