"""What extractors heard, kept by content: audio bytes, extractor and loading make the key.

One SQLite file. Several processes may use it at once; what is written is whole or absent.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as unpack
from safetensors.numpy import save as pack

from ezaudio.errors import OutputError
from ezaudio.files import BlobStore

Extracted = Mapping[str, npt.NDArray[np.float32]]


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
        try:
            self._store = BlobStore(path)
        except OutputError as error:
            raise OutputError(f"{error}; --cache or EZAUDIO_CACHE names another place") from None

    @staticmethod
    def key(content: str, extractor: str, loading: str) -> str:
        """Join what a feature depends on."""
        parts = json.dumps([content, extractor, loading])
        return hashlib.sha256(parts.encode()).hexdigest()

    def get(self, key: str) -> Extracted | None:
        """Arrays that were kept; None when there are none, or they are damaged."""
        content = self._store.get([key]).get(key)
        if content is None:
            return None
        try:
            arrays: Extracted = unpack(content)
        except SafetensorError:
            return None
        self.hits += 1
        return arrays

    def put(self, key: str, heard: Extracted) -> None:
        """Keep arrays, where there is room: without them only time is lost."""
        arrays = {name: np.ascontiguousarray(value) for name, value in heard.items()}
        with suppress(OutputError):
            self._store.put({key: pack(arrays)})

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()
