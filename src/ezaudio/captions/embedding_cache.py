"""Vectors kept on disk by what they were made of: the sound's bytes or the sentence, and the
model's hash. A machine has one file, which its processes share.
"""

from __future__ import annotations

import hashlib
import socket
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ezaudio.errors import OutputError

Vectors = npt.NDArray[np.float32]

_CACHE_KIB = 16_384
_WAIT_S = 60.0
_MOST_VARIABLES = 500


class EmbeddingCache:
    """A cache of unit vectors, in half precision.

    Args:
        folder: where this machine's file lies; None keeps nothing.
        model: hash of the weights.

    Raises:
        OutputError: the file cannot be opened.
    """

    def __init__(self, folder: Path | None, model: str) -> None:
        self._model = model
        self.hits = self.misses = 0
        name = f"vectors-{socket.gethostname()}.sqlite"
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            path = ":memory:" if folder is None else str(folder / name)
            self._base = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS vector (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"cannot open the cache in {folder}: {error}") from None
        self._kept = folder is not None

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def key(self, content: bytes) -> bytes:
        """Name what a vector is made of."""
        return hashlib.sha256(self._model.encode() + b"\0" + content).digest()

    def known(self, keys: Sequence[bytes]) -> set[bytes]:
        """Tell which vectors are there."""
        return set(self._read(keys))

    def vectors(self, keys: Sequence[bytes], make: Callable[[list[int]], Vectors]) -> Vectors:
        """Give vectors; those that are not there yet are made, all at once.

        Args:
            keys: of `key`.
            make: gets the indices that are missing, gives (len, J).

        Returns:
            (N, J); (0, 0) without keys.
        """
        stored = self._read(keys)
        first = {key: index for index, key in reversed(list(enumerate(keys))) if key not in stored}
        missing = sorted(first.values())
        self.hits += len(keys) - len(missing)
        self.misses += len(missing)
        if missing:
            new = make(missing).astype(np.float16)
            rows = {keys[index]: row.tobytes() for index, row in zip(missing, new, strict=True)}
            if self._kept:
                self._base.execute("BEGIN")
                self._base.executemany("INSERT OR IGNORE INTO vector VALUES (?, ?)", rows.items())
                self._base.execute("COMMIT")
            stored |= rows
        return np.stack(
            [np.frombuffer(stored[key], np.float16).astype(np.float32) for key in keys]
            or [np.zeros(0, np.float32)]
        )[: len(keys)]

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        stored: dict[bytes, bytes] = {}
        for begin in range(0, len(keys), _MOST_VARIABLES):
            batch = keys[begin : begin + _MOST_VARIABLES]
            placeholders = ",".join("?" * len(batch))
            query = f"SELECT key, value FROM vector WHERE key IN ({placeholders})"
            stored.update(self._base.execute(query, batch))
        return stored
