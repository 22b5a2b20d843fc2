"""Answers as they come: a line for each event of a request, appended before anybody hears of it.

A line is written with one call, so that a killed process leaves at most one torn line at the end,
which is passed over. The file is locked as long as somebody writes it: who reads it waits until
the last request that was under way is noted.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ezaudio.errors import OutputError

_SYNC_EVERY_S = 1.0
_LOOK_AGAIN_S = 0.05
_FOR_ANOTHER_S = 10.0


class Journal:
    """Appends to one journal file; a lock keeps others out until `close`.

    Args:
        path: it is made when it is not there.

    Raises:
        OutputError: it cannot be written, or another process writes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            _wait(self._file, path, _FOR_ANOTHER_S, fcntl.LOCK_EX)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from None
        _end_line(self._file)
        self._synced = time.monotonic()

    def note(self, **event: Any) -> None:
        """Append one line; it reaches the disk within a second of the next one, or at `close`.

        Raises:
            OutputError: the disk is full.
        """
        line = json.dumps({"at": round(time.time(), 3), **event}, ensure_ascii=True) + "\n"
        try:
            os.write(self._file, line.encode())
            if time.monotonic() - self._synced > _SYNC_EVERY_S:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from None

    def close(self) -> None:
        """Bring everything to the disk and let others read."""
        os.fsync(self._file)
        os.close(self._file)


def _end_line(file: int) -> None:
    """Close a line that a killed process left torn, so that the next one begins anew."""
    size = os.lseek(file, 0, os.SEEK_END)
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")


@dataclass(frozen=True, slots=True)
class Noted:
    """One line of a journal.

    Attributes:
        key: of the request.
        event: `sent`, `failed`, or `answered`.
        values: the rest.
    """

    key: str
    event: str
    values: dict[str, Any]


def read_journal(path: Path, *, wait_s: float = 0.0) -> Iterator[Noted]:
    """Read a journal once nobody writes to it any more; torn lines are passed over.

    Args:
        path: the file.
        wait_s: how long to wait for its writer.

    Raises:
        OutputError: it is still being written after that time.
    """
    with path.open("rb") as file:
        _wait(file.fileno(), path, wait_s, fcntl.LOCK_SH)
        for line in file:
            try:
                row = json.loads(line)
                noted = Noted(str(row.pop("key")), str(row.pop("event")), row)
            except (ValueError, KeyError, AttributeError):
                continue
            yield noted


def _wait(file: int, path: Path, wait_s: float, lock: int) -> None:
    end = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(file, lock | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                raise OutputError(f"{path}: another run writes to this caption set") from None
            time.sleep(_LOOK_AGAIN_S)
