"""What a run would ask for and cost, before it asks for anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ezaudio.captions.base import Source
from ezaudio.captions.llm import LanguageModelWriter
from ezaudio.captions.llm.answers import AnswerStore
from ezaudio.captions.llm.client import ChatRequest
from ezaudio.captions.record import BadLine, Item
from ezaudio.captions.run import asker_of
from ezaudio.captions.store import CaptionSet

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
    asker, folder_of_answers = asker_of(source), CaptionSet(folder).answers
    counts = _Counts(asker, folder_of_answers if folder_of_answers.exists() else None)
    clips = bad_lines = 0
    try:
        for row in source.items_of(inputs):
            clips += not isinstance(row, BadLine)
            bad_lines += isinstance(row, BadLine)
            if isinstance(row, Item):
                counts.add(row)
        counts.settle()
    finally:
        counts.close()
    priced = asker is None or asker.chat.priced()
    return Estimate(clips, bad_lines, counts.requests, counts.tokens, counts.cost, priced)


class _Counts:
    """Adds up what has no answer yet, a few hundred clips at a time.

    Args:
        asker: makes the requests; None where no server is asked.
        answers: folder of earlier answers; None when there are none.
    """

    def __init__(self, asker: LanguageModelWriter | None, answers: Path | None) -> None:
        self._asker = asker
        self._answers = None if answers is None else AnswerStore(answers)
        self._waiting: dict[str, ChatRequest] = {}
        self.requests = self.tokens = 0
        self.cost = 0.0

    def add(self, item: Item) -> None:
        """Count the request about a clip, if there is something to ask."""
        request = None if self._asker is None else self._asker.request(item)
        if self._asker is None or request is None:
            return
        if self._answers is None:  # then the sound of the clip need not be read for its key
            self._count(request)
            return
        self._waiting[self._asker.key(request)] = request
        if len(self._waiting) >= _KEYS_AT_ONCE:
            self.settle()

    def settle(self) -> None:
        """Count those that wait, without those that are answered."""
        known = {} if self._answers is None else self._answers.known(list(self._waiting))
        for key, request in self._waiting.items():
            if key not in known or not known[key].finished:
                self._count(request)
        self._waiting = {}

    def _count(self, request: ChatRequest) -> None:
        assert self._asker is not None
        tokens, cost = self._asker.estimate(request)
        self.requests += 1
        self.tokens += tokens
        self.cost += cost

    def close(self) -> None:
        """Close the answers."""
        if self._answers is not None:
            self._answers.close()
