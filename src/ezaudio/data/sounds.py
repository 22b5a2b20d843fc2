"""Recordings by the paths of a manifest: files of a folder, or members of its tars."""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections import OrderedDict
from pathlib import Path, PurePosixPath
from threading import Lock

from ezaudio.audio import read_audio
from ezaudio.errors import AudioFileError
from ezaudio.types import Clip

_MOST_TARS = 8


def decode(content: bytes, name: str, sample_rate: int | None = None) -> Clip:
    """Read a sound file that is in memory.

    Args:
        content: Its bytes.
        name: What it is called in messages; its ending is that of the format.
        sample_rate: Resample to this rate in Hz; None keeps the file's own.

    Raises:
        AudioFileError: It cannot be read.
    """
    descriptor, path = tempfile.mkstemp(suffix=PurePosixPath(name).suffix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        return read_audio(path, sample_rate)
    except AudioFileError as error:
        raise AudioFileError(str(error).replace(path, name)) from None
    except OSError as error:
        raise AudioFileError(f"{name}: no room to read it ({error.strerror})") from None
    finally:
        os.unlink(path)


class SoundFiles:
    """Reads the recordings of a manifest; may be shared by threads.

    Args:
        root: What their paths are relative to. `x.tar/000.flac` is a member of `x.tar`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._members: OrderedDict[Path, dict[str, tuple[int, int]]] = OrderedDict()
        self._lock = Lock()

    def exists(self, file: str) -> bool:
        """Whether there is something to read."""
        tar, inside = self._taken_apart(file)
        if tar is None:
            return (self.root / file).is_file()
        return tar.is_file() and inside in self._index(tar)

    def read(self, file: str, sample_rate: int | None = None) -> Clip:
        """Read a recording as mono.

        Raises:
            AudioFileError: It is missing, damaged or empty.
        """
        tar, inside = self._taken_apart(file)
        if tar is None:
            return read_audio(self.root / file, sample_rate)
        if inside not in (members := self._index(tar)):
            raise AudioFileError(f"{file}: no such member")
        offset, size = members[inside]
        try:
            with tar.open("rb") as archive:
                archive.seek(offset)
                content = archive.read(size)
        except OSError as error:
            raise AudioFileError(f"{file}: cannot be read ({error.strerror})") from None
        return decode(content, file, sample_rate)

    def _taken_apart(self, file: str) -> tuple[Path | None, str]:
        parts = PurePosixPath(file).parts
        for i, part in enumerate(parts[:-1]):
            path = self.root.joinpath(*parts[: i + 1])
            if part.endswith(".tar") and not path.is_dir():
                return path, "/".join(parts[i + 1 :])
        return None, ""

    def _index(self, tar: Path) -> dict[str, tuple[int, int]]:
        """Place and size of every member of a tar; empty where it cannot be read."""
        with self._lock:
            if tar not in self._members:
                while len(self._members) >= _MOST_TARS:
                    self._members.popitem(last=False)
                self._members[tar] = _places(tar)
            self._members.move_to_end(tar)
            return self._members[tar]


def _places(tar: Path) -> dict[str, tuple[int, int]]:
    try:
        with tarfile.open(tar) as archive:
            return {
                member.name.removeprefix("./"): (member.offset_data, member.size)
                for member in archive
                if member.isfile()
            }
    except (OSError, tarfile.TarError):
        return {}
