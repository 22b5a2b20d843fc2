"""WavCaps: captions that a language model made of what web pages say about their sounds.

Source: Mei et al. 2023, arXiv:2303.17395. The files are JSON, `{"data": [{"id", "caption",
"duration", ...}]}`; one of them is larger than it is wise to hold in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ezaudio.captions.base import Published, Source, Writer
from ezaudio.captions.record import BadLine, Item, shortened
from ezaudio.captions.tables import objects_of
from ezaudio.captions.youtube import AudioPattern, audio_name


class WavCaps(Source):
    """Captions of WavCaps.

    Attributes:
        audio_pattern: file of a clip in the audio folder; `{clip}` is its id without extension.
        longest_s: longer recordings are left out, with that reason; 0 keeps them all.
    """

    kind: Literal["wavcaps"] = "wavcaps"
    licence: str = "WavCaps: academic use only"
    audio_pattern: AudioPattern = ""
    longest_s: float = 0.0

    def items(self, path: Path) -> Iterator[Item | BadLine]:
        """Read one JSON file."""
        for row in objects_of(path, "data"):
            if isinstance(row, BadLine):
                yield row
            else:
                yield self._item(f"{path.name}[{row[0]}]", row[1])

    def open(self) -> Writer:
        """Captions are there already."""
        return Published()

    def _item(self, where: str, row: dict[str, Any]) -> Item | BadLine:
        name, caption = row.get("id"), row.get("caption")
        text = shortened(str(row))
        if not isinstance(name, str | int) or not str(name).strip():
            return BadLine(where, "no id", text)
        if not isinstance(caption, str) or not caption.strip():
            return BadLine(where, "empty caption", text)
        duration = row.get("duration", 0.0)
        if not isinstance(duration, int | float) or not 0 <= duration < float("inf"):
            return BadLine(where, "no duration", text)
        if 0 < self.longest_s < duration:
            return BadLine(where, "too long", text)
        clip_id = str(name).removesuffix(".wav").removesuffix(".flac")
        return Item(
            clip_id,
            audio=audio_name(clip_id, self.audio_pattern),
            end_s=float(duration),
            licence=self.licence,
            captions=(caption,),
        )
