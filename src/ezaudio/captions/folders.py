"""Plain recordings: a folder of sound files, or a list of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ezaudio.captions.record import BadLine, Item, shortened
from ezaudio.captions.tables import rows_of
from ezaudio.errors import InputError

ENDINGS = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif")


def items_of_folder(path: Path, *, licence: str = "") -> Iterator[Item | BadLine]:
    """Find the sound files of a folder and of those inside it, in the order of their names.

    One folder's names are in memory at a time. A clip is named by its path inside the folder,
    without the ending.
    """
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                inside = (Path(folder) / name).relative_to(path).as_posix()
                yield Item(inside.rpartition(".")[0], audio=inside, licence=licence)


def items_of_list(path: Path, *, licence: str = "") -> Iterator[Item | BadLine]:
    """Read a CSV list with a column `file`; it may also have `duration`, `license`, `label`,
    `caption`.

    A clip is named by its path without the ending.
    """
    if path.suffix.lower() != ".csv":
        raise InputError(
            "input", str(path), "a folder of sound files, or a CSV list with a column file"
        )
    for row in rows_of(path, ("file",)):
        if isinstance(row, BadLine):
            yield row
            continue
        number, cells = row
        where = f"{path.name}:{number}"
        if not cells["file"]:
            yield BadLine(where, "no file", shortened(str(cells)))
            continue
        try:
            duration_s = float(cells.get("duration") or 0.0)
        except ValueError:
            yield BadLine(where, "duration is not a number", shortened(str(cells)))
            continue
        file = cells["file"]
        stem = file.rpartition(".")[0] or file
        yield Item(
            stem,
            audio=file,
            end_s=duration_s,
            licence=licence or cells.get("license", "") or cells.get("licence", ""),
            captions=tuple(filter(None, [cells.get("caption", "")])),
            tags=tuple(filter(None, [cells.get("label", "")])),
        )
