"""AudioSet's weak labels: names of what occurs in ten seconds -> sentences (labels CC BY 4.0).

Two published layouts are read: segments in CSV (`YTID, start_seconds, end_seconds, "mid,mid"`,
lines of `#` before them), and one label a line in TSV (`filename event_label`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ezaudio.captions.base import Source, Writer, input_error
from ezaudio.captions.names import Labels
from ezaudio.captions.record import BadLine, Item, shortened
from ezaudio.captions.sources.tags import TagWriter
from ezaudio.captions.tables import Grouped, lines_of
from ezaudio.captions.youtube import (
    CLIP_S,
    AudioPattern,
    audio_name,
    clip_name,
    is_youtube_id,
    split_name,
)


class AudioSetWeak(Source):
    """Sentences from AudioSet's tags.

    Attributes:
        names: file of mids and names; without it, labels have to be names.
        audio_pattern: file of a clip in the audio folder; `{clip}` is `ID_STARTMS`, `{id}` the id.
    """

    kind: Literal["audioset_weak"] = "audioset_weak"
    licence: str = "CC BY 4.0 (labels)"
    names: str | None = None
    audio_pattern: AudioPattern = ""

    def items(self, path: Path) -> Iterator[Item | BadLine]:
        """Read segments (CSV), or labels (TSV)."""
        labels = Labels(self.names)
        return self._of_tsv(path, labels) if path.suffix == ".tsv" else self._of_csv(path, labels)

    def open(self) -> Writer:
        """Tags are joined by rule."""
        return TagWriter()

    def _of_csv(self, path: Path, labels: Labels) -> Iterator[Item | BadLine]:
        for line in lines_of(path):
            if isinstance(line, BadLine):
                yield line
                continue
            number, cells = line
            if cells[0].startswith("#"):
                continue
            where, text = f"{path.name}:{number}", shortened(",".join(cells))
            if len(cells) < 4 or not is_youtube_id(cells[0]):
                yield BadLine(where, "not a segment", text)
                continue
            try:
                start_s, end_s = float(cells[1]), float(cells[2])
            except ValueError:
                yield BadLine(where, "times are not numbers", text)
                continue
            mids = next(csv.reader([",".join(cells[3:])]), [])
            name = clip_name(cells[0], start_s)
            yield from self._found(where, name, (start_s, end_s), mids, labels)

    def _of_tsv(self, path: Path, labels: Labels) -> Iterator[Item | BadLine]:
        lines = lines_of(path, delimiter="\t")
        first = next((line for line in lines if not isinstance(line, BadLine)), None)
        if first is None or [cell.lower() for cell in first[1]] != ["filename", "event_label"]:
            raise input_error(path, "a TSV file with the columns filename, event_label")
        with Grouped() as clips:
            for line in lines:
                if isinstance(line, BadLine):
                    yield line
                elif len(line[1]) != 2 or not split_name(line[1][0], unit_s=1.0):
                    text = shortened("\t".join(line[1]))
                    yield BadLine(f"{path.name}:{line[0]}", "not a clip and a label", text)
                else:
                    clips.add(*line[1])
            for clip, mids in clips.groups():
                youtube_id, start_s = split_name(clip, unit_s=1.0) or (clip, 0.0)
                span = (start_s, start_s + CLIP_S)
                name = clip_name(youtube_id, start_s)
                yield from self._found(clip, name, span, mids, labels)

    def _found(
        self, where: str, name: str, span: tuple[float, float], mids: list[str], labels: Labels
    ) -> Iterator[Item | BadLine]:
        """Give the clip with the labels that are known; each other label counts as a bad line."""
        named = [(mid.strip(), labels.name(mid.strip())) for mid in mids]
        for mid, label in named:
            if label is None:
                yield BadLine(where, "unknown label", shortened(mid))
        known = tuple(label for _, label in named if label)
        if known:
            yield Item(
                name,
                audio=audio_name(name, self.audio_pattern),
                start_s=span[0],
                end_s=span[1],
                licence=self.licence,
                tags=known,
            )
