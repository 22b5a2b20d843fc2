"""What a caption set is like, counted in one pass over it: sources, scores, lengths, words, order.

Memory is bounded: the vocabulary keeps its most frequent words where it grows beyond a limit, the
random pairs are a reservoir, and which clips were seen is kept on disk.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ezaudio.captions.histogram import BINS, bin_of
from ezaudio.captions.record import CaptionRecord, Failure
from ezaudio.captions.seen import Seen

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
    found = Statistics()
    with Seen() as seen:
        for record in records:
            found.captions += 1
            found.clips += seen.first(record.clip_id)
            _count_marks(found, record)
            _count_words(found, record.caption)
            _keep(found, record, pairs, generator)
    for failure in failures:
        found.reasons[failure.reason] += 1
    return found


def _count_marks(found: Statistics, record: CaptionRecord) -> None:
    found.by_source[f"{record.source} · {record.model}"] += 1
    found.by_language[record.language] += 1
    found.by_licence[record.licence or "not stated"] += 1
    found.profane += record.profane
    if record.score is not None:
        found.scored += 1
        found.scores[bin_of(record.score)] += 1
        found.scores_by_source.setdefault(record.source, [0] * BINS)[bin_of(record.score)] += 1


def _count_words(found: Statistics, caption: str) -> None:
    words = _WORD.findall(caption.lower())
    found.words += len(words)
    found.lengths[min(_LONGEST, len(words))] += 1
    found.vocabulary.update(words)
    if len(found.vocabulary) > _MOST_WORDS:
        found.vocabulary = Counter(dict(found.vocabulary.most_common(_MOST_WORDS // 2)))
    there = [name for name, pattern in _PATTERNS.items() if pattern.search(caption)]
    found.order.update(there)
    found.any_order += bool(there)


def _keep(
    found: Statistics, record: CaptionRecord, pairs: int, generator: np.random.Generator
) -> None:
    """Reservoir sampling: every record is as likely to be among the pairs."""
    if len(found.pairs) < pairs:
        found.pairs.append(record)
    elif pairs and (place := int(generator.integers(found.captions))) < pairs:
        found.pairs[place] = record
