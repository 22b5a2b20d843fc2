"""Events with times -> what a sentence has to say: who comes first, what overlaps, what comes
again.

A **mention** is one thing that the sentence says. Pieces of one kind that nearly touch are one
mention; one kind several times in a row, with nothing else in between, is one mention with a
count; the same kind later, after something else, is another mention. Where that makes too many, a
kind that keeps coming back is said once, as scattered over its time. **Steps** are mentions that
begin together, in order of their onset; a step says whether the one before it still goes on when
it begins. What lies under everything else is the **background**.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ezaudio.captions.record import Event

TOUCHING_S = 0.25
"""A gap of one kind up to here is no gap."""

TOGETHER_S = 0.3
"""Onsets this near count as one, where the sounds overlap."""

SAME_MOMENT_S = 0.05
"""Onsets this near count as one in any case."""


@dataclass(frozen=True, slots=True)
class Mention:
    """One thing that the sentence says.

    Attributes:
        label: kind of sound.
        start_s: first onset.
        end_s: last offset.
        count: how many times in a row.
        again: the kind was mentioned before.
        scattered: other sounds begin between its `count` pieces.
    """

    label: str
    start_s: float
    end_s: float
    count: int = 1
    again: bool = False
    scattered: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """Mentions that begin together.

    Attributes:
        mentions: at least one.
        overlaps: the step before still goes on.
    """

    mentions: tuple[Mention, ...]
    overlaps: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything that a sentence has to say.

    Attributes:
        steps: in order.
        background: what lies under all of the steps; None when there is no such thing.
        left_out: kinds that were too many, the shortest sounds first.
    """

    steps: tuple[Step, ...]
    background: Mention | None = None
    left_out: tuple[str, ...] = ()

    @property
    def mentions(self) -> tuple[Mention, ...]:
        """All mentions by onset, the background first."""
        under = (self.background,) if self.background else ()
        return under + tuple(mention for step in self.steps for mention in step.mentions)


def timeline_of(events: Sequence[Event], *, most_mentions: int = 6) -> Timeline:
    """Order events for a sentence.

    Args:
        events: in any order, overlapping or not; at least one.
        most_mentions: above this, whole kinds are left out, those that sound for the shortest time
            first, so that what is said stays true.
    """
    pieces, left_out = _joined(events), []
    mentions = _counted(pieces)
    while len(mentions) > most_mentions:
        if (busiest := _busiest(mentions)) is not None:
            pieces = _gathered(pieces, busiest)
        else:
            left_out.append(_least(pieces))
            pieces = [piece for piece in pieces if piece.label != left_out[-1]]
        mentions = _counted(pieces)
    background = _background(mentions)
    rest = [mention for mention in mentions if mention is not background]
    return Timeline(_steps(rest), background, tuple(left_out))


def _joined(events: Sequence[Event]) -> list[Mention]:
    """Join pieces of one kind that nearly touch; sort by onset."""
    by_label: dict[str, list[Mention]] = defaultdict(list)
    for event in sorted(events, key=lambda event: (event.start_s, event.end_s)):
        pieces = by_label[event.label]
        end_s = max(event.start_s, event.end_s)
        if pieces and event.start_s - pieces[-1].end_s <= TOUCHING_S:
            pieces[-1] = replace(pieces[-1], end_s=max(end_s, pieces[-1].end_s))
        else:
            pieces.append(Mention(event.label, event.start_s, end_s))
    found = [piece for pieces in by_label.values() for piece in pieces]
    return sorted(found, key=lambda piece: (piece.start_s, piece.end_s, piece.label))


def _counted(pieces: Sequence[Mention]) -> list[Mention]:
    """Count what comes several times in a row; mark what comes again later."""
    mentions: list[Mention] = []
    last: dict[str, int] = {}
    for piece in pieces:
        at = last.get(piece.label)
        between = [] if at is None else mentions[at + 1 :]
        if at is not None and not between:
            here = mentions[at]
            count = here.count + piece.count
            mentions[at] = replace(here, end_s=max(here.end_s, piece.end_s), count=count)
            continue
        last[piece.label] = len(mentions)
        mentions.append(replace(piece, again=at is not None))
    return mentions


def _busiest(mentions: Sequence[Mention]) -> str | None:
    """Find the kind with the most mentions, if it has three or more."""
    counts = Counter(mention.label for mention in mentions)
    label, count = min(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return label if count >= 3 else None


def _gathered(pieces: Sequence[Mention], label: str) -> list[Mention]:
    """Make one piece of all those of a kind, scattered from the first onset to the last offset."""
    own = [piece for piece in pieces if piece.label == label]
    end_s = max(piece.end_s for piece in own)
    count = sum(piece.count for piece in own)
    whole = replace(own[0], end_s=end_s, count=count, scattered=True)
    rest = [piece for piece in pieces if piece.label != label]
    return sorted([whole, *rest], key=lambda piece: (piece.start_s, piece.end_s, piece.label))


def _least(pieces: Sequence[Mention]) -> str:
    length: dict[str, float] = defaultdict(float)
    for piece in pieces:
        length[piece.label] += piece.end_s - piece.start_s
    return min(length, key=lambda label: (length[label], label))


def _background(mentions: Sequence[Mention]) -> Mention | None:
    """Find what begins with or before all others and still sounds when the last of them begins."""
    if len(mentions) < 3:
        return None
    longest = max(mentions, key=lambda mention: mention.end_s - mention.start_s)
    others = [mention for mention in mentions if mention is not longest]
    alone = (longest.count == 1 or longest.scattered) and all(
        other.label != longest.label for other in others
    )
    first = min(other.start_s for other in others)
    last = max(other.start_s for other in others)
    covers = longest.start_s <= first + TOGETHER_S and longest.end_s > last + TOGETHER_S
    return longest if alone and covers else None


def _steps(mentions: Sequence[Mention]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for mention in mentions:
        if steps and _together(steps[-1], mention):
            steps[-1] = replace(steps[-1], mentions=(*steps[-1].mentions, mention))
            continue
        before = steps[-1].mentions if steps else ()
        overlaps = any(other.end_s > mention.start_s + TOGETHER_S for other in before)
        steps.append(Step((mention,), overlaps))
    return tuple(steps)


def _together(step: Step, mention: Mention) -> bool:
    """True when the mention begins with the step: at the same moment, or nearly, and
    overlapping.
    """

    def with_it(other: Mention) -> bool:
        apart_s = abs(mention.start_s - other.start_s)
        overlap_s = min(mention.end_s, other.end_s) - max(mention.start_s, other.start_s)
        same = apart_s <= SAME_MOMENT_S or (apart_s <= TOGETHER_S and overlap_s > 0)
        return same and mention.label != other.label

    return all(with_it(other) for other in step.mentions)
