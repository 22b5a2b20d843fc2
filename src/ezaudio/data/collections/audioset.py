"""AudioSet: names of what occurs in ten seconds (weak), and when (strong); labels CC BY 4.0.

Weak labels have two published layouts: segments in CSV (`YTID, start_seconds, end_seconds,
"mid,mid"`, lines of `#` before them), and one label a line in TSV (`filename event_label`). Strong
labels are TSV with one event a line: `segment_id start_time_seconds end_time_seconds label`. In
both TSVs `YxlGt805lTA_30000` is a clip and its start in milliseconds, and a label is an identifier
("mid") whose name stands in one of the publisher's own files. Lines of one clip may lie anywhere.
Source of the strong labels: Hershey et al. 2021, arXiv:2105.07031.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ezaudio.data.clips import BadLine, ClipRow, Event, row_from, shortened, split_in
from ezaudio.data.collections.options import ListOptions
from ezaudio.data.collections.youtube import is_youtube_id, place_of
from ezaudio.data.manifest import lines_of, table_of
from ezaudio.data.text_files import opened
from ezaudio.errors import InputError

LICENCE = "CC BY 4.0 (labels)"
LABEL_LISTS = ("class_labels_indices.csv", "mid_to_display_name.tsv", "ontology.json")
STRONG_COLUMNS = (
    ("segment_id", "start_time_seconds", "end_time_seconds", "label"),
    ("filename", "onset", "offset", "event_label"),
)
WEAK_COLUMNS = ("filename", "event_label")


def read_segments(path: Path, options: ListOptions) -> Iterator[ClipRow | BadLine]:
    """AudioSet's weak labels: `YTID, start_seconds, end_seconds, "mid,mid"` under comments."""
    for line in lines_of(path, delimiter=","):
        if isinstance(line, BadLine):
            yield line
            continue
        number, cells = line
        if cells[0].startswith("#"):
            continue
        where, text = f"{path.name}:{number}", shortened(",".join(cells))
        if len(cells) < 4 or not is_youtube_id(cells[0]):
            yield BadLine(where, "not a segment", text)
            continue
        try:
            start, end = float(cells[1]), float(cells[2])
        except ValueError:
            yield BadLine(where, "times are not numbers", text)
            continue
        mids = [mid.strip() for cell in cells[3:] for mid in cell.split(",") if mid.strip()]
        labels = [options.named(mid) for mid in mids]
        for mid, label in zip(mids, labels, strict=True):
            if label is None:
                yield BadLine(where, "unknown label", shortened(mid))
        name = f"{cells[0]}_{round(start * 1000)}"
        clip = _clip(path, name, [label for label in labels if label], options)
        yield row_from({**clip, "start": start, "end": end}, where)


def read_weak(path: Path, options: ListOptions) -> Iterator[ClipRow | BadLine]:
    """AudioSet's weak labels as TSV: `filename, event_label`, a row a label."""
    _check_header(path, (WEAK_COLUMNS,))
    for line in _body(path):
        if isinstance(line, BadLine):
            yield line
            continue
        number, cells = line
        where, text = f"{path.name}:{number}", shortened("\t".join(cells))
        place = place_of(_stem(cells[0]), unit_s=0.001)
        if len(cells) != 2 or place is None or place.start is None:
            yield BadLine(where, "not a clip and a label", text)
        elif (label := options.named(cells[1])) is None:
            yield BadLine(where, "unknown label", shortened(cells[1]))
            yield row_from(_clip(path, _stem(cells[0]), [], options), where)
        else:
            yield row_from(_clip(path, _stem(cells[0]), [label], options), where)


def read_strong(path: Path, options: ListOptions) -> Iterator[ClipRow | BadLine]:
    """AudioSet's strong labels as TSV, a row an event.

    `segment_id, start_time_seconds, end_time_seconds, label`, or `filename, onset, offset,
    event_label`.
    """
    _check_header(path, STRONG_COLUMNS)
    for line in _body(path):
        if isinstance(line, BadLine):
            yield line
            continue
        yield from _event(path, *line, options)


