"""Several captions of one clip -> one, merged by a language model.

The inputs are caption sets that hold captions of the same clips, together or each its own, or CSV
files `clip_id,caption[,source]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ezaudio.captions.base import Source, Writer
from ezaudio.captions.llm import ChatSettings, LanguageModelWriter, Question
from ezaudio.captions.prompts import Prompt
from ezaudio.captions.record import BadLine, Item
from ezaudio.captions.store import CaptionSet
from ezaudio.captions.tables import Grouped, rows_of
from ezaudio.captions.validation import Rules

Row = tuple[str, str, str, float, float, str]
"""Source, caption, audio, start and end in seconds, licence."""


class Ensemble(Source):
    """One caption from several.

    Attributes:
        fewest: clips with fewer captions are left out, with that reason.
        most: captions of a clip that are shown to the model.
        chat: the server.
        prompt: prompt file; empty for the one of the package.
        rules: what an answer has to obey.
    """

    kind: Literal["ensemble"] = "ensemble"
    fewest: int = Field(2, ge=1)
    most: int = Field(8, ge=1)
    chat: ChatSettings = ChatSettings()
    prompt: str = ""
    rules: Rules = Rules()

    def asks(self) -> bool:
        """A language model is asked."""
        return True

    def items(self, path: Path) -> Iterator[Item | BadLine]:
        """Read a caption set or a CSV file; the captions of a clip come together."""
        return self.items_of([path])

    def items_of(self, paths: Sequence[Path]) -> Iterator[Item | BadLine]:
        """Read several; the captions of a clip come together, wherever they lay."""
        with Grouped() as clips:
            for path in paths:
                for found in (_of_set if path.is_dir() else _of_table)(path):
                    if isinstance(found, BadLine):
                        yield found
                    else:
                        clips.add(*found)
            for clip_id, rows in clips.groups():
                yield self._item(clip_id, rows)

    def open(self) -> Writer:
        """Make ready to ask the server."""
        prompt = Prompt.read(self.prompt or "ensemble")
        return LanguageModelWriter(self.chat, prompt, self.rules, _ask)

    def _item(self, clip_id: str, rows: list[list[Any]]) -> Item | BadLine:
        unique = {" ".join(row[1].split()): row for row in rows}
        if len(unique) < self.fewest:
            return BadLine(clip_id, "too few captions to merge")
        first = rows[0]
        licences = sorted({row[5] for row in rows if row[5]})
        shown = [f"{row[0]}: {text}" if row[0] else text for text, row in unique.items()]
        return Item(
            clip_id,
            audio=first[2],
            start_s=first[3],
            end_s=first[4],
            licence=self.licence or "; ".join(licences),
            captions=tuple(shown[: self.most]),
        )


def _of_set(path: Path) -> Iterator[tuple[str, Row]]:
    for record in CaptionSet(path).records():
        span = (record.start_s, record.end_s)
        row = (record.source, record.caption, record.audio, *span, record.licence)
        yield record.clip_id, row


def _of_table(path: Path) -> Iterator[tuple[str, Row] | BadLine]:
    for line in rows_of(path, ("clip_id", "caption")):
        if isinstance(line, BadLine):
            yield line
            continue
        number, cells = line
        if not cells["clip_id"] or not cells["caption"]:
            yield BadLine(f"{path.name}:{number}", "empty caption")
            continue
        yield cells["clip_id"], (cells.get("source", ""), cells["caption"], "", 0.0, 0.0, "")


def _ask(item: Item) -> Question | None:
    if not item.captions:
        return None
    lines = [" ".join(caption.split()) for caption in item.captions]
    return Question({"captions": "\n".join(lines), "count": str(len(lines))})
