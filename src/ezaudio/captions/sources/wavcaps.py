"""WavCaps: captions that a language model made of what web pages say about their sounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ezaudio.captions.base import Published, Writer
from ezaudio.captions.record import Item
from ezaudio.captions.sources.published import Collection, segments_of
from ezaudio.data.clips import BadLine, shortened
from ezaudio.data.collections.wavcaps import LICENCE


class WavCaps(Collection):
    """Captions of WavCaps.

    Attributes:
        segments: AudioSet's list of segments, or their folder, for clips of AudioSet; without it,
            published ones beside the list.
        audio_pattern: file of a clip in the audio folder; `{clip}` is its id without extension.
        longest_s: longer recordings are left out, with that reason; 0 keeps them all.
    """

    kind: Literal["wavcaps"] = "wavcaps"
    licence: str = LICENCE
    segments: str | None = None
    longest_s: float = 0.0

    def items(self, path: Path) -> Iterator[Item | BadLine]:
        """Read one JSON file."""
        rows = self.rows(path, "wavcaps", segments=segments_of(path, self.segments))
        for row in rows:
            if isinstance(row, BadLine):
                yield row
            elif 0 < self.longest_s < row.duration:
                yield BadLine(f"{path.name}: {row.id}", "too long", shortened(row.duration))
            else:
                yield Item.of(row, self.licence)

    def open(self) -> Writer:
        """Captions are there already."""
        return Published()
