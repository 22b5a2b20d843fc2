"""What an executor needs to know about a job: how its worker is opened. Tasks and results are
values that can be sent to another machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar

Task_ = TypeVar("Task_", contravariant=True)
Result_ = TypeVar("Result_", covariant=True)
Task = TypeVar("Task")
Result = TypeVar("Result")


class Worker(Protocol[Task_, Result_]):
    """Does one task after another; holds models and connections."""

    def __call__(self, task: Task_) -> Result_:
        """Do one task."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


class WorkerFactory(Protocol[Task_, Result_]):
    """Opens workers. A job is a value: it is sent to where the worker is to be."""

    def open(self) -> Worker[Task_, Result_]:
        """Make a worker."""
        ...


class Executor(Protocol):
    """Runs a job's workers.

    Attributes:
        ahead: True when tasks are taken long before their turn, so that what one of them may spend
            has to be known in advance.
    """

    @property
    def ahead(self) -> bool:
        """See the class."""
        ...

    def run(self, job: WorkerFactory[Any, Result], tasks: Iterable[Any]) -> Iterator[Result]:
        """Do all tasks; results come in any order."""
        ...
