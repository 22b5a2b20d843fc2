"""Recordings by the paths of a manifest: files of a folder, or members of its tars."""

from __future__ import annotations

import os
import tarfile
import tempfile
import unicodedata
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from threading import Lock

from ezaudio.audio import cut_off, duration_of, read_audio
from ezaudio.data.clips import ClipRow
from ezaudio.data.collections.folder import OTHER_ENDINGS, unread
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
        return _whole(Path(path), sample_rate)
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
            return self._path(file).is_file()
        return tar.is_file() and inside in self._index(tar)

    def fingerprint(self, file: str) -> tuple[int, int] | None:
        """Size and time of the file (or tar) that a recording is read from; None without one."""
        tar, _ = self._taken_apart(file)
        return file_fingerprint(self._path(file) if tar is None else tar)

    def duration(self, row: ClipRow) -> float:
        """Length of a clip in seconds, from the file's header; 0 where it cannot be read."""
        tar, _ = self._taken_apart(row.file)
        try:
            if tar is not None:
                length = self.read(row.file).duration_s
            else:
                length = duration_of(self._path(row.file))
        except AudioFileError:
            return 0.0
        return min(length, row.end - row.start) if row.end - row.start > 0 else length

    def read(self, file: str, sample_rate: int | None = None) -> Clip:
        """Read a recording as mono.

        Raises:
            AudioFileError: It is missing, damaged, cut off or empty, or has a format that cannot be
                read.
        """
        if PurePosixPath(file).suffix.lower() in OTHER_ENDINGS:
            line = unread(file)
            raise AudioFileError(f"{file}: {line.reason}; {line.text}")
        tar, inside = self._taken_apart(file)
        if tar is None:
            return _whole(self._path(file), sample_rate)
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

    def _path(self, file: str) -> Path:
        """Place of a file; Macs write letters and their accents apart, and lists do not."""
        path = self.root / file
        if file.isascii() or path.is_file():
            return path
        others = (self.root / unicodedata.normalize(form, file) for form in ("NFC", "NFD"))
        return next((other for other in others if other.is_file()), path)

    def _taken_apart(self, file: str) -> tuple[Path | None, str]:
        parts = PurePosixPath(file).parts
        for i, part in enumerate(parts[:-1]):
            path = self.root.joinpath(*parts[: i + 1])
            if part.lower().endswith(".tar") and not path.is_dir():
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


def file_fingerprint(path: Path) -> tuple[int, int] | None:
    """Size in bytes and time of the last change in ns of a file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def changed(before: Sequence[Sequence[int] | None], now: Sequence[Sequence[int] | None]) -> bool:
    """Whether files are others than they were; those that are gone are what they were.

    Args:
        before: Fingerprints of N files.
        now: The same, later.
    """
    if len(before) != len(now):
        return True
    return any(
        n is not None and (b is None or tuple(b) != tuple(n))
        for b, n in zip(before, now, strict=True)
    )


def _whole(path: Path, sample_rate: int | None) -> Clip:
    """Read a file that has to be whole."""
    clip = read_audio(path, sample_rate)
    if told := cut_off(path):
        raise AudioFileError(f"{path}: {told}")
    return clip


def _places(tar: Path) -> dict[str, tuple[int, int]]:
    """Place and size of the members of a tar; of a damaged one, those before the damage."""
    found: dict[str, tuple[int, int]] = {}
    with suppress(OSError, tarfile.TarError), tarfile.open(tar) as archive:
        for member in archive:
            if member.isfile():
                place = (member.offset_data, member.size)
                found[member.name.removeprefix("./")] = place
    return found
