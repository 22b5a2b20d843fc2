"""The CLAP filter (Sec. 2.4 and Table 2 of the paper): keep pairs whose similarity is high enough.

Scoring is done once, shard by shard and on as many machines as there are; choosing afterwards is
cheap, so that another threshold or another number of captions per clip asks nothing of the model.
Default threshold 0.40, as in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from ezaudio.captions.executors.job import Executor
from ezaudio.captions.lock import locked
from ezaudio.captions.record import CaptionRecord
from ezaudio.captions.scoring import ScoreJob, ScoreSettings, ScoreTask
from ezaudio.captions.statistics import BINS, THRESHOLDS, bin_of, reached
from ezaudio.captions.store import CaptionSet, SetWriter, read_rows
from ezaudio.captions.tables import Grouped
from ezaudio.config import Config
from ezaudio.errors import InputError


class FilterSettings(Config):
    """What is kept.

    Attributes:
        threshold: lowest similarity.
        top_k: most captions of one clip, the best first; None for all.
        score: how pairs are scored.
    """

    threshold: float = Field(0.40, ge=-1, le=1, description="Lowest similarity that is kept.")
    top_k: int | None = Field(None, ge=1, description="Most captions of one clip, the best.")
    score: ScoreSettings = ScoreSettings()


@dataclass(frozen=True, slots=True)
class FilterSummary:
    """What the filter found.

    Attributes:
        pairs: with a score.
        without: pairs without one, because their sound cannot be read.
        kept: pairs that pass.
        heard: sounds that were not in the cache.
        histogram: pairs in each of `BINS` bins from -1 to 1.
        by_source: the same for each source.
        table: threshold to pairs that would be kept.
    """

    pairs: int
    without: int
    kept: int
    heard: int
    histogram: tuple[int, ...]
    by_source: dict[str, tuple[int, ...]]
    table: dict[str, int]


def filter_set(
    source: Path,
    target: Path,
    *,
    settings: FilterSettings,
    executor: Executor,
    progress: Callable[[int, int], None] | None = None,
) -> FilterSummary:
    """Score a caption set and keep what fits.

    Args:
        source: folder of a caption set.
        target: folder of the new one; started again, it goes on.
        settings: what is kept.
        executor: where pairs are scored.
        progress: hears how many pairs have been scored, and how many sounds were heard.

    Raises:
        InputError: there is no caption set, no sound of it can be read, or the new folder is the
            one that is read or holds other captions.
        CheckpointError: the model or a shard is damaged.
        OutputError: the new folder cannot be written.
    """
    old_set, new_set = CaptionSet(source.absolute()), CaptionSet(target.absolute())
    old_set.require()
    with locked(new_set, "filter", sources=[source]):
        new_set.write_card({"format": 1, "source": "filter", "finished": False})
        heard = _score(old_set, new_set, settings.score, executor, progress)
        summary = _select(new_set, settings, heard)
        if summary.without and not summary.pairs:
            raise _silent(settings.score, new_set, summary.without)
        card = {
            "format": 1,
            "source": "filter",
            "of": str(source),
            "settings": settings.model_dump(mode="json"),
            "audio_root": settings.score.audio_root,
            "counts": {name: getattr(summary, name) for name in FilterSummary.__slots__},
            "finished": True,
        }
        new_set.write_card(card)
    return summary


def _score(
    old_set: CaptionSet,
    new_set: CaptionSet,
    settings: ScoreSettings,
    executor: Executor,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Score every shard; give how many sounds were heard."""
    tasks = [ScoreTask(str(part), index) for index, part in enumerate(old_set.parts())]
    heard = pairs = 0
    for done in executor.run(ScoreJob(settings, str(new_set.folder)), tasks):
        heard, pairs = heard + done.heard, pairs + done.scored + done.without
        if progress is not None:
            progress(pairs, heard)
    new_set.drop_parts_from(len(tasks), ("scored", "failures"))
    return heard


def _silent(settings: ScoreSettings, new_set: CaptionSet, pairs: int) -> InputError:
    """Drop shards without a single score, and say why nothing could be heard."""
    why = next((failure.detail for failure in new_set.failures()), "")
    new_set.drop_parts_from(0)
    allowed = (
        f"the folder of the sound files; none of {pairs} pairs has one that can be read ({why})"
    )
    return InputError("audio", settings.audio_root, allowed)


def _select(new_set: CaptionSet, settings: FilterSettings, heard: int) -> FilterSummary:
    by_source: dict[str, list[int]] = {}
    counts = {"pairs": 0, "without": 0}

    def counted() -> Iterator[CaptionRecord]:
        for part in new_set.parts("scored"):
            for record in read_rows(part, CaptionRecord):
                if record.score is None:
                    counts["without"] += 1
                    continue
                counts["pairs"] += 1
                by_source.setdefault(record.source, [0] * BINS)[bin_of(record.score)] += 1
                if record.score >= settings.threshold:
                    yield record

    writer = SetWriter(new_set)
    writer.extend(counted() if settings.top_k is None else best_of(counted(), settings.top_k))
    writer.flush()
    histogram = [sum(bins) for bins in zip([0] * BINS, *by_source.values(), strict=True)]
    return FilterSummary(
        **counts,
        kept=writer.written,
        heard=heard,
        histogram=tuple(histogram),
        by_source={source: tuple(bins) for source, bins in by_source.items()},
        table={f"{threshold:.2f}": reached(histogram, threshold) for threshold in THRESHOLDS},
    )


def best_of(records: Iterable[CaptionRecord], most: int) -> Iterator[CaptionRecord]:
    """Keep the best captions of each clip, the best first; clips in the order of their first."""
    with Grouped() as clips:
        for record in records:
            row = astuple(record)
            clips.add(record.clip_id, (*row[:-1], record.created.isoformat()))
        for _, rows in clips.groups():
            captions = [_record(row) for row in rows]
            yield from sorted(captions, key=lambda record: -(record.score or 0.0))[:most]


def _record(row: list[Any]) -> CaptionRecord:
    values = [*row[:-1], datetime.fromisoformat(row[-1])]
    return CaptionRecord(*values)
