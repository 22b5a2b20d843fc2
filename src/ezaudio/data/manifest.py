"""A list of clips: where each is, what is heard in it, whose it is, and on which side of the split
it lies. Own lists are CSV, JSON Lines or parquet with the fields of `ClipRow` as columns.

`ezaudio.data.sources` reads these and the lists of published collections.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from ezaudio.errors import InputError

SPLITS = ("train", "valid", "test")
_SEPARATOR = "|"


class Event(BaseModel):
    """One sound inside a clip.

    Attributes:
        label, caption: As of a clip.
        start, end: Span in seconds of the clip.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    label: str = ""
    caption: str = ""
    start: float = 0.0
    end: float = 0.0


class ClipRow(BaseModel):
    """One clip of a manifest.

    Attributes:
        file: Path relative to the manifest's folder; `x.tar/000.flac` is a member of a tar.
        split: `train`, `valid` or `test`.
        label: Short name of the sound ("dog barking").
        caption: One sentence.
        captions: Further captions of the same clip; in CSV separated by "|".
        category: Coarse group of labels.
        tags: Further labels; in CSV separated by "|".
        duration: Seconds; 0 where the publisher does not say.
        license, author, attribution_url, source_repo, source_path: Provenance as the publisher
            states it.
        start, end: Span of the source recording in seconds.
        scene: How the sounds of the clip lie, one of `ezaudio.data.prompts.SCENES`.
        events: What is heard when, where it is known.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    file: str
    split: str = "train"
    label: str = ""
    caption: str = ""
    captions: tuple[str, ...] = ()
    category: str = ""
    tags: tuple[str, ...] = ()
    duration: float = 0.0
    license: str = ""
    author: str = ""
    attribution_url: str = ""
    source_repo: str = ""
    source_path: str = ""
    start: float = 0.0
    end: float = 0.0
    scene: str = "single"
    events: tuple[Event, ...] = ()

    @field_validator("captions", "tags", "events", mode="before")
    @classmethod
    def _from_a_cell(cls, value: Any) -> Any:
        """A cell of a CSV is JSON, or texts with "|" between."""
        if not isinstance(value, str):
            return () if value is None else value
        if value.startswith("["):
            return json.loads(value)
        return tuple(part.strip() for part in value.split(_SEPARATOR) if part.strip())

    @field_validator("duration", "start", "end", mode="before")
    @classmethod
    def _zero_where_empty(cls, value: Any) -> Any:
        return 0.0 if value in ("", None) else value

    @property
    def id(self) -> str:
        """Name of the clip: its path without the ending."""
        return str(PurePosixPath(self.file).with_suffix(""))

    def event_rows(self) -> list[ClipRow]:
        """The events as rows of their own."""
        return [
            ClipRow(file=self.file, split=self.split, label=e.label, caption=e.caption)
            for e in self.events
        ]


def row_from(values: dict[str, Any], place: str) -> ClipRow:
    """Make a row of what a list says.

    Args:
        values: Column to value; `path`, `licence` and `text` are understood as `file`, `license`
            and `caption`.
        place: File and line, for the message.

    Raises:
        InputError: A value is missing or malformed.
    """
    for other, name in (("path", "file"), ("licence", "license"), ("text", "caption")):
        if name not in values and other in values:
            values = {**values, name: values[other]}
    try:
        return ClipRow.model_validate(values)
    except (ValidationError, ValueError) as error:
        if not isinstance(error, ValidationError):
            raise InputError(place, None, "valid JSON") from None
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(f"{place} {field}", first.get("input"), first["msg"]) from None


def read_csv(path: Path) -> list[ClipRow]:
    """Read a CSV manifest; errors as `row_from`."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            row_from(row, f"{path.name}:{line}")
            for line, row in enumerate(csv.DictReader(file), start=2)
        ]


def read_jsonl(path: Path) -> list[ClipRow]:
    """Read a JSON Lines manifest; errors as `row_from`."""
    rows = []
    with path.open(encoding="utf-8") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            place = f"{path.name}:{line}"
            try:
                values = json.loads(text)
            except ValueError:
                raise InputError(place, text, "a JSON object") from None
            if not isinstance(values, dict):
                raise InputError(place, text, "a JSON object")
            rows.append(row_from(values, place))
    return rows


def read_parquet(path: Path) -> list[ClipRow]:
    """Read a parquet manifest; errors as `row_from`."""
    from ezaudio.data.tables import read_table

    values = read_table(path).to_pylist()
    return [
        row_from({k: v for k, v in row.items() if v is not None}, f"{path.name}:{line}")
        for line, row in enumerate(values, start=1)
    ]


READERS: dict[str, Callable[[Path], list[ClipRow]]] = {
    ".csv": read_csv,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}
"""How own lists are read, by ending."""


def read_manifest(path: Path) -> list[ClipRow]:
    """Read an own list: CSV, JSON Lines or parquet.

    Raises:
        InputError: The file is missing or of another kind, holds no clip, or a row is malformed
            (named by line).
        CheckpointError: A parquet file is damaged.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError("manifest", str(path), f"a file ending in {', '.join(READERS)}")
    try:
        rows = reader(path)
    except OSError as error:
        raise InputError("manifest", str(path), f"a readable file ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error):
        raise InputError("manifest", str(path), "a text file in UTF-8") from None
    if not rows:
        raise InputError("manifest", str(path), "a file with at least one clip")
    return rows


def write_jsonl(path: Path, rows: Iterable[ClipRow]) -> None:
    """Write rows as JSON Lines, without the fields that have their defaults; atomic."""
    from ezaudio.files import atomic_write

    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(_lines(rows))


def _lines(rows: Iterable[ClipRow]) -> Iterator[str]:
    for row in rows:
        values = row.model_dump(mode="json", exclude_defaults=True)
        yield json.dumps(values, ensure_ascii=False) + "\n"


def split_rows(rows: Iterable[ClipRow], split: str) -> list[ClipRow]:
    """Rows of one split, in order."""
    return [row for row in rows if row.split == split]


def frequent_labels(rows: Sequence[ClipRow], at_least: int) -> list[str]:
    """Labels with at least that many clips, the most frequent first."""
    return [
        label
        for label, count in Counter(row.label for row in rows).most_common()
        if count >= at_least
    ]
