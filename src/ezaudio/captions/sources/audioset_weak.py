"""AudioSet's weak labels: names of what occurs in ten seconds -> sentences (labels CC BY 4.0)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ezaudio.captions.base import Writer
from ezaudio.captions.record import Item
from ezaudio.captions.sources.published import Collection, labels_for, together
from ezaudio.captions.sources.tags import TagWriter
from ezaudio.data.clips import BadLine
from ezaudio.data.collections.audioset import LICENCE


class AudioSetWeak(Collection):
    """Sentences from AudioSet's tags.

    Attributes:
        names: file of mids and names; without it, one beside the list, or labels have to be names.
        audio_pattern: file of a clip in the audio folder; `{clip}` is `ID_STARTMS`, `{id}` the id.
    """

    kind: Literal["audioset_weak"] = "audioset_weak"
    licence: str = LICENCE
    names: str | None = None

    def items(self, path: Path) -> Iterator[Item | BadLine]:
        """Read segments (CSV), or labels (TSV)."""
        collection = "audioset-weak" if path.suffix.lower() == ".tsv" else "audioset"
        rows = self.rows(path, collection, labels=labels_for(path, self.names))
        for item in self.items_from(together(rows) if collection == "audioset-weak" else rows):
            if isinstance(item, BadLine) or item.tags:  # a clip of unknown labels says nothing
                yield item

    def open(self) -> Writer:
        """Tags are joined by rule."""
        return TagWriter()
