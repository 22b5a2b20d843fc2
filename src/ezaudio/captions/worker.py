"""One chunk: clips in, shards out. The same function in this process and on a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ezaudio.captions.base import Allowance, Attempt, ClipOutcome, Source, StoredAnswer, Writer
from ezaudio.captions.record import (
    BadLine,
    CaptionRecord,
    Failure,
    Item,
    is_profane,
    language_of,
    now,
    shortened,
)
from ezaudio.captions.store import CaptionSet, write_rows

OUT_OF_BUDGET = "not asked yet: the budget ended"
"""Why a clip waits for another run."""


@dataclass(frozen=True, slots=True)
class LabelTask:
    """A chunk of clips.

    Attributes:
        index: number of the chunk.
        items: its clips.
        bad: lines between them that give no clip.
        chunk_hash: of the clips and of what their captions depend on.
        sounds: size and time of the sound files that they depend on; empty texts where none do.
        known: answers of earlier runs.
        most_requests, most_cost: what may be spent on it; None for no limit.
    """

    index: int
    items: tuple[Item, ...]
    bad: tuple[BadLine, ...]
    chunk_hash: str
    sounds: tuple[str, ...] = ()
    known: Mapping[str, StoredAnswer] = field(default_factory=dict)
    most_requests: int | None = None
    most_cost: float | None = None

    def with_answers(
        self, known: Mapping[str, StoredAnswer], left: tuple[int | None, float | None]
    ) -> LabelTask:
        """The same chunk with earlier answers and a budget."""
        return replace(self, known=known, most_requests=left[0], most_cost=left[1])


@dataclass(frozen=True, slots=True)
class LabelResult:
    """What became of a chunk.

    Attributes:
        index: number of the chunk.
        captions: written.
    """

    index: int
    captions: int


@dataclass(frozen=True, slots=True)
class LabelJob:
    """Opens workers.

    Attributes:
        source: whose writer they use.
        folder: of the caption set, as every machine sees it.
    """

    source: Source
    folder: str

    def open(self) -> LabelWorker:
        """Open the writer."""
        return LabelWorker(self.source, CaptionSet(self.folder))


class LabelWorker:
    """Writes the shards of one chunk after another."""

    def __init__(self, source: Source, target: CaptionSet) -> None:
        self._source, self._target = source, target
        self._writer: Writer = source.open()

    def close(self) -> None:
        """Close the writer."""
        self._writer.close()

    def __call__(self, task: LabelTask) -> LabelResult:
        """Label a chunk: its failures are written first, its captions say that it is done."""
        allowance = Allowance(self._target.answers, task.known, task.most_requests, task.most_cost)
        outcomes = self._writer.write(task.items, allowance)
        created = now()
        captions = [
            record
            for item, outcome in zip(task.items, outcomes, strict=True)
            for record in self._records(item, outcome, created)
        ]
        failures = list(_bad(task.bad, self._source.kind, created))
        for item, outcome in zip(task.items, outcomes, strict=True):
            failures += _failures(item, outcome, self._source.kind, created)
        part, index = self._target.part, task.index
        write_rows(part(index, "failures"), failures, Failure)
        write_rows(part(index), captions, CaptionRecord, _facts(task, outcomes, captions, failures))
        return LabelResult(index, len(captions))

    def _records(
        self, item: Item, outcome: ClipOutcome, created: datetime
    ) -> Iterator[CaptionRecord]:
        for caption in outcome.captions:
            yield CaptionRecord(
                item.clip_id,
                caption,
                self._source.kind,
                self._writer.model,
                self._writer.prompt_hash,
                item.audio,
                item.start_s,
                item.end_s,
                item.licence,
                language_of(caption),
                is_profane(caption),
                None,
                "",
                outcome.created or created,
            )


def _failures(
    item: Item, outcome: ClipOutcome, source: str, created: datetime
) -> Iterator[Failure]:
    tries = outcome.failures
    if not outcome.finished:
        tries = (*tries, Attempt(OUT_OF_BUDGET))
    lost = not outcome.captions
    for number, attempt in enumerate(tries, start=1):
        yield Failure(
            item.clip_id,
            source,
            attempt.reason,
            shortened(attempt.detail),
            attempt.number,
            lost and number == len(tries),
            outcome.created or created,
        )


def _bad(lines: Sequence[BadLine], source: str, created: datetime) -> Iterator[Failure]:
    for line in lines:
        yield Failure(line.where, source, line.reason, line.text, 0, True, created)


def _facts(
    task: LabelTask,
    outcomes: Sequence[ClipOutcome],
    captions: Sequence[CaptionRecord],
    failures: Sequence[Failure],
) -> dict[str, object]:
    """What the shard says about its chunk, so that a summary needs no rows."""
    return {
        "hash": task.chunk_hash,
        "sounds": task.sounds if any(task.sounds) else (),
        "finished": all(outcome.finished for outcome in outcomes),
        "clips": len(task.items),
        "captions": len(captions),
        "without": sum(not outcome.captions for outcome in outcomes),
        "bad_lines": len(task.bad),
        "reasons": dict(Counter(failure.reason for failure in failures)),
    }
