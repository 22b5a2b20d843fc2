"""Shards: WebDataset tars that can also be read anywhere, through a parquet index.

A shard is a plain tar in which `000000042.flac` and `000000042.json` belong together, so whatever
reads WebDataset reads it. Beside it lies a table with the place of every member, so a clip can be
read without the ones before it. Tars and tables get their names when they are complete; the folder
is complete when it has its `index.json`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from ezaudio.data.tables import read_facts
from ezaudio.errors import AudioFileError, CheckpointError, InputError
from ezaudio.files import atomic_write, write_bytes

FORMAT = 2
INDEX, TABLE, QUARANTINE = "index.json", "index.parquet", "quarantine.csv"
_BLOCK_BYTES = 512
_MOST_OPEN_FILES = 64


@dataclass(frozen=True)
class Part:
    """Which shards are made here: those whose number leaves `number` when divided by `of`."""

    number: int = 0
    of: int = 1

    def __post_init__(self) -> None:
        """Raise InputError when there is no such part."""
        if not 0 <= self.number < self.of:
            raise InputError("shard", f"{self.number}/{self.of}", "0/N to N-1/N")

    def has(self, shard: int) -> bool:
        """Whether a shard is made here."""
        return shard % self.of == self.number


class TarShard:
    """A tar that is being written.

    Args:
        path: Where its bytes go.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)

    def add(self, name: str, content: bytes) -> int:
        """Append a member; gives the place of its first byte in the tar."""
        member = tarfile.TarInfo(name)
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))
        return self._tar.offset - -(-len(content) // _BLOCK_BYTES) * _BLOCK_BYTES

    def close(self) -> None:
        """Write the end."""
        self._tar.close()
        self._file.close()


@contextmanager
def new_shard(path: Path) -> Iterator[TarShard]:
    """Give a tar that takes the name `path` when the block ends well, and vanishes otherwise.

    Raises:
        OutputError: It cannot be written.
    """
    with atomic_write(path) as temporary:
        shard = TarShard(temporary)
        try:
            yield shard
        finally:
            shard.close()


def _read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Read at a place of a file; the caller sees to it that one thread at a time does."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)  # Windows has no pread
    return os.read(descriptor, size)


class TarFiles:
    """Reads pieces of the tars of a folder; may be shared by threads and survives a fork.

    Args:
        folder: Where the tars are.
        names: File names by shard number.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = folder, list(names)
        self._open: OrderedDict[int, int] = OrderedDict()
        self._lock = Lock()

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """Read `size` bytes.

        Raises:
            AudioFileError: The shard is missing or truncated.
        """
        path = self.folder / self.names[shard]
        try:
            with self._lock:
                content = _read_at(self._descriptor(shard, path), size, offset)
        except OSError as error:
            raise AudioFileError(f"{path}: cannot be read ({error.strerror})") from None
        if len(content) < size:
            raise AudioFileError(f"{path}: truncated, {len(content)} of {size} bytes at {offset}")
        return content

    def _descriptor(self, shard: int, path: Path) -> int:
        if shard not in self._open:
            while len(self._open) >= _MOST_OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
            # Windows reads files as text unless told otherwise.
            self._open[shard] = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._open.move_to_end(shard)
        return self._open[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "names": self.names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"], state["names"])  # type: ignore[misc]

    def __del__(self) -> None:
        for descriptor in getattr(self, "_open", {}).values():
            os.close(descriptor)


def fingerprint(*values: object) -> str:
    """Hash JSON values: whether a shard was made from the same."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def tar_path(folder: Path, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"shard-{number:06d}.tar"


def table_path(folder: Path, number: int) -> Path:
    """Where the table of a shard lies."""
    return folder / f"shard-{number:06d}.parquet"


def finished(folder: Path, number: int, mark: str) -> bool:
    """Whether a shard is complete and was made from what `mark` stands for."""
    if not tar_path(folder, number).exists():
        return False
    try:
        return read_facts(table_path(folder, number)).get("mark") == mark
    except CheckpointError:
        return False


def remove_shards_from(folder: Path, number: int) -> None:
    """Remove what is left of an earlier run that had more shards."""
    while tar_path(folder, number).exists() or table_path(folder, number).exists():
        tar_path(folder, number).unlink(missing_ok=True)
        table_path(folder, number).unlink(missing_ok=True)
        number += 1


def refuse_other(folder: Path, kind: str, marks: Sequence[str]) -> None:
    """Refuse a folder that holds a complete store of something else.

    Raises:
        InputError: It does.
    """
    if (folder / INDEX).exists() and read_head(folder, kind)["marks"] != list(marks):
        raise InputError("output", str(folder), "a new folder: this holds other clips or settings")


def write_head(folder: Path, kind: str, values: Mapping[str, Any]) -> None:
    """Write `index.json`, which makes a folder complete."""
    head = {"format": FORMAT, "kind": kind, **values}
    write_bytes(folder / INDEX, (json.dumps(head, indent=1) + "\n").encode())


def read_head(folder: Path, kind: str) -> dict[str, Any]:
    """Read `index.json`.

    Raises:
        InputError: The folder is no complete store of this kind.
        CheckpointError: Its `index.json` is damaged.
    """
    path = folder / INDEX
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        allowed = f"a folder of {kind} with its {INDEX} (made by `ezaudio data`, to the end)"
        raise InputError(kind, str(folder), allowed) from None
    except ValueError:
        raise CheckpointError(f"{path}: damaged") from None
    if not isinstance(head, dict) or head.get("kind") != kind or head.get("format") != FORMAT:
        raise InputError(kind, str(folder), f"a folder of {kind} in format {FORMAT}")
    return head
