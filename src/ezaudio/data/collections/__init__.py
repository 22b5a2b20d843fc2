"""Lists of published collections, folders and shards, as rows of one kind.

A list names recordings that its publisher does not hand out; whoever has them has them under some
name. `Recordings` finds them: by identifier, by identifier and start, with or without the "Y" that
keeps a name from beginning with a hyphen.

To add a collection: write one file with a reader and its licence, and add a line to `COLLECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ezaudio.data.clips import BadLine, ClipList, ClipRow, joined, split_of
from ezaudio.data.collections.audiocaps import read_audiocaps
from ezaudio.data.collections.audioset import (
    STRONG_COLUMNS,
    label_list_beside,
    read_label_names,
    read_segments,
    read_strong,
    read_weak,
)
from ezaudio.data.collections.auto_acd import read_auto_acd
from ezaudio.data.collections.exclude import Excluded, described, read_names
from ezaudio.data.collections.folder import Recordings, read_folder, require_folder
from ezaudio.data.collections.options import ListOptions
from ezaudio.data.collections.vggsound import place_and_label, read_vggsound
from ezaudio.data.collections.wavcaps import read_wavcaps
from ezaudio.data.collections.webdataset import read_shards, tars_of
from ezaudio.data.collections.youtube import Segments, is_youtube_id, segment_lists_beside
from ezaudio.data.manifest import column_name, lines_of, rows_of
from ezaudio.data.text_files import opened
from ezaudio.errors import InputError

__all__ = [
    "COLLECTIONS",
    "Excluded",
    "ListOptions",
    "described",
    "kind_of",
    "list_options",
    "read_excluded",
    "read_list",
    "root_of",
]

_LOOKED_AT_CHARACTERS = 4096
_WITH_SEGMENTS = ("auto-acd", "wavcaps", "audioset-weak", "audioset-strong")
_WITH_LABELS = ("audioset", "audioset-weak", "audioset-strong", "vggsound")


def read_own(path: Path, options: ListOptions) -> Iterator[ClipRow | BadLine]:
    """A list with the fields of a row: CSV, TSV, JSON Lines, JSON or parquet."""
    for row in rows_of(path):
        if isinstance(row, BadLine) or options.split is None:
            yield row
        else:
            yield row.model_copy(update={"split": options.split})


COLLECTIONS: dict[str, Callable[[Path, ListOptions], Iterable[ClipRow | BadLine]]] = {
    "list": read_own,
    "folder": read_folder,
    "webdataset": read_shards,
    "audiocaps": read_audiocaps,
    "audioset": read_segments,
    "audioset-weak": read_weak,
    "audioset-strong": read_strong,
    "auto-acd": read_auto_acd,
    "vggsound": read_vggsound,
    "wavcaps": read_wavcaps,
}
"""What can be read, by name."""


def list_options(
    path: Path,
    kind: str | None = None,
    *,
    audio: Path | None = None,
    split: str | None = None,
    labels: Path | None = None,
    segments: Path | None = None,
) -> ListOptions:
    """What a list does not say itself; what is not given is looked for beside the list.

    Args:
        path: The list.
        kind: One of `COLLECTIONS`; None looks.
        audio: Folder of the recordings.
        split: Of all rows.
        labels: Names of AudioSet's identifiers; None takes a published file beside the list.
        segments: AudioSet's segments, a file or a folder of its lists; None takes published files
            beside the list.

    Raises:
        InputError: A folder or file is not there, or is of another kind; an unknown split.
    """
    name = kind or kind_of(path)
    own = None if split is None else split_of(split)
    if split is not None and own is None:
        raise InputError("split", split, "train, valid or test")
    labels = labels or (label_list_beside(path) if name in _WITH_LABELS else None)
    options = ListOptions(
        audio=require_folder(audio),
        split=own,
        labels={} if labels is None else read_label_names(labels),
        segments=segments_for(path, segments) if name in _WITH_SEGMENTS else Segments(),
    )
    return replace(options, recordings=Recordings(options.audio))


def segments_for(path: Path, given: Path | None) -> Segments:
    """Where AudioSet cut its videos, from a file, from a folder of lists, or from those beside."""
    if given is not None and not given.exists():
        raise InputError("segments", str(given), "AudioSet's list of segments, or their folder")
    if given is not None and given.is_file():
        return Segments([given])
    return Segments(segment_lists_beside(given or path))


def kind_of(path: Path) -> str:
    """Tell what a list is by its name and first lines; `list` where nothing else fits."""
    if path.is_dir():
        return "webdataset" if tars_of(path) else "folder"
    ending = path.suffix.lower()
    if ending == ".tar":
        return "webdataset"
    if ending == ".json":
        return _kind_of_json(path)
    return _kind_of_table(path) if ending in (".csv", ".tsv") else "list"


def read_list(path: Path, kind: str | None = None, options: ListOptions | None = None) -> ClipList:
    """Read a list of clips, a folder of recordings, or shards.

    Rows of one clip become one (`ezaudio.data.clips.joined`); a line that gives no clip is skipped,
    and told.

    Args:
        path: A file or folder.
        kind: One of `COLLECTIONS`; None looks.
        options: What the list does not say.

    Raises:
        InputError: It cannot be read, or holds no clip; the message names the first line skipped.
        CheckpointError: A parquet file is damaged.
    """
    if not path.exists():
        raise InputError("manifest", str(path), "a file or folder that exists")
    name = (kind or kind_of(path)).replace("_", "-")
    if name not in COLLECTIONS:
        raise InputError("kind", name, ", ".join(COLLECTIONS))
    given = options or ListOptions()
    rows: list[ClipRow] = []
    skipped: list[BadLine] = []
    try:
        for found in COLLECTIONS[name](path, given):
            (skipped if isinstance(found, BadLine) else rows).append(found)  # type: ignore[arg-type]
    except OSError as error:
        raise InputError("manifest", str(path), f"readable ({error.strerror})") from None
    if not rows:
        first = f"; {skipped[0].where}: {skipped[0].reason}" if skipped else ""
        raise InputError("manifest", str(path), f"a {name} with at least one clip{first}")
    own = joined(rows)
    return ClipList([_captioned(row) for row in own] if name in _WITH_LABELS else own, skipped)


def read_excluded(paths: Iterable[Path]) -> Excluded:
    """Read lists of clips that are to be kept out.

    Args:
        paths: Lists of any kind that `read_list` reads, or `.txt` files with a name a line.

    Raises:
        InputError: One cannot be read, or holds no clip.
    """
    found = Excluded()
    for path in paths:
        if path.suffix.lower() == ".txt":
            found |= Excluded(names=read_names(path))
            continue
        try:
            found |= Excluded(read_list(path).rows, root_of(path, ListOptions()))
        except InputError as error:
            field = "exclude" if error.field == "manifest" else error.field
            raise InputError(field, error.got, error.allowed) from None
    return found


def root_of(path: Path, options: ListOptions) -> Path:
    """The folder that the files of a list are relative to."""
    if options.audio is not None:
        return options.audio
    return path if path.is_dir() else path.parent


def _captioned(row: ClipRow) -> ClipRow:
    """A clip that has labels only gets them as its caption, in the order of what is heard."""
    if row.caption or not row.tags:
        return row
    labels = tuple(dict.fromkeys(event.label for event in row.events)) or row.tags
    told = {"label": labels[0], "tags": labels, "caption": ", ".join(labels)}
    return row.model_copy(update=told)


def _kind_of_json(path: Path) -> str:
    try:
        with opened(path) as file:
            start = file.read(_LOOKED_AT_CHARACTERS)
    except InputError:
        return "list"
    return "wavcaps" if start.lstrip().startswith("{") and '"data"' in start else "list"


def _kind_of_table(path: Path) -> str:
    try:
        with opened(path) as file:
            start = file.read(_LOOKED_AT_CHARACTERS)
        first = next((line for line in lines_of(path) if not isinstance(line, BadLine)), None)
    except InputError:
        return "list"
    if first is None:
        return "list"
    columns = {column_name(cell) for cell in first[1]}
    if start.startswith("#") and "YTID" in start:
        return "audioset"
    if {"youtube_id", "caption"} <= columns:
        return "audiocaps" if "start_time" in columns else "auto-acd"
    if set(STRONG_COLUMNS[0]) <= columns:
        return "audioset-strong"
    if columns == {"filename", "event_label"}:
        return "audioset-weak"
    if len(first[1]) >= 4 and is_youtube_id(first[1][0]) and "." in first[1][1]:
        return "audioset"
    place, label = place_and_label(first[1])
    return "vggsound" if place is not None and label else "list"