def read_label_names(path: Path) -> dict[str, str]:
    """Names of AudioSet's identifiers, from whichever of the publisher's files is at hand.

    Args:
        path: `mid_to_display_name.tsv`, `class_labels_indices.csv` or `ontology.json`.

    Raises:
        InputError: The file cannot be read, or holds no names.
    """
    with opened(path, field="labels"):
        pass  # refused under its own name before it is read as whatever it is
    if path.suffix.lower() == ".json":
        names = _names_of_ontology(path)
    elif path.suffix.lower() == ".csv":
        rows = table_of(path, ("mid", "display_name"), field="labels")
        found = [row[1] for row in rows if not isinstance(row, BadLine)]
        names = {row["mid"]: row["display_name"] for row in found}
    else:
        lines = lines_of(path, delimiter="\t", quoted=False, field="labels")
        cells = [line[1] for line in lines if not isinstance(line, BadLine)]
        names = {row[0]: row[1] for row in cells if len(row) == 2}
    if not any(mid.startswith("/") for mid in names):
        raise InputError("labels", str(path), "a file of AudioSet's mids and display names")
    return names


def label_list_beside(path: Path) -> Path | None:
    """A file of names in the folder of a list, by the names they are published under."""
    folder = path if path.is_dir() else path.parent
    return next((folder / name for name in LABEL_LISTS if (folder / name).is_file()), None)


def _names_of_ontology(path: Path) -> dict[str, str]:
    with opened(path, field="labels") as file:
        try:
            rows: Any = json.load(file)
            return {str(row["id"]): str(row["name"]) for row in rows}
        except (ValueError, KeyError, TypeError):
            raise InputError("labels", str(path), "AudioSet's ontology.json") from None


def _event(
    path: Path, number: int, cells: list[str], options: ListOptions
) -> Iterator[ClipRow | BadLine]:
    where, text = f"{path.name}:{number}", shortened("\t".join(cells))
    if len(cells) != 4:
        yield BadLine(where, "wrong number of columns", text)
        return
    segment, label = _stem(cells[0]), options.named(cells[3])
    try:
        start, end = float(cells[1]), float(cells[2])
    except ValueError:
        yield BadLine(where, "times are not numbers", text)
        return
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start <= end):
        yield BadLine(where, "times out of order", text)
    elif not segment:
        yield BadLine(where, "no segment", text)
    elif label is None:
        yield BadLine(where, "unknown label", text)
        yield row_from(_clip(path, segment, [], options), where)
    else:
        event = Event(label=label, caption=label, start=start, end=end)
        yield row_from({**_clip(path, segment, [label], options), "events": [event]}, where)


def _clip(path: Path, name: str, labels: list[str], options: ListOptions) -> dict[str, Any]:
    said: dict[str, Any] = {"label": labels[0] if labels else "", "tags": labels}
    split = split_in(path.stem)
    place = place_of(name, unit_s=0.001)
    if place is not None:
        clip = options.clip(options.segments.place(place), collection="AudioSet",
                            licence=LICENCE, split=split)  # fmt: skip
        return {**clip, **said}
    own = {"file": options.file_named(name), "name": name, "split": options.split or split}
    return {**own, "license": LICENCE, "source_repo": "AudioSet", "source_path": name, **said}


def _stem(name: str) -> str:
    """A segment's name; some lists write it as the name of a file."""
    return name.rpartition("/")[2].removesuffix(".wav").removesuffix(".flac")


def _check_header(path: Path, allowed: tuple[tuple[str, ...], ...]) -> None:
    lines = lines_of(path, delimiter="\t", quoted=False)
    first = next((line for line in lines if not isinstance(line, BadLine)), None)
    header = () if first is None else tuple(cell.lower() for cell in first[1])
    if header not in allowed:
        wanted = f"a TSV file with the columns {', '.join(allowed[0])}"
        raise InputError("manifest", str(path), wanted)


def _body(path: Path) -> Iterator[tuple[int, list[str]] | BadLine]:
    """The lines below the header."""
    lines = lines_of(path, delimiter="\t", quoted=False)
    next((line for line in lines if not isinstance(line, BadLine)), None)
    yield from lines
