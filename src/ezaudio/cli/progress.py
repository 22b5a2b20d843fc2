"""Progress on stderr, results on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ezaudio.pipelines.progress import Callback, Progress

STOPPED_BY = 128
"""What is added to the number of the signal that stopped a run, as shells do, for its exit code."""


@contextmanager
def progress_bar(title: str, *, quiet: bool) -> Iterator[Callback | None]:
    """Give a callback that moves a bar on stderr; None when nothing is to be shown."""
    if quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Bar(*columns, console=console, redirect_stdout=False, transient=True) as bar:
        task = bar.add_task(title, total=None)

        def callback(progress: Progress) -> None:
            bar.update(task, completed=progress.step, total=progress.total)

        yield callback


class Results:
    """Prints the paths of results on stdout.

    On a terminal they wait until the bar is gone; a program that reads them gets each at once.
    """

    def __init__(self) -> None:
        self._waiting: list[Path] = []
        self._wait = sys.stdout.isatty()

    def add(self, path: Path) -> None:
        """Take note of a file that was written."""
        if self._wait:
            self._waiting.append(path)
        else:
            print(path, flush=True)

    def show(self) -> None:
        """Print what waits."""
        for path in self._waiting:
            print(path)
        self._waiting.clear()


def note(message: str, *, quiet: bool = False) -> None:
    """Say something on stderr."""
    if not quiet:
        print(message, file=sys.stderr)
