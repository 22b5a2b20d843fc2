"""What a list of clips holds: rows, what is heard in them when, and lines that gave no clip.

Every reader gives these three types, whoever published the list; training, captions and evaluation
take them from here.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from ezaudio.errors import InputError

SPLITS = ("train", "valid", "test")
_SPLIT_NAMES = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "validate", "dev", "development"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SPLIT_OF_WORD = {word: split for split, words in _SPLIT_NAMES.items() for word in words}
_TEXTS = ("label", "caption", "category", "name", "license", "author", "attribution_url",
          "source_repo", "source_path", "scene")  # fmt: skip
_SYNONYMS = {
    "file": ("path", "file_name", "filename", "file_path", "filepath", "audio_path", "audio_file",
             "audio_filename", "audio", "wav", "wav_path"),
    "name": ("clip_id",),
    "split": ("subset", "partition"),
    "label": ("class", "class_name", "classname", "event_label"),
    "caption": ("text", "prompt", "description", "sentence"),
    "duration": ("duration_s", "duration_seconds", "length_s", "seconds"),
    "license": ("licence",),
    "start": ("start_s", "start_time", "start_seconds", "onset"),
    "end": ("end_s", "end_time", "end_seconds", "offset"),
}  # fmt: skip
COLUMN_OF: dict[str, str] = {
    other: field for field, others in _SYNONYMS.items() for other in (field, *others)
}
"""What other tools call a column, to the field of `ClipRow` that it is."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of a list that gives no clip, or not all that it says.

    Attributes:
        where: File and line, or file.
        reason: In words; lines of one kind share one reason, so that they can be counted.
        text: The line, shortened.
    """

    where: str
    reason: str
    text: str = ""

    def as_error(self) -> InputError:
        """The same as an error, for those who cannot go on without the line."""
        return InputError(self.where, self.text or None, f"another line ({self.reason})")


class Event(BaseModel):
    """One sound inside a clip.

    Attributes:
        label: Short name of the sound.
        caption: One sentence or phrase.
        start: Onset in seconds of the clip.
        end: Offset in seconds of the clip.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    label: str = ""
    caption: str = ""
    start: float = 0.0
    end: float = 0.0


