"""Runs a source: clips in, a caption set out; killed at any moment and started again, it goes on.

The clips are cut into chunks in the order in which they come. A chunk's shard carries the hash of
its clips and of what its captions depend on: when both are what they were, the chunk is passed
over. Only one chunk is in memory. Answers that were paid for are kept by their content, so that a
changed input repeats no request about clips that were there before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from ezaudio import __version__
from ezaudio.captions.base import Source
from ezaudio.captions.executors.job import Executor
from ezaudio.captions.llm import LanguageModelWriter
from ezaudio.captions.llm.answers import AnswerStore, Spent
from ezaudio.captions.lock import locked
from ezaudio.captions.record import BadLine, Item, digest_of_items, file_state
from ezaudio.captions.store import CaptionSet, read_facts
from ezaudio.captions.worker import OUT_OF_BUDGET, LabelJob, LabelResult, LabelTask
from ezaudio.config import Config
from ezaudio.errors import InputError

__all__ = ["OUT_OF_BUDGET", "Progress", "RunSettings", "Summary", "label", "require_access"]

Number = TypeVar("Number", int, float)


class RunSettings(Config):
    """How a source is run.

    Attributes:
        chunk: clips of one shard; also the most that is in memory, and that is done again after a
            kill where no answers are paid for.
        max_requests: most requests of this caption set, those of earlier runs counted.
        max_cost: most that they may cost.
        retry_failed: ask again about clips of which every try had failed.
        audio_root: where the clips' sound files lie, for the stages that come after.
    """

    chunk: int = Field(1000, ge=1, description="Clips of one shard, the most in memory at once.")
    max_requests: int | None = Field(None, ge=0, description="Stop before one more request.")
    max_cost: float | None = Field(None, ge=0, description="Stop before it would cost more.")
    retry_failed: bool = False
    audio_root: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a caption set holds after a run.

    Attributes:
        clips: read from the input.
        captions: written.
        without: clips that got no caption.
        bad_lines: lines of the input that give no clip.
        reasons: why there was no caption, and why tries failed.
        finished: False when a budget ended before the clips did.
        passed_over: chunks that were done already.
        requests, cost, in_doubt: of all runs; in doubt are requests that were under way when a run
            was killed.
    """

    clips: int
    captions: int
    without: int
    bad_lines: int
    reasons: dict[str, int]
    finished: bool
    passed_over: int
    requests: int = 0
    cost: float = 0.0
    in_doubt: int = 0


Progress = Callable[[int, int], None]
"""Called with the clips that were read and the captions that were written so far."""


def label(
    source: Source,
    inputs: Sequence[Path],
    folder: Path,
    *,
    settings: RunSettings,
    executor: Executor,
    progress: Progress | None = None,
) -> Summary:
    """Run a source over its inputs.

    Args:
        source: reads and writes.
        inputs: files or folders, one after the other.
        folder: of the caption set; it may hold a part of the same work already.
        settings: chunks and budgets.
        executor: where the work is done.
        progress: hears how far it is.

    Raises:
        InputError: an input cannot be read or gives no clip, the folder holds captions of another
            source, or a server needs a key that is not there.
        EzAudioError: a server refuses the key or the model, or fails too often in a row.
        OutputError: the folder cannot be written.
    """
    target = CaptionSet(folder.absolute())
    sets = [path for path in inputs if path.is_dir()]
    with locked(target, source.kind, sources=sets):
        run = _Run(source, inputs, target, settings, executor, progress)
        try:
            return run.do()
        finally:
            run.close()


