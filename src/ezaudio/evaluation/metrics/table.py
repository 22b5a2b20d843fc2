"""What the metrics read: features and logits of a set of clips, by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ezaudio.errors import InputError

_SHOWN_NAMES = 3


@dataclass(frozen=True)
class FeatureTable:
    """A set of clips as an extractor heard them.

    Attributes:
        names: one per clip; clips of two sets with the same name belong together.
        features: (N, J).
        logits: (N, K).
    """

    names: tuple[str, ...]
    features: npt.NDArray[np.floating]
    logits: npt.NDArray[np.floating]

    def __post_init__(self) -> None:
        """Raise InputError when a name occurs twice or the rows do not match the names."""
        rows = {len(self.names), len(self.features), len(self.logits)}
        if len(rows) != 1 or self.features.ndim != 2 or self.logits.ndim != 2:
            got = len(self.names), self.features.shape, self.logits.shape
            raise InputError("features", got, "N names, (N, J) features and (N, K) logits")
        if len(set(self.names)) != len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise InputError("names", _listed(twice), "each clip once")

    def matching(self, names: tuple[str, ...]) -> FeatureTable:
        """Return these clips in the order of `names`.

        Raises:
            InputError: a clip of one set is missing from the other; the message names it.
        """
        missing = sorted(set(names).symmetric_difference(self.names))
        if missing:
            raise InputError("pairs", _listed(missing), "clips whose names are in both sets")
        row = {name: index for index, name in enumerate(self.names)}
        order = [row[name] for name in names]
        return FeatureTable(names, self.features[order], self.logits[order])


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
