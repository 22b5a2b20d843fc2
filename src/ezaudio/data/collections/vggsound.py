"""VGGSound: one label for a clip of ten seconds (labels CC BY 4.0).

Source: Chen et al. 2020, arXiv:2004.14368. Two published layouts are read: `ID_000300.mp4,label`,
the start in seconds, and `ID,300,label,split`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ezaudio.data.clips import BadLine, ClipRow, row_from, shortened, split_in, split_of
from ezaudio.data.collections.options import ListOptions
from ezaudio.data.collections.youtube import Place, is_youtube_id, place_of
from ezaudio.data.manifest import lines_of

LICENCE = "CC BY 4.0 (labels)"


def read_vggsound(path: Path, options: ListOptions) -> Iterator[ClipRow | BadLine]:
    """VGGSound: `id_start.mp4,label`, or `id,start,label,split`; no header."""
    for line in lines_of(path, delimiter=","):
        if isinstance(line, BadLine):
            yield line
            continue
        number, cells = line
        where, text = f"{path.name}:{number}", shortened(",".join(cells))
        place, label = place_and_label(cells)
        split = split_of(cells[3]) if len(cells) > 3 else split_in(path.stem)
        if place is None:
            yield BadLine(where, "not a clip and a label", text)
        elif not label:
            yield BadLine(where, "empty label", text)
        elif split is None:
            yield BadLine(where, "an unknown split", text)
        else:
            clip = options.clip(place, collection="VGGSound", licence=LICENCE, split=split)
            yield row_from({**clip, "label": label, "tags": [label]}, where)


def place_and_label(cells: Sequence[str]) -> tuple[Place | None, str]:
    """Take a row apart; no place where it is no row of VGGSound."""
    if len(cells) == 2:
        place = place_of(cells[0].rpartition("/")[2].partition(".")[0], unit_s=1.0)
        return (None if place is None or place.start is None else place), cells[1]
    if len(cells) in (3, 4) and is_youtube_id(cells[0]) and cells[1].isdigit():
        return Place(cells[0], float(cells[1])), cells[2]
    return None, ""
