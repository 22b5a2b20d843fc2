"""Auto-ACD: captions of AudioSet and VGGSound clips, made from their pictures and sounds.

Source: Sun et al. 2023, arXiv:2309.11500. The files are CSV with a YouTube id that carries the
start (`ID_30` or `ID_000030` in seconds, `ID_30000` in milliseconds), or with the start in a
column of its own, and a caption.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ezaudio.captions.base import Published, Source, Writer, input_error
from ezaudio.captions.record import BadLine, Item, shortened
from ezaudio.captions.tables import lines_of
from ezaudio.captions.youtube import (
    CLIP_S,
    AudioPattern,
    audio_name,
    clip_name,
    is_youtube_id,
    split_name,
)

_IDS = ("youtube_id", "audio_id", "video_id", "id", "file", "audio")
_STARTS = ("start_time", "start", "start_seconds", "start_time_seconds")
_MILLISECONDS_FROM = 1000


class AutoAcd(Source):
    """Captions of Auto-ACD.

    Attributes:
        start_unit: of a start inside the id: `s`, `ms`, or `auto`, which takes a start without
            leading zeros of 1000 and more that ends in 000 for milliseconds.
        audio_pattern: file of a clip in the audio folder; `{clip}` is `ID_STARTMS`, `{id}` the id.
    """

    kind: Literal["auto_acd"] = "auto_acd"
    start_unit: Literal["s", "ms", "auto"] = "auto"
    audio_pattern: AudioPattern = ""

    def items(self, path: Path) -> Iterator[Item | BadLine]:
        """Read one CSV file; its header says which column is which."""
        lines = lines_of(path)
        first = next((line for line in lines if not isinstance(line, BadLine)), None)
        header = [] if first is None else [cell.lower() for cell in first[1]]
        name = next((column for column in _IDS if column in header), None)
        if name is None or "caption" not in header:
            raise input_error(path, "a CSV file with the columns youtube_id and caption")
        start = next((column for column in _STARTS if column in header), None)
        for line in lines:
            if isinstance(line, BadLine):
                yield line
                continue
            where, text = f"{path.name}:{line[0]}", shortened(",".join(line[1]))
            if len(line[1]) != len(header):
                yield BadLine(where, "wrong number of columns", text)
                continue
            row = dict(zip(header, line[1], strict=True))
            yield self._item(where, row[name], row[start] if start else "", row["caption"])

    def open(self) -> Writer:
        """Captions are there already."""
        return Published()

    def _item(self, where: str, name: str, start: str, caption: str) -> Item | BadLine:
        stem = name.rpartition("/")[2].partition(".")[0]
        if not caption:
            return BadLine(where, "empty caption", shortened(name))
        if is_youtube_id(stem) and start.replace(".", "", 1).isdigit():
            place: tuple[str, float] | None = (stem, float(start))
        else:
            place = split_name(stem, unit_s=self._unit_s(stem))
        if place is None:
            return BadLine(where, "not a YouTube id with a start", shortened(name))
        clip_id = clip_name(*place)
        return Item(
            clip_id,
            audio=audio_name(clip_id, self.audio_pattern),
            start_s=place[1],
            end_s=place[1] + CLIP_S,
            licence=self.licence,
            captions=(caption,),
        )

    def _unit_s(self, stem: str) -> float:
        if self.start_unit != "auto":
            return 1.0 if self.start_unit == "s" else 0.001
        digits = stem.rpartition("_")[2]
        milliseconds = (
            digits.endswith("000")
            and not digits.startswith("0")
            and int(digits) >= _MILLISECONDS_FROM
        )
        return 0.001 if milliseconds else 1.0
