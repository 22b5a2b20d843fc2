"""Auto-ACD: captions of AudioSet and VGGSound clips, made from their pictures and sounds.

Source: Sun et al. 2023, arXiv:2309.11500. The files are CSV with a YouTube identifier and a
caption. Clips of AudioSet are written `YPsERnugT1hs` ("Y" and the identifier, no start), those of
VGGSound `oPRC3zComfA_000117` (the start in seconds). A start of AudioSet's is found in its own
segment lists. Some captions begin with what the language model said before it answered ("The audio
caption for ... could be: ..."); that is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ezaudio.data.clips import BadLine, ClipRow, row_from, shortened, split_in
from ezaudio.data.collections.options import ListOptions
from ezaudio.data.collections.youtube import Place, place_of
from ezaudio.data.manifest import lines_of, table_of
from ezaudio.errors import InputError

LICENCE = ""
IDS = ("youtube_id", "audio_id", "video_id", "id", "file", "audio")
STARTS = ("start_time", "start", "start_seconds", "start_time_seconds")
_PREAMBLE = re.compile(
    r"^\W*(?:(?:sure|certainly|okay)\b[^:]{0,60}[,.!:]\s*)?"
    r"(?:(?:here is|here's|based on)\b[^:]{0,200}:"
    r"|(?:(?:the|an?|one|possible|suitable|suggested|generated)\s+){0,3}(?:audio\s+)?"
    r"(?:caption|description)s?\b[^:]{0,200}:)\s*",
    re.IGNORECASE,
)


def read_auto_acd(path: Path, options: ListOptions) -> Iterator[ClipRow | BadLine]:
    """Auto-ACD: CSV of `youtube_id` (with its start, without, or in a column) and `caption`."""
    first = next((line for line in lines_of(path) if not isinstance(line, BadLine)), None)
    header = [] if first is None else [cell.lower() for cell in first[1]]
    name = next((column for column in IDS if column in header), None)
    if name is None or "caption" not in header:
        allowed = "a CSV file with the columns youtube_id and caption"
        raise InputError("manifest", str(path), allowed)
    start = next((column for column in STARTS if column in header), None)
    for record in table_of(path):
        if isinstance(record, BadLine):
            yield record
            continue
        where, values = record
        yield _row(path, where, (values[name], values[start] if start else ""), values, options)


def without_preamble(caption: str) -> str:
    """A caption without what a language model said before it, and without its quotation marks."""
    rest = _PREAMBLE.sub("", caption, count=1).strip()
    if not rest:
        return caption.strip()
    if rest != caption.strip() and rest[0] in "\"'“":
        rest = rest[1:].rstrip().removesuffix('"').removesuffix("'").removesuffix("”")
    return rest[:1].upper() + rest[1:] if rest != caption.strip() else rest


def _row(
    path: Path, where: str, clip: tuple[str, str], values: dict[str, Any], options: ListOptions
) -> ClipRow | BadLine:
    name, start = clip
    if not values["caption"]:
        return BadLine(where, "empty caption", shortened(name))
    place = place_of(name.rpartition("/")[2].partition(".")[0], unit_s=options.unit_s)
    if place is None:
        return BadLine(where, "not a YouTube id", shortened(name))
    if place.start is None and start.replace(".", "", 1).isdigit():
        place = Place(place.id, float(start))
    place = options.segments.place(place)
    told = options.clip(place, collection="Auto-ACD", licence=LICENCE, split=split_in(path.stem))
    return row_from({**told, "caption": without_preamble(values["caption"])}, where)
