"""What listeners said, in one SQLite file. An answer is on the disk before it is confirmed."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ezaudio.errors import OutputError

ANSWERS_FILE = "answers.sqlite"
_SCHEMA = """
create table if not exists listeners (
    token text primary key, code text unique not null, joined real not null, facts text not null);
create table if not exists answers (
    listener text not null references listeners, trial text not null,
    ovl integer not null check (ovl between 1 and 5),
    rel integer not null check (rel between 1 and 5),
    listened_s real not null, spent_s real not null, at real not null,
    primary key (listener, trial));
"""


@dataclass(frozen=True)
class Answer:
    """One rated sound.

    Attributes:
        listener: code of the listener.
        trial: id of the trial.
        ovl: overall quality, 1 to 5.
        rel: fit to the caption, 1 to 5.
        listened_s: seconds that were played.
        spent_s: seconds between the sound's first showing and the answer.
    """

    listener: str
    trial: str
    ovl: int
    rel: int
    listened_s: float
    spent_s: float


class Answers:
    """The answers of a study.

    Every call opens the file for itself, so that threads and processes may share it. A write is
    committed with a full synchronisation before the call returns.

    Args:
        path: the SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with closing(self._open()) as base, base:
                base.execute("pragma journal_mode = wal")
                base.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise OutputError(f"cannot open {path}: {error}") from None

    def join(self, code: str, facts: Mapping[str, Any]) -> str:
        """Give the token of a listener; a known code goes on as that listener."""
        with closing(self._open()) as base, base:
            base.execute(
                "insert or ignore into listeners values (?, ?, ?, ?)",
                (secrets.token_urlsafe(12), code, time.time(), json.dumps(dict(facts))),
            )
            row = base.execute("select token from listeners where code = ?", (code,)).fetchone()
        return str(row[0])

    def code_of(self, token: str) -> str | None:
        """The code of a listener; None for a token that was never given out."""
        with closing(self._open()) as base:
            row = base.execute("select code from listeners where token = ?", (token,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, token: str, answer: Answer) -> None:
        """Keep an answer; an earlier one to the same trial is replaced."""
        with closing(self._open()) as base, base:
            base.execute(
                "insert or replace into answers values (?, ?, ?, ?, ?, ?, ?)",
                (
                    token,
                    answer.trial,
                    answer.ovl,
                    answer.rel,
                    answer.listened_s,
                    answer.spent_s,
                    time.time(),
                ),
            )

    def answered(self, token: str) -> set[str]:
        """Ids of the trials that a listener has rated."""
        with closing(self._open()) as base:
            rows = base.execute("select trial from answers where listener = ?", (token,))
            return {str(row[0]) for row in rows}

    def all(self) -> list[Answer]:
        """Every answer, in the order in which they came."""
        with closing(self._open()) as base:
            rows = base.execute(
                "select code, trial, ovl, rel, listened_s, spent_s from answers "
                "join listeners on listener = token order by at"
            ).fetchall()
        return [Answer(*row) for row in rows]

    def _open(self) -> sqlite3.Connection:
        base = sqlite3.connect(self.path, timeout=30)
        base.execute("pragma synchronous = full")
        base.execute("pragma foreign_keys = on")
        return base
