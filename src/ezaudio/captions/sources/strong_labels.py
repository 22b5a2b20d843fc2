"""AudioSet's strong labels -> sentences that keep order, overlap and repetition of the events.

The published files have one event a line: `segment_id start_time_seconds end_time_seconds label`,
tabs between, where `YxlGt805lTA_30000` is a clip and its start in milliseconds, and the label
a mid. Lines of one segment may lie anywhere in the file. Source: Hershey et al. 2021,
arXiv:2105.07031.

Two writers: `rules`, the embedded default, says the timeline by itself; `llm` asks a language model
(the paper's AS-SL-GPT4-Caps: GPT-4o-mini).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from ezaudio.captions.base import Allowance, Attempt, ClipOutcome, Writer
from ezaudio.captions.llm import ChatSettings, LanguageModelWriter, Question
from ezaudio.captions.prompts import Prompt
from ezaudio.captions.record import Item
from ezaudio.captions.rules.sentences import sentence_of
from ezaudio.captions.rules.timeline import timeline_of
from ezaudio.captions.sources.published import Collection, labels_for, together
from ezaudio.captions.validation import Rules
from ezaudio.data.clips import BadLine
from ezaudio.data.collections.audioset import LICENCE


class StrongLabels(Collection):
    """Sentences from events with times.

    Attributes:
        names: file of mids and names; without it, one beside the list, or labels have to be names.
        writer: `rules` or `llm`.
        most_mentions: of one sentence; beyond it the shortest sounds are left out.
        audio_pattern: file of a clip in the audio folder; `{clip}` is the segment, `{id}` its id.
        chat: server and model of the writer `llm`.
        prompt: its prompt file; empty for the one of the package.
        rules: what its answers have to obey.
    """

    kind: Literal["strong_labels"] = "strong_labels"
    licence: str = LICENCE
    names: str | None = None
    writer: Literal["rules", "llm"] = "rules"
    most_mentions: int = Field(6, ge=1, le=50)
    chat: ChatSettings = ChatSettings()
    prompt: str = ""
    rules: Rules = Rules()

    def asks(self) -> bool:
        """It depends on the writer."""
        return self.writer == "llm"

    def items(self, path: Path) -> Iterator[Item | BadLine]:
        """Read one TSV file; the events of a segment come together, wherever they lay."""
        rows = self.rows(path, "audioset-strong", labels=labels_for(path, self.names))
        for item in self.items_from(together(rows)):
            if isinstance(item, BadLine) or item.events:  # a clip of unknown labels says nothing
                yield item

    def open(self) -> Writer:
        """Make the writer that was chosen."""
        if self.writer == "rules":
            return TimelineWriter(self.most_mentions)
        prompt = Prompt.read(self.prompt or "strong_labels")
        return LanguageModelWriter(self.chat, prompt, self.rules, _ask)


class TimelineWriter:
    """Writes by rule; the wording follows from the clip's name."""

    model = "rules"
    prompt_hash = ""

    def __init__(self, most_mentions: int) -> None:
        self._most_mentions = most_mentions

    def write(self, items: Sequence[Item], allowance: Allowance) -> list[ClipOutcome]:
        """One sentence for each clip."""
        return [self._outcome(item) for item in items]

    def close(self) -> None:
        """Nothing is held."""

    def _outcome(self, item: Item) -> ClipOutcome:
        if not item.events:
            return ClipOutcome(failures=(Attempt("no event"),))
        timeline = timeline_of(item.events, most_mentions=self._most_mentions)
        return ClipOutcome((sentence_of(timeline, item.clip_id),))


def _ask(item: Item) -> Question | None:
    """Fill the prompt's table of events, by onset."""
    if not item.events:
        return None
    ordered = sorted(item.events, key=lambda event: (event.start, event.end))
    lines = [f"{event.start:.2f}-{event.end:.2f} s: {event.label}" for event in ordered]
    return Question({"events": "\n".join(lines), "count": str(len(lines))})
