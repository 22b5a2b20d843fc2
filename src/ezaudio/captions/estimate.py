"""What a run would ask for and cost, before it asks for anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ezaudio.captions.answers import Answers
from ezaudio.captions.asking import Asking
from ezaudio.captions.record import BadLine
from ezaudio.captions.shards import CaptionSet
from ezaudio.captions.writer import Source

_KEYS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is to be expected if every first answer is taken.

    Attributes:
        clips: in the input.
        bad_lines: of the input.
        requests: clips that have no answer yet.
        tokens: in and out.
        cost: of them, in the currency of the prices.
        priced: False when the price of a token is not known.
    """

    clips: int
    bad_lines: int
    requests: int
    tokens: int
    cost: float
    priced: bool


def estimate(source: Source, inputs: Sequence[Path], folder: Path) -> Estimate:
    """Read the input once and count; nothing is asked or written.

    Args:
        source: reads and asks.
        inputs: as of the run.
        folder: of the caption set, whose answers are not asked for again.

    Raises:
        InputError: an input cannot be read.
    """
    writer = source.open() if source.asks() else None
    asker = writer if isinstance(writer, Asking) else None
    counts = _Counts(asker, CaptionSet(folder).answers)
    try:
        for found in source.items_of(inputs):
            if isinstance(found, BadLine):
                counts.bad_lines += 1
                continue
            counts.clips += 1
            if asker is not None and (key := asker.keys([found])[0]):
                counts.wait(key, *asker.estimate(found))
        counts.settle()
    finally:
        counts.close()
    priced = asker is None or asker.priced
    return Estimate(
        counts.clips, counts.bad_lines, counts.requests, counts.tokens, counts.cost, priced
    )


class _Counts:
    """Adds up what has no answer yet, a few hundred clips at a time."""

    def __init__(self, asker: Asking | None, answers: Path) -> None:
        there = asker is not None and answers.exists()
        self._answers = Answers(answers) if there else None
        self._waiting: dict[str, tuple[int, float]] = {}
        self.clips = self.bad_lines = self.requests = self.tokens = 0
        self.cost = 0.0

    def wait(self, key: str, tokens: int, cost: float) -> None:
        self._waiting[key] = (tokens, cost)
        if len(self._waiting) >= _KEYS_AT_ONCE:
            self.settle()

    def settle(self) -> None:
        known = {} if self._answers is None else self._answers.known(list(self._waiting))
        for key, (tokens, cost) in self._waiting.items():
            if key not in known or not known[key].finished:
                self.requests += 1
                self.tokens += tokens
                self.cost += cost
        self._waiting = {}

    def close(self) -> None:
        if self._answers is not None:
            self._answers.close()
