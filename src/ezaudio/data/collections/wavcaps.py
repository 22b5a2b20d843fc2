"""WavCaps: captions that a language model made of what web pages say about their sounds.

Source: Mei et al. 2023, arXiv:2303.17395. The files are JSON, `{"data": [{"id", "caption",
"duration", ...}]}`; one of them is larger than it is wise to hold in memory. Clips of AudioSet are
written `Yb0RFKhbpFJA.wav`, "Y" and the identifier; those of other collections have names and
numbers of their own, some of which look like an identifier but have no "Y" before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ezaudio.data.clips import BadLine, ClipRow, row_from, shortened, split_in
from ezaudio.data.collections.options import ListOptions
from ezaudio.data.collections.youtube import CLIP_S, Place, is_youtube_id
from ezaudio.data.text_files import objects_of

LICENCE = "WavCaps: academic use only"
_ENDINGS = (".wav", ".flac", ".mp3")


def read_wavcaps(path: Path, options: ListOptions) -> Iterator[ClipRow | BadLine]:
    """WavCaps: JSON with an array `data` of `id`, `caption`, `duration`."""
    for found in objects_of(path, "data"):
        if isinstance(found, BadLine):
            yield found
        else:
            yield _row(path, f"{path.name}[{found[0]}]", found[1], options)


def _row(path: Path, where: str, values: dict[str, Any], options: ListOptions) -> ClipRow | BadLine:
    name, caption = values.get("id"), values.get("caption")
    text = shortened(str(values))
    if not isinstance(name, str | int) or not str(name).strip():
        return BadLine(where, "no id", text)
    if not isinstance(caption, str) or not caption.strip():
        return BadLine(where, "empty caption", text)
    duration = values.get("duration") or 0.0
    if not isinstance(duration, int | float) or not 0 <= duration < float("inf"):
        return BadLine(where, "no duration", text)
    stem = str(name).strip()
    for ending in _ENDINGS:
        stem = stem.removesuffix(ending)
    said = {"caption": caption, "duration": float(duration)}
    split = split_in(path.stem)
    if stem[:1] == "Y" and is_youtube_id(stem[1:]):
        place = options.segments.place(Place(stem[1:], None))
        clip = options.clip(place, collection="WavCaps", licence=LICENCE, split=split)
        if place.start is not None:
            clip["end"] = place.start + (float(duration) or CLIP_S)
        return row_from({**clip, **said}, where)
    clip = {
        "file": options.file_named(stem),
        "name": stem,
        "split": options.split or split,
        "license": LICENCE,
        "source_repo": "WavCaps",
        "source_path": stem,
    }
    return row_from({**clip, **said}, where)
