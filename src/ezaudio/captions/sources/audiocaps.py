"""AudioCaps: sentences that people wrote, one or five for a clip of ten seconds (MIT)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ezaudio.captions.base import Published, Writer
from ezaudio.captions.record import Item
from ezaudio.captions.sources.published import Collection
from ezaudio.data.clips import BadLine
from ezaudio.data.collections.audiocaps import LICENCE


class AudioCaps(Collection):
    """Captions of AudioCaps, version 1 or 2.

    Attributes:
        audio_pattern: file of a clip in the audio folder; `{clip}` is `ID_STARTMS`, `{id}` the id.
    """

    kind: Literal["audiocaps"] = "audiocaps"
    licence: str = LICENCE

    def items(self, path: Path) -> Iterator[Item | BadLine]:
        """Read `train.csv`, `val.csv` or `test.csv`."""
        return self.items_from(self.rows(path, "audiocaps"))

    def open(self) -> Writer:
        """Captions are there already."""
        return Published()
