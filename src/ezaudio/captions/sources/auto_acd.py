"""Auto-ACD: captions of AudioSet and VGGSound clips, made from their pictures and sounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ezaudio.captions.base import Published, Writer
from ezaudio.captions.record import Item
from ezaudio.captions.sources.published import Collection, segments_of
from ezaudio.data.clips import BadLine


class AutoAcd(Collection):
    """Captions of Auto-ACD.

    Attributes:
        start_unit: of a start inside the id: `s`, `ms`, or `auto`, which takes a start without
            leading zeros of 1000 and more that ends in 000 for milliseconds.
        segments: AudioSet's list of segments, or their folder, for clips without a start; without
            it, published ones beside the list.
        audio_pattern: file of a clip in the audio folder; `{clip}` is `ID_STARTMS`, `{id}` the id.
    """

    kind: Literal["auto_acd"] = "auto_acd"
    start_unit: Literal["s", "ms", "auto"] = "auto"
    segments: str | None = None

    def items(self, path: Path) -> Iterator[Item | BadLine]:
        """Read one CSV file; its header says which column is which."""
        options = {"start_unit": self.start_unit, "segments": segments_of(path, self.segments)}
        return self.items_from(self.rows(path, "auto-acd", **options))

    def open(self) -> Writer:
        """Captions are there already."""
        return Published()
