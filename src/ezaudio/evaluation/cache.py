"""What extractors heard, kept by content: audio bytes, extractor and loading make the key.

One SQLite file. Several processes may use it at once; what is written is whole or absent.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as unpack
from safetensors.numpy import save as pack

from ezaudio.errors import OutputError

Heard = Mapping[str, npt.NDArray[np.float32]]


def default_cache() -> Path:
    """Where features are kept when the user says nothing: `EZAUDIO_CACHE`, or the user's cache."""
    root = os.environ.get("EZAUDIO_CACHE") or os.environ.get("XDG_CACHE_HOME")
    folder = Path(root) if root else Path.home() / ".cache"
    return (folder if os.environ.get("EZAUDIO_CACHE") else folder / "ezaudio") / "features.sqlite"


def usable_default() -> Path | None:
    """The default cache where it can be written, else None: it only saves time."""
    try:
        path = default_cache()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            return path
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return None


class FeatureCache:
    """Named arrays by key.

    Args:
        path: the SQLite file; None keeps nothing beyond this process.
    """

    def __init__(self, path: Path | None) -> None:
        self.hits = 0
        self._lock = threading.Lock()
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(
                ":memory:" if path is None else path, timeout=60, check_same_thread=False
            )
            self._base.execute("pragma journal_mode = wal")
            self._base.execute("pragma synchronous = normal")
            self._base.execute(
                "create table if not exists heard (key text primary key, value blob)"
            )
            self._base.commit()
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"cannot open the cache of features {path} ({error}); "
                "--cache or EZAUDIO_CACHE names another place"
            ) from None

    @staticmethod
    def key(content: str, extractor: str, loading: str) -> str:
        """Join what a feature depends on."""
        parts = json.dumps([content, extractor, loading])
        return hashlib.sha256(parts.encode()).hexdigest()

    def get(self, key: str) -> Heard | None:
        """Arrays that were kept; None when there are none, or they are damaged."""
        with self._lock:
            row = self._base.execute("select value from heard where key = ?", (key,)).fetchone()
        if row is None:
            return None
        try:
            found: Heard = unpack(row[0])
        except SafetensorError:
            return None
        self.hits += 1
        return found

    def put(self, key: str, heard: Heard) -> None:
        """Keep arrays."""
        arrays = {name: np.ascontiguousarray(value) for name, value in heard.items()}
        try:
            with self._lock, self._base:
                self._base.execute(
                    "insert or replace into heard values (?, ?)", (key, pack(arrays))
                )
        except sqlite3.Error as error:
            raise OutputError(f"cannot write the cache of features: {error}") from None

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()
