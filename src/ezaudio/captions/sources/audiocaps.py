"""AudioCaps: sentences that people wrote, one or five for a clip of ten seconds (MIT).

Source: Kim et al. 2019, "AudioCaps: Generating Captions for Audios in The Wild". The files are
`audiocap_id,youtube_id,start_time,caption`, the start in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ezaudio.captions.base import Published, Source, Writer
from ezaudio.captions.record import BadLine, Item, shortened
from ezaudio.captions.tables import rows_of
from ezaudio.captions.youtube import CLIP_S, AudioPattern, audio_name, clip_name, is_youtube_id


class AudioCaps(Source):
    """Captions of AudioCaps, version 1 or 2.

    Attributes:
        audio_pattern: file of a clip in the audio folder; `{clip}` is `ID_STARTMS`, `{id}` the id.
    """

    kind: Literal["audiocaps"] = "audiocaps"
    licence: str = "MIT (captions)"
    audio_pattern: AudioPattern = ""

    def items(self, path: Path) -> Iterator[Item | BadLine]:
        """Read `train.csv`, `val.csv` or `test.csv`."""
        for row in rows_of(path, ("youtube_id", "start_time", "caption")):
            yield row if isinstance(row, BadLine) else self._item(path, *row)

    def open(self) -> Writer:
        """Captions are there already."""
        return Published()

    def _item(self, path: Path, number: int, row: dict[str, str]) -> Item | BadLine:
        where, text = f"{path.name}:{number}", shortened(",".join(row.values()))
        if not is_youtube_id(row["youtube_id"]):
            return BadLine(where, "not a YouTube id", text)
        if not row["start_time"].replace(".", "", 1).isdigit():
            return BadLine(where, "no start time", text)
        if not row["caption"]:
            return BadLine(where, "empty caption", text)
        start_s = float(row["start_time"])
        name = clip_name(row["youtube_id"], start_s)
        return Item(
            name,
            audio=audio_name(name, self.audio_pattern),
            start_s=start_s,
            end_s=start_s + CLIP_S,
            licence=self.licence,
            captions=(row["caption"],),
        )