@dataclass
class _Run:
    """One run; keeps count."""

    source: Source
    inputs: Sequence[Path]
    target: CaptionSet
    settings: RunSettings
    executor: Executor
    progress: Progress | None
    read: int = 0
    passed_over: int = 0
    captions: int = 0
    chunks: int = 0
    answers: AnswerStore | None = None
    asker: LanguageModelWriter | None = None

    def __post_init__(self) -> None:
        self.budget = _Budget(self.settings, None)

    def do(self) -> Summary:
        """Run to the end of the input, or of the budget."""
        self.asker = asker_of(self.source)
        if self.asker is not None:
            self.asker.chat.require_key()
            self.answers = AnswerStore(self.target.answers)
            if self.settings.retry_failed:
                self.answers.forget_failures()
        _write_card(self.target, self.source, self.inputs, self.settings, None)
        spent = self._spent()
        summary = self._round(spent)
        while self._goes_on(summary, spent):
            spent = self._spent()
            summary = replace(self._round(spent), passed_over=summary.passed_over)
        _write_card(self.target, self.source, self.inputs, self.settings, summary)
        return summary

    def _round(self, spent: Spent) -> Summary:
        """Go through the input once."""
        self.read = self.passed_over = self.captions = self.chunks = 0
        self.budget = _Budget(self.settings, spent if self.executor.ahead else None)
        job = LabelJob(self.source, str(self.target.folder))
        for done in self.executor.run(job, self._tasks()):
            self._take(done)
        self.target.drop_parts_from(self.chunks)
        summary = _summary(self.target, self.passed_over, self._spent())
        if not summary.clips:
            raise _no_clip(self.inputs, summary)
        return summary

    def _goes_on(self, summary: Summary, before: Spent) -> bool:
        """True when clips wait for what other chunks had set aside and did not need."""
        return self.executor.ahead and not summary.finished and summary.requests > before.requests

    def _spent(self) -> Spent:
        return Spent(0, 0.0, 0) if self.answers is None else self.answers.spent()

    def close(self) -> None:
        """Close the answers, also after an error."""
        if self.answers is not None:
            self.answers.close()
            self.answers = None

    def _tasks(self) -> Iterator[LabelTask]:
        """Cut the input into chunks; give those that are not done."""
        fingerprint = self.source.fingerprint()
        for index, (items, bad) in enumerate(
            _chunks(self.source, self.inputs, self.settings.chunk)
        ):
            self.chunks = index + 1
            self.read += len(items)
            salt = (fingerprint, *(f"{line.where} {line.reason}" for line in bad))
            chunk_hash = digest_of_items(items, salt)
            shard_facts = read_facts(self.target.part(index)) or {}
            sounds = tuple(file_state(self.source.path_of(item)) for item in items)
            done = shard_facts.get("finished") and shard_facts.get("hash") == chunk_hash
            done = done and not _replaced(shard_facts.get("sounds") or [""] * len(sounds), sounds)
            if done and not (self.settings.retry_failed and shard_facts.get("without")):
                self.passed_over += 1
                self.captions += shard_facts.get("captions", 0)
                self._tell()
                continue
            task = LabelTask(index, tuple(items), tuple(bad), chunk_hash, sounds)
            yield self._with_answers(task)

    def _with_answers(self, task: LabelTask) -> LabelTask:
        """Give a chunk the answers of earlier runs and its budget, where a server is asked."""
        if self.asker is None or self.answers is None:
            return task
        keys = {key for key in self.asker.keys(task.items) if key}
        known = self.answers.known(list(keys))
        lacking = sum(key not in known or not known[key].finished for key in keys)
        requests = map(self.asker.request, task.items) if self.executor.ahead else ()
        cost = sum(self.asker.estimate(request)[1] for request in requests if request)
        return task.with_answers(known, self.budget.lease(self.answers.spent(), lacking, cost))

    def _take(self, done: LabelResult) -> None:
        self.captions += done.captions
        self._tell()

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(self.read, self.captions)


def _write_card(
    target: CaptionSet,
    source: Source,
    inputs: Sequence[Path],
    settings: RunSettings,
    summary: Summary | None,
) -> None:
    """Say in the set what is run, and what came of it."""
    card: dict[str, Any] = {
        "format": 1,
        "source": source.kind,
        "settings": source.model_dump(mode="json"),
        "inputs": [str(path) for path in inputs],
        "audio_root": settings.audio_root,
        "fingerprint": source.fingerprint(),
        "version": __version__,
        "finished": False if summary is None else summary.finished,
    }
    if summary is not None:
        card["counts"] = {name: getattr(summary, name) for name in Summary.__slots__}
    target.write_card(card)


