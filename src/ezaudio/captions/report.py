"""The report of a caption set: one HTML file, with players for 50 random pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ezaudio.audio import read_audio
from ezaudio.captions.record import CaptionRecord
from ezaudio.captions.statistics import (
    ORDER_WORDS,
    THRESHOLDS,
    Statistics,
    lower_edge,
    reached,
    statistics_of,
)
from ezaudio.captions.store import CaptionSet
from ezaudio.errors import EzAudioError, InputError
from ezaudio.files import write_bytes
from ezaudio.reports.html import html_page, sound_url
from ezaudio.reports.plots import Histogram

_PLAYED_S = 10.0
_MOST_ROWS = 40


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: its heading.
        text: Markdown below it.
        plots: histograms.
        head: titles of the table's columns.
        rows: cells; whole numbers are grouped by thousands.
    """

    title: str
    text: str = ""
    plots: Sequence[Histogram] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str | int]] = field(default_factory=tuple)


def write_report(
    source: Path, target: Path, *, audio_root: str = "", pairs: int = 50, seed: int = 0
) -> Statistics:
    """Write the report of a caption set.

    Args:
        source: folder of the set.
        target: the HTML file.
        audio_root: folder of the sound files; empty takes what the set says.
        pairs: random pairs with players; their sounds, at most 10 s each, are inside the file.
        seed: chooses the pairs.

    Raises:
        InputError: there is no caption set, or a number of pairs below zero was given.
        OutputError: the file cannot be written.
    """
    if pairs < 0:
        raise InputError("pairs", pairs, "0 or more")
    given = CaptionSet(source)
    given.require()
    card = given.read_card()
    statistics = statistics_of(
        given.records(), given.failures(), pairs=pairs, generator=np.random.default_rng(seed)
    )
    root = Path(audio_root or card.get("audio_root", "") or ".")
    sections = [
        *_counted("By source", statistics.by_source, statistics.captions),
        _scores(statistics, card),
        _lengths(statistics),
        _order(statistics),
        _vocabulary(statistics),
        *_counted("Languages", statistics.by_language, statistics.captions),
        *_counted("Licences", statistics.by_licence, statistics.captions),
        *_counted("What gave no caption, or was noticed", statistics.reasons, None),
    ]
    page = html_page(
        "captions.html",
        f"Captions: {source.name}",
        summary=_summary(statistics),
        sections=sections,
        pairs=[_pair(record, root) for record in statistics.pairs],
    )
    write_bytes(target, page.encode("utf-8", "replace"))
    return statistics


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _summary(statistics: Statistics) -> str:
    mean = statistics.words / statistics.captions if statistics.captions else 0.0
    return (
        f"{statistics.captions:,} captions of {statistics.clips:,} clips; {mean:.1f} words each; "
        f"{len(statistics.vocabulary):,} different words; "
        f"{statistics.profane:,} flagged as profane."
    )


def _counted(title: str, counts: Mapping[str, int], whole: int | None) -> Iterable[Section]:
    """Count by name, the most frequent first; nothing where there is nothing to count."""
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])[:_MOST_ROWS]
    if not ordered:
        return
    if whole is None:
        yield Section(title, head=("", "count"), rows=ordered)
    else:
        rows = [(name, count, _share(count, whole)) for name, count in ordered]
        yield Section(title, head=("", "captions", "share"), rows=rows)


def _scores(statistics: Statistics, card: Mapping[str, Any]) -> Section:
    """Histogram and table; of a filtered set over all pairs that were scored, not those it kept."""
    bins, by_source = statistics.scores, statistics.scores_by_source
    title, about = "CLAP scores", ""
    if card.get("source") == "filter" and "by_source" in card.get("counts", {}):
        counts = card["counts"]
        bins, by_source = counts["histogram"], counts["by_source"]
        threshold = card["settings"]["threshold"]
        title = "CLAP scores before the filter"
        about = (
            f"{sum(bins):,} pairs were scored and {counts['kept']:,} kept, at {threshold:.2f}; "
            f"{counts['without']:,} had no sound that can be read."
        )
    scored = sum(bins)
    if not scored:
        return Section("CLAP scores", f"None: `ezaudio caption filter`.\n\n{about}")
    labels = [f"{lower_edge(index):.2f}" for index in range(len(bins))]
    rows = [
        (f"{threshold:.2f}", kept := reached(bins, threshold), _share(kept, scored))
        for threshold in THRESHOLDS
    ]
    each = [
        Histogram(f"{source}: {sum(counts):,} pairs", labels, counts, every=8)
        for source, counts in sorted(by_source.items())
        if len(by_source) > 1
    ]
    plots = [Histogram(f"{scored:,} pairs", labels, bins, every=8), *each]
    return Section(title, about, plots, ("threshold", "pairs at or above", "share"), rows)


def _lengths(statistics: Statistics) -> Section:
    last = max((i for i, count in enumerate(statistics.lengths) if count), default=0)
    labels = [str(number) for number in range(last + 1)]
    plot = Histogram("", labels, statistics.lengths[: last + 1], every=5)
    return Section("Words in a caption", plots=[plot])


def _order(statistics: Statistics) -> Section:
    whole = statistics.captions
    counts = [(name, statistics.order[name]) for name in ORDER_WORDS]
    counts.append(("any of them", statistics.any_order))
    rows = [(name, count, _share(count, whole)) for name, count in counts]
    return Section("Words of order", head=("", "captions", "share"), rows=rows)


def _vocabulary(statistics: Statistics) -> Section:
    common = statistics.vocabulary.most_common(_MOST_ROWS)
    return Section("Most frequent words", ", ".join(f"{word} ({n:,})" for word, n in common))


def _pair(record: CaptionRecord, root: Path) -> dict[str, Any]:
    """What the page shows of a caption, with the first seconds of its sound."""
    sound, reason = "", "no sound file"
    if record.audio:
        try:
            sound = sound_url(read_audio(root / record.audio), most_s=_PLAYED_S)
        except EzAudioError:
            reason = "sound file not readable"
    score = "" if record.score is None else f" · CLAP {record.score:.2f}"
    about = f"{record.clip_id} · {record.source} · {record.model}{score} · {record.licence}"
    return {
        "sound": sound,
        "reason": reason,
        "caption": record.caption,
        "profane": record.profane,
        "about": about,
    }
