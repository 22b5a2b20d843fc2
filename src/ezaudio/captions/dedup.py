"""Drops what is there twice, exactly or nearly: captions of one clip, and clips of one recording.

The same words under different recordings are no duplicates: many dogs bark. Captions are compared
within their clip, or within the whole set where that is asked for. Clips with the same sound
become one clip, which keeps the captions of both. What came before is kept on disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from ezaudio.captions.dedup_index import CaptionIndex, DedupIndex, SoundIndex
from ezaudio.captions.lock import locked
from ezaudio.captions.record import CaptionRecord, Failure, now
from ezaudio.captions.store import CaptionSet, SetWriter, common_root, write_rows
from ezaudio.config import Config

_FAILURES_A_PART = 20_000


class DedupSettings(Config):
    """What counts as the same.

    Attributes:
        within: captions are compared inside each `clip`, or in the whole `set`.
        similarity: shared words and pairs of words, from 0 to 1, from which captions are the same;
            1 compares exactly.
        sounds: compare sound files: `no`, `exact` (same bytes), or `near` (same recording).
        audio_root: folder that the records' sound files lie in.
    """

    within: Literal["clip", "set"] = "clip"
    similarity: float = Field(0.8, gt=0, le=1)
    sounds: Literal["no", "exact", "near"] = "no"
    audio_root: str = ""


@dataclass(frozen=True, slots=True)
class DedupSummary:
    """What was found.

    Attributes:
        captions: read.
        kept: written.
        reasons: what was dropped or joined, counted.
    """

    captions: int
    kept: int
    reasons: dict[str, int]


def dedup_set(
    sources: Sequence[Path],
    target: Path,
    *,
    settings: DedupSettings,
    progress: Callable[[int, int], None] | None = None,
) -> DedupSummary:
    """Make one new set without duplicates of one set, or of several.

    Args:
        sources: folders of caption sets; what comes first is kept.
        target: folder of the new one.
        settings: what counts as the same.
        progress: hears how many captions were read and kept.

    Raises:
        InputError: there is no caption set, the new folder is one of those that are read or holds
            other captions, or the sounds of the sets lie in different folders.
        OutputError: the new folder cannot be written.
    """
    sets, new_set = [CaptionSet(source) for source in sources], CaptionSet(target)
    for caption_set in sets:
        caption_set.require()
    settings = settings.model_copy(update={"audio_root": common_root(sources, settings.audio_root)})
    with locked(new_set, "dedup", sources=sources):
        new_set.write_card({"format": 1, "source": "dedup", "finished": False})
        new_set.drop_parts_from(0)
        records = (record for caption_set in sets for record in caption_set.records())
        summary = _sieve(records, new_set, settings, progress)
        card = {
            "format": 1,
            "source": "dedup",
            "of": [str(source) for source in sources],
            "settings": settings.model_dump(mode="json"),
            "audio_root": settings.audio_root,
            "counts": {name: getattr(summary, name) for name in DedupSummary.__slots__},
            "finished": True,
        }
        new_set.write_card(card)
    return summary


def _sieve(
    records: Iterable[CaptionRecord],
    new_set: CaptionSet,
    settings: DedupSettings,
    progress: Callable[[int, int], None] | None,
) -> DedupSummary:
    """Write what is new, and note what is not."""
    writer, failures = SetWriter(new_set), _Failures(new_set)
    read = 0
    with DedupIndex() as index:
        look = _Look(settings, index)
        for record in records:
            read += 1
            joined, notes = look(record)
            for reason, of in notes:
                failures.add(record, reason, of)
            if joined is not None:
                writer.add(joined)
            if progress is not None and read % 10_000 == 0:
                progress(read, writer.written)
    writer.flush()
    failures.flush()
    return DedupSummary(read, writer.written, dict(failures.reasons))


class _Failures:
    """Notes what was dropped, a part at a time."""

    def __init__(self, new_set: CaptionSet) -> None:
        self._new_set, self._rows, self._next = new_set, list[Failure](), 0
        self.reasons: Counter[str] = Counter()

    def add(self, record: CaptionRecord, reason: str, of: str) -> None:
        self.reasons[reason] += 1
        final = "caption" in reason
        self._rows.append(Failure(record.clip_id, record.source, reason, of[:200], 0, final, now()))
        if len(self._rows) >= _FAILURES_A_PART:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            write_rows(self._new_set.part(self._next, "failures"), self._rows, Failure)
            self._next, self._rows = self._next + 1, []


class _Look:
    """Compares records with what came before."""

    def __init__(self, settings: DedupSettings, index: DedupIndex) -> None:
        self._settings = settings
        self._texts = CaptionIndex(index, settings.similarity, across=settings.within == "set")
        self._sounds = SoundIndex(index, Path(settings.audio_root), near=settings.sounds == "near")

    def __call__(self, record: CaptionRecord) -> tuple[CaptionRecord | None, list[tuple[str, str]]]:
        """Give the record to keep, or None, and what was noticed: why, and of what it is a copy."""
        notes = []
        if self._settings.sounds != "no" and record.audio:
            record, reason, of = self._sounds.joined(record)
            notes += [(reason, of)] if reason else []
        scope = record.clip_id if self._settings.within == "clip" else ""
        reason, like = self._texts.look(scope, record.caption)
        return (None, [*notes, (reason, like)]) if reason else (record, notes)