def _summary(target: CaptionSet, passed_over: int, spent: Spent) -> Summary:
    """Add up what the shards say."""
    shards = [read_facts(part) or {} for part in target.parts()]
    reasons: Counter[str] = Counter()
    for shard in shards:
        reasons.update(shard.get("reasons", {}))
    return Summary(
        clips=sum(shard.get("clips", 0) for shard in shards),
        captions=sum(shard.get("captions", 0) for shard in shards),
        without=sum(shard.get("without", 0) for shard in shards),
        bad_lines=sum(shard.get("bad_lines", 0) for shard in shards),
        reasons=dict(reasons.most_common()),
        finished=all(shard.get("finished") for shard in shards),
        passed_over=passed_over,
        requests=spent.requests,
        cost=round(spent.cost, 6),
        in_doubt=spent.in_doubt,
    )


def _no_clip(inputs: Sequence[Path], summary: Summary) -> InputError:
    """Say why an input gives nothing to caption."""
    paths = ", ".join(str(path) for path in inputs)
    why = next(iter(summary.reasons), "")
    bad_lines = f"; {summary.bad_lines} bad lines, most often: {why}" if why else ""
    return InputError("input", paths, f"files or folders with at least one clip{bad_lines}")


class _Budget:
    """What a chunk may spend.

    Where chunks are laid out long before their turn, two requests for each clip are set aside; what
    they leave over is for the next round.

    Args:
        settings: the limits.
        before: what was spent when the chunks were laid out; None when each waits for its turn.
    """

    def __init__(self, settings: RunSettings, before: Spent | None) -> None:
        self._requests, self._cost, self._before = settings.max_requests, settings.max_cost, before
        self._aside = (0, 0.0)

    def lease(self, spent: Spent, lacking: int, cost: float) -> tuple[int | None, float | None]:
        """Give what is left: requests and cost; None for no limit."""
        ahead = self._before is not None
        spent = self._before or spent
        requests = _left(self._requests, spent.requests + self._aside[0])
        money = _left(self._cost, spent.cost + self._aside[1])
        if ahead:
            requests = None if requests is None else min(requests, 2 * lacking)
            money = None if money is None else min(money, 2 * cost)
            self._aside = (self._aside[0] + (requests or 0), self._aside[1] + (money or 0.0))
        return requests, money


def _left(limit: Number | None, gone: Number) -> Number | None:
    return None if limit is None else max(type(limit)(0), limit - gone)


def _replaced(before: Sequence[str], now: Sequence[str]) -> bool:
    """True when sound files are others than they were; those that are gone are what they were."""
    return len(before) == len(now) and any(n and b != n for b, n in zip(before, now, strict=True))


def _chunks(
    source: Source, inputs: Sequence[Path], size: int
) -> Iterator[tuple[list[Item], list[BadLine]]]:
    items: list[Item] = []
    bad: list[BadLine] = []
    for row in source.items_of(inputs):
        if isinstance(row, BadLine):
            bad.append(row)
        else:
            items.append(row)
        if len(items) + len(bad) >= size:
            yield items, bad
            items, bad = [], []
    if items or bad:
        yield items, bad


def asker_of(source: Source) -> LanguageModelWriter | None:
    """Make the writer here too where it asks a server: that takes no memory, and knows the keys."""
    writer = source.open() if source.asks() else None
    return writer if isinstance(writer, LanguageModelWriter) else None


def require_access(source: Source) -> None:
    """Refuse a source whose server needs a key that is not there, before anything else is done.

    Raises:
        InputError: there is none.
    """
    if (asker := asker_of(source)) is not None:
        asker.chat.require_key()
