"""WebDataset tars: sounds with a JSON file or captions of the same name beside them."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ezaudio.data.clips import BadLine, ClipRow, row_from
from ezaudio.data.collections.folder import (
    OTHER_ENDINGS,
    SOUND_ENDINGS,
    captions_in,
    is_hidden,
    unread,
)
from ezaudio.data.collections.options import ListOptions
from ezaudio.data.manifest import column_name

_LARGEST_NOTE = 1 << 20


def read_shards(path: Path, options: ListOptions) -> Iterator[ClipRow | BadLine]:
    """Tars with `key.flac` and `key.json` (the fields of a row) or `key.txt` (captions).

    A member that is damaged leaves its clip without what it would have said. Endings may be in
    capitals, and names may have dots.
    """
    for tar in tars_of(path):
        found = _Members()
        try:
            with tarfile.open(tar) as archive:
                for member in archive:
                    found.add(archive, member)
        except (OSError, tarfile.TarError) as error:
            yield BadLine(tar.name, "a tar that is damaged", str(error))
        yield from found.rows(tar.name, options)


def tars_of(path: Path) -> list[Path]:
    """The tar, or the tars of a folder."""
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.iterdir() if p.suffix.lower() == ".tar" and not is_hidden(p.name))


@dataclass
class _Members:
    """Members of one tar.

    Attributes:
        sounds: Names of the sounds.
        others: Sounds of formats that cannot be read.
        notes: Name without ending, and ending, to the content of what is said about sounds.
    """

    sounds: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    notes: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = PurePosixPath(member.name)
        if not member.isfile() or is_hidden(name):
            return
        ending = name.suffix.lower()
        if ending in SOUND_ENDINGS:
            self.sounds.append(member.name)
        elif ending in OTHER_ENDINGS:
            self.others.append(member.name)
        elif ending in (".json", ".txt") and member.size <= _LARGEST_NOTE:
            file = archive.extractfile(member)
            content = b"" if file is None else file.read()
            self.notes[str(name.with_suffix("")), ending] = content

    def rows(self, inside: str, options: ListOptions) -> Iterator[ClipRow | BadLine]:
        for other in self.others:
            yield unread(f"{inside}/{other}")
        for sound in self.sounds:
            file = f"{inside}/{sound.removeprefix('./')}"
            values, faults = self._said_of(PurePosixPath(sound))
            for fault in faults:
                yield BadLine(file, fault, "the clip is without what it would say")
            values["file"] = file
            if options.split is not None:
                values["split"] = options.split
            row = row_from(values, file)
            if isinstance(row, BadLine):
                yield row
                row = ClipRow(file=file, split=options.split or "train")
            yield row

    def _said_of(self, sound: PurePosixPath) -> tuple[dict[str, Any], list[str]]:
        """What stands beside a sound, and what of it is damaged."""
        key = str(sound.with_suffix(""))
        # WebDataset's own rule takes the name up to its first dot: `0.audio.flac` has `0.json`.
        short = str(sound.with_name(sound.name.partition(".")[0]))
        captions, fault = captions_in(self._note(key, short, ".txt"))
        faults = [f"a .txt that is {fault}"] if fault else []
        values: dict[str, Any] = {}
        if content := self._note(key, short, ".json"):
            try:
                read = json.loads(content.decode("utf-8-sig"))
            except (ValueError, RecursionError):
                read = None
            if isinstance(read, dict):
                values = {column_name(name): value for name, value in read.items()}
            else:
                faults.append("a .json that holds no JSON object")
        if captions:
            values = {"caption": captions[0], "captions": captions[1:], **values}
        return values, faults

    def _note(self, key: str, short: str, ending: str) -> bytes:
        return self.notes.get((key, ending)) or self.notes.get((short, ending)) or b""
