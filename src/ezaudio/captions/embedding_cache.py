"""Vectors kept on disk by what they were made of: the sound's bytes or the sentence, and the
model's hash. A machine has one file, which its processes share.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ezaudio.files import BlobStore

Vectors = npt.NDArray[np.float32]


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
        self._store = BlobStore(None if folder is None else folder / name)
        self._kept = folder is not None

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def key(self, content: bytes) -> bytes:
        """Name what a vector is made of."""
        return hashlib.sha256(self._model.encode() + b"\0" + content).digest()

    def known(self, keys: Sequence[bytes]) -> set[bytes]:
        """Tell which vectors are there."""
        return {key for key in self._store.get(keys) if isinstance(key, bytes)}

    def vectors(self, keys: Sequence[bytes], make: Callable[[list[int]], Vectors]) -> Vectors:
        """Give vectors; those that are not there yet are made, all at once.

        Args:
            keys: of `key`.
            make: gets the indices that are missing, gives (len, J).

        Returns:
            (N, J); (0, 0) without keys.
        """
        found = self._store.get(keys)
        first = {key: index for index, key in reversed(list(enumerate(keys))) if key not in found}
        missing = sorted(first.values())
        self.hits += len(keys) - len(missing)
        self.misses += len(missing)
        if missing:
            made = make(missing).astype(np.float16)
            rows: dict[str | bytes, bytes] = {
                keys[index]: row.tobytes() for index, row in zip(missing, made, strict=True)
            }
            if self._kept:
                self._store.put(rows)
            found |= rows
        return np.stack(
            [np.frombuffer(found[key], np.float16).astype(np.float32) for key in keys]
            or [np.zeros(0, np.float32)]
        )[: len(keys)]
