"""Every answer that was paid for, on disk, so that no request is made twice.

Journals are taken in here when their chunk is done, and at the start of a run those that a killed
run left. A request that was sent, and of which nothing else is known, is *in doubt*: it may have
been paid.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ezaudio.captions.journal import Noted, read_journal
from ezaudio.captions.writer import Answer, Attempt
from ezaudio.errors import OutputError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answer
    (key TEXT PRIMARY KEY, text TEXT, model TEXT, created REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS failed
    (key TEXT, attempt INTEGER, reason TEXT, detail TEXT, PRIMARY KEY (key, attempt)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sent
    (key TEXT, attempt INTEGER, at REAL, cost REAL, PRIMARY KEY (key, attempt, at)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS open (key TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_MOST_VARIABLES = 500
_CACHE_KIB = 8192


@dataclass(frozen=True, slots=True)
class Spent:
    """What a caption set has taken so far.

    Attributes:
        requests: sent, the failed ones too.
        cost: in the currency of the prices.
        in_doubt: sent, and nothing heard since.
    """

    requests: int
    cost: float
    in_doubt: int


class Answers:
    """The store of a caption set.

    Args:
        path: an SQLite file, made when it is not there.

    Raises:
        OutputError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            self._base.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"cannot open {path}: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def take(self, journal: Path, *, wait_s: float = 0.0) -> None:
        """Take a journal in, then remove it; doing it twice changes nothing.

        Args:
            journal: the file.
            wait_s: how long to wait for its writer, which may outlive a killed run.
        """
        if not journal.exists():
            return
        self._note(read_journal(journal, wait_s=wait_s))
        self._base.commit()
        journal.unlink(missing_ok=True)

    def known(self, keys: Sequence[str]) -> dict[str, Answer]:
        """Give what is there already: answers, and failed tries of requests that have none yet."""
        found: dict[str, Answer] = {}
        for begin in range(0, len(keys), _MOST_VARIABLES):
            some = keys[begin : begin + _MOST_VARIABLES]
            marks = ",".join("?" * len(some))
            failures: dict[str, list[Attempt]] = {}
            query = f"SELECT * FROM failed WHERE key IN ({marks}) ORDER BY key, attempt"
            for key, number, reason, detail in self._base.execute(query, some):
                failures.setdefault(key, []).append(Attempt(reason, detail, number))
            found |= {key: Answer(None, tuple(v), finished=False) for key, v in failures.items()}
            query = f"SELECT * FROM answer WHERE key IN ({marks})"
            for key, text, model, created in self._base.execute(query, some):
                tries = tuple(failures.get(key, ()))
                found[key] = Answer(text, tries, model=model, created=created)
        return found

    def spent(self) -> Spent:
        """Count requests and cost."""
        row = self._base.execute("SELECT COUNT(*), COALESCE(SUM(cost), 0) FROM sent").fetchone()
        doubt = self._base.execute("SELECT COUNT(*) FROM open").fetchone()[0]
        return Spent(int(row[0]), float(row[1]), int(doubt))

    def sent_at(self) -> list[float]:
        """When each request was sent, in seconds since 1970, in that order."""
        return [at for (at,) in self._base.execute("SELECT at FROM sent ORDER BY at")]

    def forget_failures(self) -> int:
        """Drop answers that are no captions, so that their clips are asked for again."""
        self._run("DELETE FROM failed WHERE key IN (SELECT key FROM answer WHERE text IS NULL)")
        done = self._base.execute("DELETE FROM answer WHERE text IS NULL")
        self._base.commit()
        return done.rowcount

    def _note(self, noted: Iterable[Noted]) -> None:
        for line in noted:
            values, key = line.values, line.key
            attempt = values.get("attempt", 0)
            if line.event == "sent":
                self._run(
                    "INSERT OR IGNORE INTO sent VALUES (?, ?, ?, 0)", key, attempt, values["at"]
                )
                self._run("INSERT OR IGNORE INTO open VALUES (?)", key)
                continue
            self._run("DELETE FROM open WHERE key = ?", key)
            if "cost" in values:
                query = "UPDATE sent SET cost = ? WHERE key = ? AND attempt = ?"
                self._run(query, values["cost"], key, attempt)
            if line.event == "failed":
                row = (key, attempt, values.get("reason", ""), values.get("detail", ""))
                self._run("INSERT OR REPLACE INTO failed VALUES (?, ?, ?, ?)", *row)
            elif line.event == "answered":
                row = (key, values.get("text"), values.get("model", ""), values["at"])
                self._run("INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?)", *row)

    def _run(self, query: str, *values: object) -> None:
        self._base.execute(query, values)
