"""Which clips are scored: folders of sounds, manifests, and lists of captions."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ezaudio.errors import InputError
from ezaudio.evaluation.features import listed
from ezaudio.evaluation.sources import Source

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif")
LISTS = Path(__file__).with_name("lists")


@dataclass(frozen=True)
class Item:
    """One clip that is asked for, or was recorded.

    Attributes:
        name: what its files are called, without ending.
        caption: what is heard; empty where it is not known.
        events: two kinds of sound in the order in which the caption has them, else empty.
        duration_s: length; None where it is not given.
        label: kind of sound, for pairing recordings with others of their kind.
        split: of the manifest that the row belongs to.
        file: the recording, where there is one.
    """

    name: str
    caption: str = ""
    events: tuple[str, ...] = ()
    duration_s: float | None = None
    label: str = ""
    split: str = ""
    file: Path | None = None


@dataclass(frozen=True)
class ClipSet:
    """Sounds with their items, in one order.

    Attributes:
        title: for tables.
        items: what the sounds are.
        sources: the sounds: files, clips in memory, or changes of them.
    """

    title: str
    items: tuple[Item, ...]
    sources: tuple[Source, ...]

    def __post_init__(self) -> None:
        """Raise InputError when a name occurs twice."""
        check_names(self.items)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the clips."""
        return tuple(item.name for item in self.items)


def check_names(items: Sequence[Item]) -> None:
    """Refuse names that occur twice.

    Raises:
        InputError: a name occurs twice.
    """
    names = [item.name for item in items]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError("names", listed(twice), "each clip once, whatever its file's ending")


def read_folder(folder: Path, title: str | None = None) -> ClipSet:
    """Every sound below a folder; a clip's name is its path without the ending.

    Raises:
        InputError: no such folder, no sound in it, or two sounds with one name.
    """
    if not folder.is_dir():
        raise InputError("folder", str(folder), "a folder of sounds")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SOUND_SUFFIXES)
    if not files:
        raise InputError("folder", str(folder), f"at least one of {', '.join(SOUND_SUFFIXES)}")
    items = [Item(p.relative_to(folder).with_suffix("").as_posix(), file=p) for p in files]
    return ClipSet(title or folder.name, tuple(items), tuple(files))


def with_captions(clips: ClipSet, items: Sequence[Item]) -> ClipSet:
    """Give the clips of a folder what a manifest says about them.

    Raises:
        InputError: a clip of one is missing from the other; the message names it.
    """
    known = {item.name: item for item in items}
    missing = sorted(set(known).symmetric_difference(clips.names))
    if missing:
        raise InputError("names", listed(missing), "clips that are in the folder and the manifest")
    told = tuple(replace(known[own.name], file=own.file) for own in clips.items)
    return replace(clips, items=told)


def recordings(items: Sequence[Item], title: str = "recordings") -> ClipSet:
    """The recordings of a manifest.

    Raises:
        InputError: an item has no recording, or the file is not there.
    """
    lacking = [i.name for i in items if i.file is None or not i.file.is_file()]
    if lacking:
        raise InputError("file", listed(lacking), "a recording that exists, for each row")
    return ClipSet(title, tuple(items), tuple(i.file for i in items if i.file is not None))


def read_items(
    source: str | Path, *, split: str | None = None, audiocaps: Path | None = None
) -> list[Item]:
    """Read a manifest, or one of the lists that have a name.

    A manifest is CSV (`.csv`) or JSON Lines (`.jsonl`) with a row per clip. `file` (relative to the
    manifest) or `name` says which clip; further columns that are read: `caption` or `prompt`,
    `label`, `split`, `duration`, `events` (two labels separated by `;`).

    Args:
        source: path, or one of `NAMED_LISTS`.
        split: rows of this split only.
        audiocaps: AudioCaps' own `test.csv`, for the lists that name its captions.

    Raises:
        InputError: the file cannot be read, a row lacks a name, or nothing is left.
    """
    if str(source) in AUDIOCAPS_LISTS:
        return read_audiocaps(str(source), audiocaps)
    path = LISTS / f"{source}.csv" if str(source) in NAMED_LISTS else Path(source)
    rows = [row for row in _rows(path) if split is None or row.get("split") == split]
    if not rows:
        wanted = "" if split is None else f" of the split {split!r}"
        raise InputError("manifest", str(source), f"a file with at least one row{wanted}")
    items = [_item(row, path) for row in rows]
    check_names(items)
    return items


AUDIOCAPS_LISTS = ("audiocaps-886", "audiocaps-964")
NAMED_LISTS = ("starter-order", *AUDIOCAPS_LISTS)
"""Lists of captions that have a name."""


def read_audiocaps(name: str, test_csv: Path | None) -> list[Item]:
    """AudioCaps test clips with one fixed caption each; clips are called `YOUTUBEID_START`.

    The lists hold caption numbers; the captions are read from AudioCaps' own file. The two public
    lists agree on all 886 clips of the shorter one. The paper scores 882 clips; which four it lacks
    is not published.

    Raises:
        InputError: `test_csv` is not given or lacks a caption of the list.
    """
    if test_csv is None:
        where = "its `test.csv` (github.com/cdjkim/audiocaps, MIT)"
        raise InputError("audiocaps", None, f"the path of {where}, for the list {name}")
    known = {row["audiocap_id"]: row for row in _rows(test_csv) if "audiocap_id" in row}
    listed_ids = [
        row["audiocap_id"]
        for row in _rows(LISTS / "audiocaps.csv")
        if name == "audiocaps-964" or row["in_886"] == "1"
    ]
    lacking = [number for number in listed_ids if number not in known]
    if lacking:
        raise InputError("audiocaps", str(test_csv), f"captions such as {listed(lacking)}")
    rows = [known[number] for number in listed_ids]
    return [
        Item(f"{row['youtube_id']}_{row['start_time']}", row["caption"], duration_s=10.0)
        for row in rows
    ]


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError("manifest", str(path), f"a readable text file ({reason})") from None
    if path.suffix.lower() == ".csv":
        return [dict(row) for row in csv.DictReader(text.splitlines())]
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(filter(str.strip, text.splitlines()), start=1):
        try:
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            raise InputError(f"{path.name}:{number}", line, "a JSON object") from None
    return rows


def _item(row: dict[str, Any], path: Path) -> Item:
    file = row.get("file") or None
    name = row.get("name") or (Path(file).stem if file else None)
    if not name:
        raise InputError(f"{path.name}: file", row, "a `file` or a `name` in every row")
    events = row.get("events") or ()
    if isinstance(events, str):
        events = tuple(part.strip() for part in events.split(";"))
    if events and len(events) != 2:
        raise InputError(f"{path.name}: events", list(events), "two labels separated by `;`")
    try:
        duration = float(row["duration"]) if row.get("duration") else None
    except (TypeError, ValueError):
        raise InputError(f"{path.name}: duration", row["duration"], "seconds") from None
    return Item(
        name=str(name),
        caption=str(row.get("caption") or row.get("prompt") or ""),
        events=tuple(events),
        duration_s=duration,
        label=str(row.get("label") or ""),
        split=str(row.get("split") or ""),
        file=path.parent / file if file else None,
    )


def captions_of(items: Iterable[Item]) -> tuple[str, ...]:
    """Captions in order."""
    return tuple(item.caption for item in items)
