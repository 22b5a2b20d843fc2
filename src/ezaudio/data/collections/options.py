"""What a list does not say itself, for all readers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ezaudio.data.clips import BadLine, ClipRow
from ezaudio.data.collections.folder import Recordings
from ezaudio.data.collections.youtube import CLIP_S, Place, Segments


def _recordings_nowhere() -> Recordings:
    return Recordings(None)


@dataclass(frozen=True)
class ListOptions:
    """What a list does not say itself.

    Attributes:
        audio: Folder of the recordings; None where the list lies beside them.
        split: Of all rows; None takes what the list or its name says, or `train`.
        labels: Identifier of a label to its name.
        segments: Where AudioSet cut its videos, for lists that do not say it.
        start_unit: Of a start inside an identifier of Auto-ACD: `s`, `ms` or `auto`.
        file_of: A clip's name and video to its file; None looks in `audio`.
    """

    audio: Path | None = None
    split: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    segments: Segments = field(default_factory=Segments)
    start_unit: Literal["s", "ms", "auto"] = "auto"
    file_of: Callable[[str, str], str] | None = None
    recordings: Recordings = field(default_factory=_recordings_nowhere)

    @property
    def unit_s(self) -> float | None:
        """`start_unit` in seconds; None for `auto`."""
        return {"s": 1.0, "ms": 0.001, "auto": None}[self.start_unit]

    def file(self, place: Place) -> str:
        """File of a clip that was cut from YouTube."""
        if self.file_of is not None:
            return self.file_of(place.name, place.id)
        return self.recordings.find(place.id, place.start)

    def file_named(self, name: str) -> str:
        """File of a clip that has a name of its own."""
        if self.file_of is not None:
            return self.file_of(name, name.rpartition("_")[0])
        return self.recordings.find(name)

    def clip(self, place: Place, *, collection: str, licence: str, split: str) -> dict[str, object]:
        """The fields that every clip from YouTube has."""
        start = place.start or 0.0
        return {
            "file": self.file(place),
            "name": place.name,
            "split": self.split or split,
            "start": start,
            "end": 0.0 if place.start is None else start + CLIP_S,
            "license": licence,
            "source_repo": collection,
            "source_path": place.id,
        }

    def named(self, label: str) -> str | None:
        """Name of a label; None for an identifier that nobody has named."""
        if label in self.labels:
            return self.labels[label]
        return None if label.startswith(("/m/", "/t/", "/g/")) or not label else label


Found = ClipRow | BadLine
"""What a reader gives."""
