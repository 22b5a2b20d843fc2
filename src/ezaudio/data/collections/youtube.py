"""Clips that were cut from YouTube, as AudioSet and its relatives name them.

A clip is called `ID_STARTMS` here, however its publisher writes it, so that rows of several lists
meet. Publishers write the start in seconds (`ID_30`, `ID_000030`) or milliseconds (`ID_30000`), a
"Y" before the identifier, so that no name begins with a hyphen, or no start at all. AudioSet has
one segment of a video, so a start that is not written is found in AudioSet's own lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ezaudio.data.clips import BadLine
from ezaudio.data.manifest import lines_of

CLIP_S = 10.0
_ID = r"[A-Za-z0-9_-]{11}"
_BARE = re.compile(rf"^{_ID}$")
# The two ways to read a name exclude each other: the identifier has eleven letters.
_NAME = re.compile(rf"^(?P<y>Y?)(?P<id>{_ID})(?:_(?P<start>\d+(?:\.\d+)?)(?:_\d+(?:\.\d+)?)?)?$")
_MILLISECONDS_FROM = 1000
_SEGMENT_LISTS = ("*_segments.csv", "audioset*strong*.tsv", "audioset*weak*.tsv")


class Place(NamedTuple):
    """Where a clip was cut.

    Attributes:
        id: Of the video, eleven letters.
        start: In seconds of it; None where it is not known.
    """

    id: str
    start: float | None

    @property
    def name(self) -> str:
        """`ID_STARTMS`; the identifier alone where the start is not known."""
        return self.id if self.start is None else clip_name(self.id, self.start)


def clip_name(youtube_id: str, start_s: float) -> str:
    """Join a YouTube identifier and a start in seconds."""
    return f"{youtube_id}_{round(start_s * 1000)}"


def is_youtube_id(text: str) -> bool:
    """True for eleven letters of the kind that YouTube uses."""
    return bool(_BARE.match(text))


def place_of(text: str, *, unit_s: float | None) -> Place | None:
    """Take a name apart: `ID`, `YID`, `ID_START`, `YID_START`, `ID_START_END`.

    Args:
        text: Without folder and ending.
        unit_s: What the start is counted in: 1 for seconds, 0.001 for milliseconds; None takes a
            start without leading zeros of 1000 and more that ends in 000 for milliseconds.

    Returns:
        None for other names.
    """
    found = _NAME.match(text)
    if found is None:
        return None
    if (digits := found["start"]) is None:
        return Place(found["id"], None)
    if unit_s is None:
        whole = digits.isdigit() and digits.endswith("000") and not digits.startswith("0")
        unit_s = 0.001 if whole and int(digits) >= _MILLISECONDS_FROM else 1.0
    return Place(found["id"], float(digits) * unit_s)


def split_name(text: str, *, unit_s: float) -> tuple[str, float] | None:
    """Take `ID_START` apart, as `place_of`; None when no start is written."""
    place = place_of(text, unit_s=unit_s)
    return None if place is None or place.start is None else (place.id, place.start)


class Segments:
    """Where AudioSet cut its videos, from its own lists of segments or labels.

    Args:
        paths: Lists (`*_segments.csv`, strong or weak TSV).

    Raises:
        InputError: A list cannot be read.
    """

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self._starts: dict[str, float] = {}
        for path in paths:
            self._starts |= dict(_starts_of(path))

    def __len__(self) -> int:
        return len(self._starts)

    def place(self, place: Place) -> Place:
        """The same with its start, where it had none and a list has it."""
        if place.start is not None:
            return place
        return Place(place.id, self._starts.get(place.id))


def segment_lists_beside(path: Path) -> list[Path]:
    """AudioSet's own lists in the folder of another list, by the names they are published under."""
    folder = path if path.is_dir() else path.parent
    found = (other for pattern in _SEGMENT_LISTS for other in sorted(folder.glob(pattern)))
    return [other for other in found if other != path and other.is_file()]


def _starts_of(path: Path) -> Iterator[tuple[str, float]]:
    for line in lines_of(path, field="segments"):
        if isinstance(line, BadLine):
            continue
        cells = line[1]
        if len(cells) >= 4 and is_youtube_id(cells[0]) and _is_number(cells[1]):
            yield cells[0], float(cells[1])
        elif (found := split_name(cells[0], unit_s=0.001)) is not None:
            yield found


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
