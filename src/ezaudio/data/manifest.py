"""A list of clips: where each is, what is heard in it, whose it is, and on which side of the split
it lies.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, ValidationError

from ezaudio.errors import InputError


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
        file: Path relative to the manifest's folder.
        split: `train`, `valid` or `test`.
        label: Short name of the sound ("dog barking").
        caption: One sentence.
        captions: Further captions of the same clip.
        category: Coarse group of labels.
        tags: Further labels.
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


def read_manifest(path: Path) -> list[ClipRow]:
    """Read a CSV manifest.

    Raises:
        InputError: The file is missing, a column is absent, or a row is malformed (named by line).
    """
    rows: list[ClipRow] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                try:
                    rows.append(ClipRow.model_validate(row))
                except ValidationError as error:
                    first = error.errors()[0]
                    field = ".".join(map(str, first["loc"]))
                    raise InputError(
                        f"{path.name}:{line} {field}", first.get("input"), first["msg"]
                    ) from None
    except OSError as error:
        raise InputError("manifest", str(path), f"a readable CSV file ({error.strerror})") from None
    if not rows:
        raise InputError("manifest", str(path), "a CSV file with at least one clip")
    return rows


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
