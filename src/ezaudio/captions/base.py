"""What a source is, and what its writer gives back.

A source is a frozen settings class with two methods: `items` reads the user's files as a stream,
and `open` makes the writer, once in each worker. A writer turns a chunk of clips into one
`ClipOutcome` each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ezaudio.captions.prompts import Prompt
from ezaudio.captions.record import BadLine, Item, digest
from ezaudio.config import Config
from ezaudio.errors import InputError


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try that failed.

    Attributes:
        reason: short, from a small set.
        detail: what came.
        number: 1 for the first.
    """

    reason: str
    detail: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class ClipOutcome:
    """What became of one clip.

    Attributes:
        captions: none, one or several sentences.
        failures: what was tried in vain.
        finished: False when the clip has to wait for another run, as after a budget's end.
        created: when the answer came; None for now.
    """

    captions: tuple[str, ...] = ()
    failures: tuple[Attempt, ...] = ()
    finished: bool = True
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What is kept of a request, so that it is not made again.

    Attributes:
        text: the accepted caption; None when there is none.
        failures: tries that failed.
        model: the model that the server says it used.
        created: seconds since 1970.
        finished: False while more tries are to come.
    """

    text: str | None
    failures: tuple[Attempt, ...] = ()
    model: str = ""
    created: float = 0.0
    finished: bool = True


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a writer may use while it works on one chunk.

    Attributes:
        answers: folder in which answers are kept as they come.
        known: answers of earlier runs, by key.
        most_requests: requests that may still be made; None for any number.
        most_cost: what they may cost; None for any amount.
    """

    answers: Path
    known: Mapping[str, StoredAnswer] = field(default_factory=dict)
    most_requests: int | None = None
    most_cost: float | None = None


class Writer(Protocol):
    """Turns clips into captions."""

    model: str
    prompt_hash: str

    def write(self, items: Sequence[Item], allowance: Allowance) -> list[ClipOutcome]:
        """Give one outcome for each clip, in their order."""
        ...

    def close(self) -> None:
        """Let go of processes and memory."""
        ...


class Source(Config):
    """Base of the sources; a source's registry name is its `kind`.

    Attributes:
        licence: put into every record; empty takes what the publisher is known to state.
    """

    kind: str
    licence: str = ""

    def fingerprint(self) -> str:
        """Hash what the captions depend on; how patiently a server is asked is no part of it."""
        values = self.model_dump(mode="json")
        if isinstance(chat := values.get("chat"), dict):
            values["chat"] = {name: chat[name] for name in ("model", "temperature")}
        if "prompt" in values:
            values["prompt"] = Prompt.read(str(values["prompt"] or self.kind)).hash
        return digest(values)

    def asks(self) -> bool:
        """True when a server is asked, and perhaps paid."""
        return False

    def items(self, path: Path) -> Iterator[Item | BadLine]:
        """Read one input as a stream.

        Raises:
            InputError: it cannot be read, or has another format.
        """
        raise NotImplementedError

    def items_of(self, paths: Sequence[Path]) -> Iterator[Item | BadLine]:
        """Read several inputs, one after the other; errors as `items`."""
        for path in paths:
            yield from self.items(path)

    def path_of(self, item: Item) -> str:
        """Sound file that the captions of a clip depend on; empty for none."""
        return ""

    def open(self) -> Writer:
        """Make the writer; models are loaded here."""
        raise NotImplementedError


class Published:
    """Passes on captions that were written by others."""

    model = "published"
    prompt_hash = ""

    def write(self, items: Sequence[Item], allowance: Allowance) -> list[ClipOutcome]:
        """Take the captions as they are, with their spaces tidied."""
        return [_published(item) for item in items]

    def close(self) -> None:
        """Nothing is held."""


def _published(item: Item) -> ClipOutcome:
    captions = tuple(" ".join(caption.split()) for caption in item.captions)
    if not any(captions):
        return ClipOutcome(failures=(Attempt("empty caption"),))
    return ClipOutcome(tuple(caption for caption in captions if caption))


def input_error(path: Path, allowed: str) -> InputError:
    """Say that an input is not what its source reads."""
    return InputError("input", str(path), allowed)
