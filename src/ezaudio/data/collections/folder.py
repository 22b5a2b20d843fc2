"""Recordings in folders: which files are sounds, and which of them belongs to an identifier."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ezaudio.data.clips import SPLITS, BadLine, ClipRow, split_of, words_of
from ezaudio.errors import InputError

if TYPE_CHECKING:
    from ezaudio.data.collections.options import ListOptions

SOUND_ENDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf",
                 ".w64")  # fmt: skip
"""What is read as a recording, in folders and in tars, in capitals or not."""

OTHER_ENDINGS = (".m4a", ".m4b", ".aac", ".mp4", ".m4v", ".mov", ".webm", ".weba", ".mkv", ".mka",
                 ".avi", ".wma", ".amr", ".3gp", ".ac3", ".ape", ".wv", ".tta", ".mpc",
                 ".dsf")  # fmt: skip
"""Recordings that cannot be read here; they are named, not passed over in silence."""

UNREAD = "a format that cannot be read"
_CONVERT = "convert it, such as with `ffmpeg -i {name} {stem}.flac`"


def is_hidden(path: str | PurePosixPath) -> bool:
    """Whether a path leads through a hidden file or folder, such as `._x.wav` of a Mac."""
    parts = PurePosixPath(path).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def sounds_below(folder: Path) -> tuple[list[str], list[BadLine]]:
    """Every recording below a folder, in order, by its path; and those that cannot be read.

    Hidden files are left out, and so is a recording in another format that lies beside one of its
    name that can be read.
    """
    readable: list[str] = []
    others: list[str] = []
    for inside in _files_below(folder):
        ending = os.path.splitext(inside)[1].lower()
        if ending in SOUND_ENDINGS:
            readable.append(inside)
        elif ending in OTHER_ENDINGS:
            others.append(inside)
    stems = {os.path.splitext(file)[0] for file in readable}
    left = [file for file in others if os.path.splitext(file)[0] not in stems]
    return sorted(readable), [unread(file) for file in sorted(left)]


def unread(file: str) -> BadLine:
    """Say that a recording has a format that cannot be read, and what to do."""
    path = PurePosixPath(file)
    return BadLine(file, UNREAD, _CONVERT.format(name=path.name, stem=path.stem))


def read_folder(path: Path, options: ListOptions) -> Iterator[ClipRow | BadLine]:
    """Every recording below a folder: its subfolder is the label, a `.txt` beside it the captions.

    A first subfolder named as a split (`train`, `val`, `validation`, `test`, ...) is the split.
    `dog_barking/1.wav` has the label "dog barking".
    """
    readable, others = sounds_below(path)
    yield from others
    for file in readable:
        folders = list(PurePosixPath(file).parts[:-1])
        split = split_of(folders[0]) if folders else None
        if split is not None:
            folders.pop(0)
        label = words_of(folders[-1]) if folders else ""
        notes = (path / file).with_suffix(".txt")
        captions, fault = captions_in(notes.read_bytes() if notes.is_file() else b"")
        if fault:
            inside = PurePosixPath(file).with_suffix(".txt").as_posix()
            yield BadLine(inside, fault, "the clip is without captions")
        captions = captions or [label]
        yield ClipRow(
            file=file,
            split=options.split or split or SPLITS[0],
            label=label,
            caption=captions[0],
            captions=tuple(captions[1:]),
        )


def captions_in(content: bytes) -> tuple[list[str], str]:
    """Captions of a text file, one a line, with or without a byte-order mark; and what is wrong."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return [], "not UTF-8"
    return [line.strip() for line in lines if line.strip()], ""


class Recordings:
    """Finds the recording of an identifier.

    Args:
        folder: Searched once, with its subfolders; None finds nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._files: dict[str, str] = {}
        if folder is None:
            return
        readable, others = sounds_below(folder)
        for file in (*readable, *(line.where for line in others)):
            self._files.setdefault(_composed(PurePosixPath(file).stem), file)

    def find(self, name: str, start_s: float | None = None) -> str:
        """Path below the folder; `name_start.wav` where there is none, which `check` will miss.

        Args:
            name: Identifier.
            start_s: Its start in seconds, which may be part of the file's name.
        """
        stems = [name]
        if start_s is not None:
            whole = round(start_s)
            stems = [f"{name}_{whole}", f"{name}_{whole:06d}", f"{name}_{round(start_s * 1000)}"]
            stems += [f"{name}_{whole}_{whole + 10}", f"{name}_{whole}.000"]
            stems += [f"{name}_{start_s:.3f}", name]
        for stem in (*stems, *(f"Y{stem}" for stem in stems)):
            if (found := self._files.get(_composed(stem))) is not None:
                return found
        return f"{stems[0]}.wav"


def require_folder(path: Path | None) -> Path | None:
    """Give a folder of recordings back.

    Raises:
        InputError: It is none.
    """
    if path is not None and not path.is_dir():
        raise InputError("audio", str(path), "a folder")
    return path


def _files_below(folder: Path) -> Iterator[str]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in names:
            if not is_hidden(name):
                yield (Path(here) / name).relative_to(folder).as_posix()


def _composed(text: str) -> str:
    """A name as it is compared: Macs write letters and their accents apart."""
    return unicodedata.normalize("NFC", text)
