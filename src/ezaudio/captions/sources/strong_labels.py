"""AudioSet's strong labels -> sentences that keep order, overlap and repetition of the events.

The published files have one event a line: `segment_id start_time_seconds end_time_seconds label`,
tabs between, where `YxlGt805lTA_30000` is a clip and its start in milliseconds, and the label
a mid. Lines of one segment may lie anywhere in the file. Source: Hershey et al. 2021,
arXiv:2105.07031.

Two writers: `rules`, the embedded default, says the timeline by itself; `llm` asks a language model
(the paper's AS-SL-GPT4-Caps: GPT-4o-mini).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from ezaudio.captions.base import Allowance, Attempt, ClipOutcome, Source, Writer, input_error
from ezaudio.captions.llm import ChatSettings, LanguageModelWriter, Question
from ezaudio.captions.names import Labels
from ezaudio.captions.prompts import Prompt
from ezaudio.captions.record import BadLine, Event, Item, shortened
from ezaudio.captions.rules.sentences import sentence_of
from ezaudio.captions.rules.timeline import timeline_of
from ezaudio.captions.tables import Grouped, lines_of
from ezaudio.captions.validation import Rules
from ezaudio.captions.youtube import CLIP_S, AudioPattern, audio_name, split_name

_COLUMNS = (
    ("segment_id", "start_time_seconds", "end_time_seconds", "label"),
    ("filename", "onset", "offset", "event_label"),
)


class StrongLabels(Source):
    """Sentences from events with times.

    Attributes:
        names: file of mids and names; without it, labels have to be names.
        writer: `rules` or `llm`.
        most_mentions: of one sentence; beyond it the shortest sounds are left out.
        audio_pattern: file of a clip in the audio folder; `{clip}` is the segment, `{id}` its id.
        chat: server and model of the writer `llm`.
        prompt: its prompt file; empty for the one of the package.
        rules: what its answers have to obey.
    """

    kind: Literal["strong_labels"] = "strong_labels"
    licence: str = "CC BY 4.0 (labels)"
    names: str | None = None
    writer: Literal["rules", "llm"] = "rules"
    most_mentions: int = Field(6, ge=1, le=50)
    audio_pattern: AudioPattern = ""
    chat: ChatSettings = ChatSettings()
    prompt: str = ""
    rules: Rules = Rules()

    def asks(self) -> bool:
        """It depends on the writer."""
        return self.writer == "llm"

    def items(self, path: Path) -> Iterator[Item | BadLine]:
        """Read one TSV file; the events of a segment come together, wherever they lay."""
        labels = Labels(self.names)
        lines = lines_of(path, delimiter="\t")
        first = next((line for line in lines if not isinstance(line, BadLine)), None)
        header = () if first is None else tuple(cell.lower() for cell in first[1])
        if header not in _COLUMNS:
            raise input_error(path, f"a TSV file with the columns {', '.join(_COLUMNS[0])}")
        with Grouped() as segments:
            for line in lines:
                bad = line if isinstance(line, BadLine) else _sort(path, *line, labels, segments)
                if bad is not None:
                    yield bad
            for segment, events in segments.groups():
                yield self._item(segment, [Event(*event) for event in events])

    def open(self) -> Writer:
        """Make the writer that was chosen."""
        if self.writer == "rules":
            return TimelineWriter(self.most_mentions)
        prompt = Prompt.read(self.prompt or "strong_labels")
        return LanguageModelWriter(self.chat, prompt, self.rules, _ask)

    def _item(self, segment: str, events: list[Event]) -> Item:
        place = split_name(segment, unit_s=0.001)
        start_s = place[1] if place else 0.0
        end_s = start_s + CLIP_S if place else max(event.end_s for event in events)
        return Item(
            segment,
            audio=audio_name(segment, self.audio_pattern),
            start_s=start_s,
            end_s=end_s,
            licence=self.licence,
            events=tuple(events),
        )


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


def _sort(
    path: Path, number: int, cells: list[str], labels: Labels, segments: Grouped
) -> BadLine | None:
    """Put one line to its segment; say why when it cannot be used."""
    where, text = f"{path.name}:{number}", shortened("\t".join(cells))
    if len(cells) != 4:
        return BadLine(where, "wrong number of columns", text)
    segment, start, end, label = cells
    try:
        start_s, end_s = float(start), float(end)
    except ValueError:
        return BadLine(where, "times are not numbers", text)
    if not (math.isfinite(start_s) and math.isfinite(end_s) and 0 <= start_s <= end_s):
        return BadLine(where, "times out of order", text)
    if not segment:
        return BadLine(where, "no segment", text)
    name = labels.name(label)
    if name is None:
        return BadLine(where, "unknown label", text)
    segments.add(segment, (name, start_s, end_s))
    return None


def _ask(item: Item) -> Question | None:
    """Fill the prompt's table of events, by onset."""
    if not item.events:
        return None
    ordered = sorted(item.events, key=lambda event: (event.start_s, event.end_s))
    lines = [f"{event.start_s:.2f}-{event.end_s:.2f} s: {event.label}" for event in ordered]
    return Question({"events": "\n".join(lines), "count": str(len(lines))})