class ClipRow(BaseModel):
    """One clip of a list.

    Attributes:
        file: Path relative to the list's folder; `x.tar/000.flac` is a member of a tar. Empty where
            a list names clips without recordings.
        name: What all lists call the clip (`YOUTUBEID_STARTMS`); empty where its file says it.
        split: `train`, `valid` or `test`.
        label: Short name of the sound ("dog barking").
        caption: One sentence.
        captions: Further captions of the same clip; in CSV separated by "|".
        category: Coarse group of labels.
        tags: Further labels; in CSV separated by "|".
        duration: Seconds; 0 where the publisher does not say.
        license: As the publisher states it.
        author: As the publisher states it.
        attribution_url: As the publisher states it.
        source_repo: The collection.
        source_path: The recording within the collection.
        start: Where the clip begins, in seconds of the recording.
        end: Where it ends; 0, or `start`, where the publisher does not say.
        scene: How the sounds of the clip lie, one of `ezaudio.data.prompts.SCENES`.
        events: What is heard when, where it is known.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    file: str = ""
    name: str = ""
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

    @field_validator(*_TEXTS, mode="before")
    @classmethod
    def _text_of_a_number(cls, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return str(value) if number else value

    @field_validator("split", mode="before")
    @classmethod
    def _usual_split(cls, value: Any) -> Any:
        found = split_of(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError(f"one of {', '.join(sorted(_SPLIT_OF_WORD))}")
        return found

    @field_validator("captions", "tags", mode="before")
    @classmethod
    def _from_a_cell(cls, value: Any) -> Any:
        """A cell of a CSV is JSON, or texts with "|" between."""
        if not isinstance(value, str):
            return () if value is None else value
        if value.startswith("["):
            return json.loads(value)
        return tuple(part.strip() for part in value.split("|") if part.strip())

    @field_validator("events", mode="before")
    @classmethod
    def _from_labels(cls, value: Any) -> Any:
        """Events with times are JSON; labels without times have ";" or "|" between them."""
        if isinstance(value, str) and not value.startswith("["):
            value = [part.strip() for part in re.split(r"[;|]", value) if part.strip()]
        elif isinstance(value, str):
            value = json.loads(value)
        if not isinstance(value, list | tuple):
            return () if value is None else value
        return [{"label": event} if isinstance(event, str) else event for event in value]

    @field_validator("duration", "start", "end", mode="before")
    @classmethod
    def _zero_where_empty(cls, value: Any) -> Any:
        return 0.0 if value in ("", None) else value

    @field_validator("duration", "start", "end")
    @classmethod
    def _seconds(cls, value: float) -> float:
        if math.isnan(value):
            return 0.0  # how data frames write an empty cell
        if not 0 <= value < math.inf:
            raise ValueError("seconds, at least 0")
        return value

    @model_validator(mode="after")
    def _end_after_start(self) -> ClipRow:
        if self.end and self.end < self.start:
            raise ValueError(f"an end after the start; {self.start:g} to {self.end:g} s came")
        return self

    @property
    def id(self) -> str:
        """Name of the clip: its own, or its path without the ending."""
        return self.name or without_ending(self.file)

    @property
    def all_captions(self) -> tuple[str, ...]:
        """Every caption that is not empty."""
        return tuple(text for text in (self.caption, *self.captions) if text.strip())

    def event_rows(self) -> list[ClipRow]:
        """The events as rows of their own."""
        return [
            ClipRow(file=self.file, split=self.split, label=e.label, caption=e.caption)
            for e in self.events
        ]


@dataclass(frozen=True)
class ClipList:
    """A list that was read.

    Attributes:
        rows: The clips, each once.
        skipped: Lines that gave none, or not all that they say.
    """

    rows: list[ClipRow]
    skipped: list[BadLine]


def row_from(values: dict[str, Any], where: str) -> ClipRow | BadLine:
    """Make a row of what a list says.

    Args:
        values: Column to value; what other tools call a column is understood (`COLUMN_OF`).
            Values that are None, NaN or empty are not given.
        where: File and line.
    """
    given: dict[str, Any] = {}
    for column, value in values.items():
        field = COLUMN_OF.get(column, column)
        if _is_given(value) and (field not in given or column == field):
            given[field] = value
    file = given.get("file")
    if isinstance(file, dict):  # a data set's column of sounds: its path and its bytes
        file = given["file"] = file.get("path") or ""
    if isinstance(file, str) and "\\" in file and "/" not in file:
        given["file"] = file.replace("\\", "/")
    _spread_lists(given)
    try:
        return ClipRow.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        reason = f"{field}: {said}" if field else said
        return BadLine(where, reason, shortened(first.get("input") if field else given))
    except ValueError as error:
        return BadLine(where, "a cell that is no valid JSON", shortened(error))


def joined(rows: Iterable[ClipRow]) -> list[ClipRow]:
    """Bring rows of one clip together, in the order of their first.

    Rows are of one clip when they have the same file and span. Their captions are all kept, further
    labels become tags, events are sorted; of several splits the one outside `train` stays, so that
    nothing is learnt that is measured on. Spans of one file get names of their own.
    """
    grouped: dict[tuple[object, ...], list[ClipRow]] = {}
    for row in rows:
        key: tuple[object, ...] = (row.file, row.start, row.end) if row.file else (row.name,)
        grouped.setdefault(key, []).append(row)
    spans: dict[str, int] = {}
    for key in grouped:
        spans[str(key[0])] = spans.get(str(key[0]), 0) + 1
    return [_named(join_rows(own), spans[str(key[0])]) for key, own in grouped.items()]


def join_rows(rows: Sequence[ClipRow]) -> ClipRow:
    """Join rows of one clip; see `joined`."""
    first = rows[0]
    if len(rows) == 1:
        return first
    captions = tuple(dict.fromkeys(text for row in rows for text in row.all_captions))
    labels = dict.fromkeys(row.label for row in rows if row.label)
    tags = dict.fromkeys(tag for row in rows for tag in row.tags)
    events = dict.fromkeys(event for row in rows for event in row.events)
    values = {
        name: next((v for row in rows if (v := getattr(row, name))), "")
        for name in (*_TEXTS, "duration")
    }
    values |= {
        "split": next((row.split for row in rows if row.split != "train"), "train"),
        "caption": captions[0] if captions else "",
        "captions": captions[1:],
        "tags": tuple(tags | labels) if len(labels) > 1 else tuple(tags),
        "duration": values["duration"] or 0.0,
        "events": tuple(sorted(events, key=lambda event: (event.start, event.end))),
    }
    return first.model_copy(update=values)


def split_of(text: str) -> str | None:
    """The split that a name means: `Train`, `validation`, `val`, `eval`; None for others."""
    word = text.strip().casefold()
    return _SPLIT_OF_WORD.get(word) if word else "train"


def split_in(text: str) -> str:
    """The split that a list's name tells in a word of its own; `train` where it tells none.

    `audiocaps_train_latest` is `train`: "test" inside "latest" is no word.
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    words = re.findall(r"[a-z]+", spaced.casefold())
    return next((_SPLIT_OF_WORD[word] for word in words if word in _SPLIT_OF_WORD), "train")


def without_ending(file: str) -> str:
    """A path without its last ending: `a/b.c.wav` is `a/b.c`."""
    folder, slash, name = file.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return f"{folder}{slash}{stem}" if dot and stem else file


def words_of(name: str) -> str:
    """Words of a folder's or file's name: hyphens and underscores are spaces, letters composed."""
    text = unicodedata.normalize("NFC", name)
    return re.sub(r"[\s_-]+", " ", text).strip()


def shortened(value: object, limit: int = 200) -> str:
    """Cut a value for a report; control characters become spaces."""
    text = str(value)[: 4 * limit]
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def _named(row: ClipRow, spans: int) -> ClipRow:
    if spans == 1 or row.name or not row.file:
        return row
    name = f"{without_ending(row.file)}_{round(row.start * 1000)}"
    return row.model_copy(update={"name": name})


def _spread_lists(given: dict[str, Any]) -> None:
    """Take a list of captions, or of labels, in the column of one."""
    for one, many in (("caption", "captions"), ("label", "tags")):
        if not isinstance(values := given.get(one), list | tuple):
            continue
        texts = [value for value in values if _is_given(value)]
        given[one] = texts[0] if texts else ""
        further = given.get(many)
        more = list(further) if isinstance(further, list | tuple) else []
        given[many] = [*(texts[1:] if one == "caption" else texts), *more]


def _is_given(value: Any) -> bool:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return False
    return not (isinstance(value, str) and not value.strip())
