"""VGGSound: one label for a clip of ten seconds -> a sentence (labels CC BY 4.0)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ezaudio.captions.base import Writer
from ezaudio.captions.record import Item
from ezaudio.captions.sources.published import Collection
from ezaudio.captions.sources.tags import TagWriter
from ezaudio.data.clips import BadLine
from ezaudio.data.collections.vggsound import LICENCE


class VggSound(Collection):
    """Sentences from VGGSound's labels.

    Attributes:
        audio_pattern: file of a clip in the audio folder; `{clip}` is `ID_STARTMS`, `{id}` the id.
    """

    kind: Literal["vggsound"] = "vggsound"
    licence: str = LICENCE

    def items(self, path: Path) -> Iterator[Item | BadLine]:
        """Read one CSV file; it has no header."""
        return self.items_from(self.rows(path, "vggsound"))

    def open(self) -> Writer:
        """Labels are phrases already."""
        return TagWriter(said=False)
