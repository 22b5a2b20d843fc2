"""What was heard of a set of clips: everything that metrics are computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ezaudio.errors import InputError

Array = npt.NDArray[np.floating]
Rows = npt.NDArray[np.int64]

_SHOWN_NAMES = 3


@dataclass(frozen=True)
class ClipFeatures:
    """One set of clips, row by row; what was not asked for is None.

    Attributes:
        names: one per clip; clips of two sets with the same name belong together.
        prompts: what each clip should sound like; empty where it is not known.
        features: of a tagger, (N, J).
        logits: of the same tagger, (N, K).
        audio: embeddings of the sounds in a space with text, (N, E).
        text: embeddings of the captions in the same space, (N, E).
        frames: features of the stretches of each clip, (N,) of (n, J) each.
        presence: probabilities of two events in windows along the clip, (N, W, 2); NaN where a clip
            has no two events.
        likeness: greatest likeness to a training recording, (N,).
        facts: what the waveforms say about themselves, by name, (N,) each.
        asked_s: length that was asked for, (N,).
    """

    names: tuple[str, ...]
    prompts: tuple[str, ...] = ()
    features: Array | None = None
    logits: Array | None = None
    audio: Array | None = None
    text: Array | None = None
    frames: npt.NDArray[np.object_] | None = None
    presence: Array | None = None
    likeness: Array | None = None
    facts: Mapping[str, Array] = field(default_factory=dict)
    asked_s: Array | None = None

    def __post_init__(self) -> None:
        """Raise InputError when a name occurs twice or a row is missing."""
        if len(set(self.names)) != len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise InputError("names", listed(twice), "each clip once")
        for name, value in self._columns():
            if len(value) != len(self.names):
                raise InputError(name, len(value), f"{len(self.names)} rows, one per clip")

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, index: Rows) -> ClipFeatures:
        """Return some of the clips."""
        return self._mapped(lambda value: value[index], [int(i) for i in index])

    def matching(self, names: tuple[str, ...]) -> ClipFeatures:
        """Return these clips in the order of `names`.

        Raises:
            InputError: a clip of one set is missing from the other; the message names it.
        """
        missing = sorted(set(names).symmetric_difference(self.names))
        if missing:
            raise InputError("pairs", listed(missing), "clips whose names are in both sets")
        row = {name: index for index, name in enumerate(self.names)}
        return self.rows(np.array([row[name] for name in names], dtype=np.int64))

    def has(self, name: str) -> bool:
        """Whether a kind of features was gathered; facts are asked for by their own name."""
        if name in self.facts:
            return True
        value = getattr(self, name, None)
        return value is not None and len(value) > 0

    def get(self, name: str) -> Array:
        """Return features that is there.

        Raises:
            InputError: it was not gathered.
        """
        if not self.has(name):
            raise InputError(name, None, "features that this metric needs; it was not gathered")
        found: Array = self.facts[name] if name in self.facts else getattr(self, name)
        return found

    def _columns(self) -> list[tuple[str, Any]]:
        own = [(f.name, getattr(self, f.name)) for f in fields(self)]
        columns = [(n, v) for n, v in own if n not in ("names", "facts") and v is not None]
        return [(n, v) for n, v in columns if n != "prompts" or v] + list(self.facts.items())

    def _mapped(self, change: Callable[[Any], Any], index: list[int]) -> ClipFeatures:
        arrays = {n: change(v) for n, v in self._columns() if isinstance(v, np.ndarray)}
        facts = {name: arrays.pop(name) for name in self.facts}
        prompts = tuple(self.prompts[i] for i in index) if self.prompts else ()
        names = tuple(self.names[i] for i in index)
        return replace(self, names=names, prompts=prompts, facts=facts, **arrays)


def listed(names: list[str]) -> str:
    """Name the first few."""
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
