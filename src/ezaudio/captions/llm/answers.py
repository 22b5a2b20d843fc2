"""Every answer that was paid for, on disk by the content of its question, so that it is not paid
for again.

Each machine writes a file of its own (SQLite cannot be shared over a network), and reads those of
all. A request is noted before it is sent: one of which nothing else is known, because the run was
killed, is *in doubt*, and may have been paid.
"""

from __future__ import annotations

import re
import socket
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ezaudio.captions.base import Attempt, StoredAnswer
from ezaudio.errors import OutputError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answer
    (key TEXT PRIMARY KEY, text TEXT, model TEXT, created REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused
    (key TEXT, attempt INTEGER, reason TEXT, detail TEXT, PRIMARY KEY (key, attempt)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS request
    (name TEXT PRIMARY KEY, sent INTEGER, cost REAL, settled INTEGER) WITHOUT ROWID;
"""
_MOST_VARIABLES = 500
_CACHE_KIB = 8192
_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What a caption set has taken so far.

    Attributes:
        requests: sent, the failed ones too.
        cost: in the currency of the prices; of requests in doubt, the most they may have cost.
        in_doubt: sent, and nothing heard since.
    """

    requests: int
    cost: float
    in_doubt: int


class AnswerStore:
    """The answers of a caption set.

    Args:
        folder: holds one SQLite file for each machine; made when it is not there.

    Raises:
        OutputError: a file cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        machine = re.sub(r"[^\w.-]", "_", socket.gethostname()) or "here"
        own = folder / f"{machine}.sqlite"
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            others = sorted(path for path in folder.glob("*.sqlite") if path != own)
            self._files = [_opened(path) for path in (own, *others)]
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"cannot open the answers in {folder}: {error}") from None
        self._own = self._files[0]

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def known(self, keys: Sequence[str]) -> dict[str, StoredAnswer]:
        """Give what is there already: answers, and refused ones of questions that have none yet."""
        refused: dict[str, dict[int, Attempt]] = {}
        answered: dict[str, tuple[str | None, str, float]] = {}
        for begin in range(0, len(keys), _MOST_VARIABLES):
            batch = keys[begin : begin + _MOST_VARIABLES]
            among = f"WHERE key IN ({','.join('?' * len(batch))})"
            for file in self._files:
                for key, number, reason, detail in file.execute(
                    f"SELECT * FROM refused {among}", batch
                ):
                    refused.setdefault(key, {})[number] = Attempt(reason, detail, number)
                for key, *answer in file.execute(f"SELECT * FROM answer {among}", batch):
                    if answered.get(key, (None,))[0] is None:
                        answered[key] = (answer[0], answer[1], answer[2])
        known: dict[str, StoredAnswer] = {}
        for key in refused | answered:
            failures = tuple(attempt for _, attempt in sorted(refused.get(key, {}).items()))
            text, model, created = answered.get(key, (None, "", 0.0))
            known[key] = StoredAnswer(text, failures, model, created, finished=key in answered)
        return known

    def spent(self) -> Spent:
        """Count requests and cost."""
        query = "SELECT TOTAL(sent), TOTAL(cost), TOTAL(settled = 0) FROM request"
        rows = [file.execute(query).fetchone() for file in self._files]
        sent, cost, in_doubt = (sum(column) for column in zip(*rows, strict=True))
        return Spent(int(sent), float(cost), int(in_doubt))

    def forget_failures(self) -> None:
        """Drop answers that are no captions, so that their clips are asked about again."""
        without = "(SELECT key FROM answer WHERE text IS NULL)"
        for file in self._files:
            self._write(f"DELETE FROM refused WHERE key IN {without}", file=file)
            self._write("DELETE FROM answer WHERE text IS NULL", file=file)

    def sent(self, name: str, cost: float) -> None:
        """Note that a request is sent now.

        Args:
            name: of the request; the same for one that is repeated because it failed on its way.
            cost: the most it may cost.
        """
        again = "ON CONFLICT (name) DO UPDATE SET sent = sent + 1, cost = ?, settled = 0"
        self._write(f"INSERT INTO request VALUES (?, 1, ?, 0) {again}", name, cost, cost)

    def settle(self, name: str, cost: float) -> None:
        """Note what a request really cost."""
        self._write("UPDATE request SET cost = ?, settled = 1 WHERE name = ?", cost, name)

    def keep(self, key: str, text: str | None, model: str = "") -> float:
        """Keep an answer, or that there will be none; give the time, in seconds since 1970."""
        created = round(time.time(), 3)
        self._write("INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?)", key, text, model, created)
        return created

    def refuse(self, key: str, attempt: Attempt) -> None:
        """Keep that an answer was refused."""
        row = (key, attempt.number, attempt.reason, attempt.detail)
        self._write("INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?)", *row)

    def _write(self, query: str, *values: object, file: sqlite3.Connection | None = None) -> None:
        try:
            with file or self._own as transaction:
                transaction.execute(query, values)
        except sqlite3.Error as error:
            raise OutputError(f"cannot write {self._folder}: {error}") from None


def _opened(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, timeout=_WAIT_S)
    # Commits survive a killed process also where they do not wait for the disk.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"cache_size=-{_CACHE_KIB}"):
        file.execute(f"PRAGMA {pragma}")
    file.executescript(_SCHEMA)
    return file
