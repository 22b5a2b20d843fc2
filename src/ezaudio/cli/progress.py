"""Progress on stderr, results on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress as Bars
    from rich.progress import Task
    from rich.text import Text

    from ezaudio.pipelines.progress import Callback, Progress
    from ezaudio.pipelines.results import Sound

STOPPED_BY = 128
"""What is added to the number of the signal that stopped a run, as shells do, for its exit code."""

_BAR_WIDTH = 16
_TITLE_WIDTH = 24
_TIME_WIDTH = 7
SEPARATOR = " · "


def progress_bars(*, facts: bool = False, transient: bool = True, **settings: Any) -> Bars:
    """Bars on stderr whose lines fit the terminal, also one of 80 columns.

    Args:
        facts: whether tasks have a field `facts`, parts with " · " between; those that do not fit
            at the end are left out.
        transient: whether they are wiped away at the end.
        **settings: of rich's `Progress`.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars
    from rich.table import Column
    from rich.text import Text

    console = Console(stderr=True)

    class Facts(ProgressColumn):
        """As many parts as there is room for."""

        max_refresh = None

        def render(self, task: Task) -> Text:
            return Text(fitting(str(task.fields.get("facts", "")), room(task)), no_wrap=True)

    def room(task: Task) -> int:
        counts = 2 * len(str(int(task.total or task.completed))) + 1
        used = min(len(task.description), _TITLE_WIDTH) + _BAR_WIDTH + counts + _TIME_WIDTH
        return console.width - used - 4  # a space between the columns

    title = Column(no_wrap=True, overflow="ellipsis", max_width=_TITLE_WIDTH)
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", table_column=title),
        BarColumn(bar_width=_BAR_WIDTH),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
    ]
    columns += [Facts()] if facts else []
    return Bars(*columns, console=console, redirect_stdout=False, transient=transient, **settings)


def fitting(facts: str, width: int) -> str:
    """Leave out parts at the end until the line is at most so wide."""
    parts = facts.split(SEPARATOR)
    while parts and len(SEPARATOR.join(parts)) > width:
        parts.pop()
    return SEPARATOR.join(parts)


@contextmanager
def progress_bar(title: str, *, quiet: bool) -> Iterator[Callback | None]:
    """Give a callback that moves a bar of steps on stderr; None when nothing is to be shown."""
    with counting_bar(title, quiet=quiet) as move:
        if move is None:
            yield None
            return

        def callback(progress: Progress) -> None:
            move(title, progress.step, progress.total)

        yield callback


@contextmanager
def counting_bar(
    title: str, *, quiet: bool, total: int | None = None
) -> Iterator[Callable[[str, int, int], None] | None]:
    """Give `(title, done, total)`, which moves a bar on stderr; None when it is to be quiet."""
    if quiet:
        yield None
        return
    with progress_bars() as bars:
        task = bars.add_task(title, total=total)

        def move(title: str, done: int, total: int) -> None:
            bars.update(task, description=title, completed=done, total=total)

        yield move


class Results:
    """Prints results on stdout, in the order of the list whatever is ready first.

    On a terminal they wait until the bar is gone; a program that reads them gets each as soon as
    all before it are there. What is finished when the work ends early is printed too.

    Args:
        as_json: print an object a line, with all that is known of a sound.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._waiting: dict[int, str] = {}
        self._next = 0
        self._at_once = not sys.stdout.isatty()

    def add(self, index: int, path: Path, sound: Sound) -> None:
        """Take note of a file that was written, and of its place in the list."""
        line = str(path)
        if self._as_json:
            line = json.dumps({"file": str(path), **sound.metadata}, ensure_ascii=False)
        self._waiting[index] = line
        while self._at_once and self._next in self._waiting:
            print(self._waiting.pop(self._next), flush=True)
            self._next += 1

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for index in sorted(self._waiting):
            print(self._waiting.pop(index))


def note(message: str, *, quiet: bool = False) -> None:
    """Say something on stderr."""
    if not quiet:
        print(message, file=sys.stderr)
