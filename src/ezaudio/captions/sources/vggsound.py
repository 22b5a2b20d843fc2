"""VGGSound: one label for a clip of ten seconds -> a sentence (labels CC BY 4.0).

Source: Chen et al. 2020, arXiv:2004.14368. Two published layouts are read: `ID_000300.mp4,label`,
the start in seconds, and `ID,300,label,split`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ezaudio.captions.base import Source, Writer
from ezaudio.captions.record import BadLine, Item, shortened
from ezaudio.captions.sources.tags import TagWriter
from ezaudio.captions.tables import lines_of
from ezaudio.captions.youtube import (
    CLIP_S,
    AudioPattern,
    audio_name,
    clip_name,
    is_youtube_id,
    split_name,
)


class VggSound(Source):
    """Sentences from VGGSound's labels.

    Attributes:
        audio_pattern: file of a clip in the audio folder; `{clip}` is `ID_STARTMS`, `{id}` the id.
    """

    kind: Literal["vggsound"] = "vggsound"
    licence: str = "CC BY 4.0 (labels)"
    audio_pattern: AudioPattern = ""

    def items(self, path: Path) -> Iterator[Item | BadLine]:
        """Read one CSV file; it has no header."""
        for line in lines_of(path):
            if isinstance(line, BadLine):
                yield line
                continue
            number, cells = line
            where, text = f"{path.name}:{number}", shortened(",".join(cells))
            place, label = _place(cells)
            if place is None:
                yield BadLine(where, "not a clip and a label", text)
            elif not label:
                yield BadLine(where, "empty label", text)
            else:
                yield self._item(*place, label)

    def open(self) -> Writer:
        """Labels are phrases already."""
        return TagWriter(said=False)

    def _item(self, youtube_id: str, start_s: float, label: str) -> Item:
        name = clip_name(youtube_id, start_s)
        return Item(
            name,
            audio=audio_name(name, self.audio_pattern),
            start_s=start_s,
            end_s=start_s + CLIP_S,
            licence=self.licence,
            tags=(label,),
        )


def _place(cells: list[str]) -> tuple[tuple[str, float] | None, str]:
    if len(cells) == 2:
        return split_name(cells[0].partition(".")[0], unit_s=1.0), cells[1]
    if len(cells) >= 3 and is_youtube_id(cells[0]) and cells[1].isdigit():
        return (cells[0], float(cells[1])), cells[2]
    return None, ""
