"""AudioCaps: sentences that people wrote, one or five for a clip of ten seconds (MIT).

Source: Kim et al. 2019, "AudioCaps: Generating Captions for Audios in The Wild". The files are
`audiocap_id,youtube_id,start_time,caption`, the start in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ezaudio.data.clips import BadLine, ClipRow, row_from, shortened, split_in
from ezaudio.data.collections.options import ListOptions
from ezaudio.data.collections.youtube import place_of
from ezaudio.data.manifest import table_of

LICENCE = "MIT (captions)"
COLUMNS = ("youtube_id", "start_time", "caption")


def read_audiocaps(path: Path, options: ListOptions) -> Iterator[ClipRow | BadLine]:
    """AudioCaps: `audiocap_id,youtube_id,start_time,caption`, a row a caption."""
    for record in table_of(path, COLUMNS):
        yield record if isinstance(record, BadLine) else _row(path, *record, options)


def _row(path: Path, where: str, values: dict[str, Any], options: ListOptions) -> ClipRow | BadLine:
    text = shortened(",".join(values.values()))
    place = place_of(values["youtube_id"], unit_s=1.0)
    if place is None:
        return BadLine(where, "not a YouTube id", text)
    if not values["start_time"].replace(".", "", 1).isdigit():
        return BadLine(where, "no start time", text)
    if not values["caption"]:
        return BadLine(where, "empty caption", text)
    place = place._replace(start=float(values["start_time"]))
    clip = options.clip(place, collection="AudioCaps", licence=LICENCE, split=split_in(path.stem))
    return row_from({**clip, "caption": values["caption"]}, where)
