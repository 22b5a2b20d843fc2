"""Rows that belong together but do not lie together, brought together on disk."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_CACHE_KIB = 16_384


class Grouped:
    """Rows of one key brought together on disk, however far apart they came.

    Groups come in the order of their first row, and the rows of a group as they came. Use it as a
    context; the memory it takes does not grow with the rows.

    Args:
        folder: of the temporary file; None takes the system's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.NamedTemporaryFile(suffix=".sqlite", dir=folder)  # noqa: SIM115
        self._base = sqlite3.connect(self._file.name, isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
            self._base.execute(f"PRAGMA {pragma}")
        self._base.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, key TEXT, value TEXT)")
        self._base.execute("BEGIN")

    def __enter__(self) -> Grouped:
        return self

    def __exit__(self, *error: object) -> None:
        self._base.close()
        self._file.close()

    def add(self, key: str, value: object) -> None:
        """Keep one row: any JSON value."""
        text = json.dumps(value, ensure_ascii=False)
        self._base.execute("INSERT INTO row (key, value) VALUES (?, ?)", (key, text))

    def groups(self) -> Iterator[tuple[str, list[Any]]]:
        """Give each key with its rows."""
        self._base.execute("CREATE INDEX by_key ON row (key, id)")
        self._base.execute(
            "CREATE TEMP TABLE first AS SELECT key, MIN(id) AS id FROM row GROUP BY key"
        )
        keys = self._base.execute("SELECT key FROM first ORDER BY id")
        while some := keys.fetchmany(1000):
            for (key,) in some:
                found = self._base.execute(
                    "SELECT value FROM row WHERE key = ? ORDER BY id", (key,)
                )
                yield key, [json.loads(value) for (value,) in found]
