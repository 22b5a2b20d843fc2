"""What a caption set is like, counted in one pass over it: sources, scores, lengths, words, order.
Scores are counted in bins, from which follows how many pairs reach each threshold of the paper's
Table 2.

Memory is bounded: the vocabulary keeps its most frequent words where it grows beyond a limit, the
random pairs are a reservoir, and which clips were seen is kept on disk.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ezaudio.captions.dedup_index import DedupIndex
from ezaudio.captions.record import CaptionRecord, Failure

BINS = 40
"""Bins from -1 to 1, 0.05 wide, so that the thresholds are edges of bins."""

THRESHOLDS = (0.30, 0.35, 0.40, 0.45, 0.50)
"""Rows of the table."""

_HAIR = 1e-9
"""A score that is a threshold up to rounding belongs to the bin that begins there."""

ORDER_WORDS = {
    "then": r"\bthen\b",
    "followed by": r"\bfollowed by\b",
    "while": r"\bwhile\b",
    "as": r"\bas\b",
    "before": r"\bbefore\b",
    "after": r"\bafter\b",
    "finally": r"\bfinally\b",
    "again": r"\bagain\b",
    "twice, times": r"\b(?:twice|times)\b",
    "background": r"\bbackground\b",
}
"""Words that say how sounds lie in time."""

_PATTERNS = {name: re.compile(pattern, re.I) for name, pattern in ORDER_WORDS.items()}
_WORD = re.compile(r"[a-z']+")
_MOST_WORDS = 200_000
_LONGEST = 60


@dataclass
class Statistics:
    """Counts of a caption set.

    Attributes:
        captions: records.
        clips: different clips.
        by_source: captions by source and model.
        by_language, by_licence: captions.
        profane: captions that are flagged.
        scores: pairs in each of `BINS` bins from -1 to 1.
        scores_by_source: the same for each source.
        scored: pairs with a score.
        lengths: captions by number of words, the last for all longer ones.
        vocabulary: word to occurrences.
        words: of all captions.
        order: captions with each of `ORDER_WORDS`.
        any_order: captions with at least one of them.
        reasons: failures, counted.
        pairs: random records.
    """

    captions: int = 0
    clips: int = 0
    by_source: Counter[str] = field(default_factory=Counter)
    by_language: Counter[str] = field(default_factory=Counter)
    by_licence: Counter[str] = field(default_factory=Counter)
    profane: int = 0
    scores: list[int] = field(default_factory=lambda: [0] * BINS)
    scores_by_source: dict[str, list[int]] = field(default_factory=dict)
    scored: int = 0
    lengths: list[int] = field(default_factory=lambda: [0] * (_LONGEST + 1))
    vocabulary: Counter[str] = field(default_factory=Counter)
    words: int = 0
    order: Counter[str] = field(default_factory=Counter)
    any_order: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    pairs: list[CaptionRecord] = field(default_factory=list)


def statistics_of(
    records: Iterable[CaptionRecord],
    failures: Iterable[Failure] = (),
    *,
    pairs: int = 50,
    generator: np.random.Generator,
) -> Statistics:
    """Count a caption set.

    Args:
        records: its captions.
        failures: what gave none.
        pairs: how many random records are kept.
        generator: chooses them.
    """
    statistics = Statistics()
    with DedupIndex() as index:
        for record in records:
            statistics.captions += 1
            statistics.clips += index.first(record.clip_id)
            _count_marks(statistics, record)
            _count_words(statistics, record.caption)
            _keep(statistics, record, pairs, generator)
    for failure in failures:
        statistics.reasons[failure.reason] += 1
    return statistics


def _count_marks(statistics: Statistics, record: CaptionRecord) -> None:
    statistics.by_source[f"{record.source} · {record.model}"] += 1
    statistics.by_language[record.language] += 1
    statistics.by_licence[record.licence or "not stated"] += 1
    statistics.profane += record.profane
    if record.score is not None:
        statistics.scored += 1
        statistics.scores[bin_of(record.score)] += 1
        statistics.scores_by_source.setdefault(record.source, [0] * BINS)[bin_of(record.score)] += 1


def _count_words(statistics: Statistics, caption: str) -> None:
    words = _WORD.findall(caption.lower())
    statistics.words += len(words)
    statistics.lengths[min(_LONGEST, len(words))] += 1
    statistics.vocabulary.update(words)
    if len(statistics.vocabulary) > _MOST_WORDS:
        statistics.vocabulary = Counter(dict(statistics.vocabulary.most_common(_MOST_WORDS // 2)))
    order_words = [name for name, pattern in _PATTERNS.items() if pattern.search(caption)]
    statistics.order.update(order_words)
    statistics.any_order += bool(order_words)


def _keep(
    statistics: Statistics, record: CaptionRecord, pairs: int, generator: np.random.Generator
) -> None:
    """Reservoir sampling: every record is as likely to be among the pairs."""
    if len(statistics.pairs) < pairs:
        statistics.pairs.append(record)
    elif pairs and (place := int(generator.integers(statistics.captions))) < pairs:
        statistics.pairs[place] = record


def bin_of(score: float) -> int:
    """Number of a score's bin; scores beyond the ends go into the last."""
    return min(BINS - 1, max(0, int((score + 1) / 2 * BINS + _HAIR)))


def lower_edge(index: int) -> float:
    """Lowest score of a bin."""
    return 2 * index / BINS - 1


def reached(bins: Sequence[int], threshold: float) -> int:
    """Count the pairs at or above a threshold that is an edge of a bin."""
    return sum(bins[bin_of(threshold) :])
