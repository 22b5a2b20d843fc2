"""Which clip is drawn n-th: a pure function of n, so a run resumes and shards without a state.

An epoch has as many draws as there are clips. Each label gets its share of them (how large, says
`Balance`), rounded so that the shares hold over epochs (systematic sampling with an offset that
moves by the golden ratio), and hands out its clips in a seeded order: every one of them once before
any again, across epochs. With `power=1` every epoch holds every clip exactly once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ezaudio.config import Config
from ezaudio.data.keys import permutation_at, uniforms_at
from ezaudio.errors import InputError

_GOLDEN_RATIO = (math.sqrt(5.0) - 1.0) / 2.0
_TAKES, _SLOTS = 1, 2


class Balance(Config):
    """How often the clips of a label are drawn.

    Attributes:
        power: A label with n clips is drawn in proportion to n ** power. 1 draws every clip equally
            often, 0 every label, 0.5 lies between.
        frequent_share: Share of the draws that go to labels with at least `frequent` clips; None
            leaves the shares as `power` makes them.
        frequent: See above.
    """

    power: float = Field(1.0, ge=0.0, le=1.0)
    frequent_share: float | None = Field(None, ge=0.0, le=1.0)
    frequent: int = Field(8, ge=1)

    def weights(self, counts: Sequence[int]) -> NDArray[np.float64]:
        """Turn clips per label into weights, (K,)."""
        clips = np.asarray(counts, np.float64)
        weights: NDArray[np.float64] = clips**self.power
        common = clips >= self.frequent
        if self.frequent_share is not None and common.any() and not common.all():
            weights[common] *= self.frequent_share / weights[common].sum()
            weights[~common] *= (1 - self.frequent_share) / weights[~common].sum()
        return weights


class DrawOrder:
    """The endless sequence of clips.

    Args:
        takes: Clips (numbers) of each label.
        balance: Shares of the labels.
        seed: Of all orders.

    Raises:
        InputError: There is no clip.
    """

    def __init__(self, takes: Mapping[str, Sequence[int]], balance: Balance, *, seed: int) -> None:
        self._takes = [np.asarray(takes[label], np.int64) for label in sorted(takes)]
        self._takes = [part for part in self._takes if len(part)]
        if not self._takes:
            raise InputError("split", "no clips", "a split with at least one clip")
        counts = [len(part) for part in self._takes]
        self.seed = seed
        self.epoch_draws = sum(counts)
        weights = balance.weights(counts)
        edges = np.cumsum(weights) * (self.epoch_draws / weights.sum())
        edges[-1] = self.epoch_draws
        uneven = balance.power < 1 or balance.frequent_share is not None
        self._edges = edges if uneven else np.cumsum(counts)
        self._offset = float(uniforms_at(np.zeros(1, np.int64), seed, _TAKES)[0])
        self._before = (0, np.zeros(len(counts), np.int64))
        self._epochs: dict[int, NDArray[np.int64]] = {}

    def at(self, first: int, count: int) -> list[int]:
        """Clips of draws `first` … `first + count - 1`."""
        found: list[int] = []
        while len(found) < count:
            epoch, slot = divmod(first + len(found), self.epoch_draws)
            part = self._epoch(epoch)[slot : slot + count - len(found)]
            found += part.tolist()
        return found

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        """All draws of an epoch, in order."""
        if epoch not in self._epochs:
            begin, counts = self._drawn_before(epoch), self._counts(epoch)
            clips = [
                self._clips(label, int(begin[label]), int(counts[label]))
                for label in np.flatnonzero(counts).tolist()
            ]
            slots = permutation_at(self.epoch_draws, self.seed, _SLOTS, epoch)
            if len(self._epochs) > 1:
                self._epochs.pop(min(self._epochs))
            self._epochs[epoch] = np.concatenate(clips)[slots]
        return self._epochs[epoch]

    def _clips(self, label: int, begin: int, count: int) -> NDArray[np.int64]:
        """Clips of draws `begin` … of one label: one seeded order after another."""
        takes = self._takes[label]
        cycles = range(begin // len(takes), (begin + count - 1) // len(takes) + 1)
        orders = [permutation_at(len(takes), self.seed, _TAKES, label, c) for c in cycles]
        skip = begin - cycles[0] * len(takes)
        return takes[np.concatenate(orders)[skip : skip + count]]

    def _counts(self, epoch: int) -> NDArray[np.int64]:
        """Draws of each label in an epoch, (K,): points j + u, j = 0 …, between its edges."""
        u = (self._offset + epoch * _GOLDEN_RATIO) % 1.0
        return np.diff(np.ceil(self._edges - u), prepend=0.0).astype(np.int64)

    def _drawn_before(self, epoch: int) -> NDArray[np.int64]:
        """Draws of each label before an epoch, (K,)."""
        known, drawn = self._before if self._before[0] <= epoch else (0, 0 * self._before[1])
        for past in range(known, epoch):
            drawn = drawn + self._counts(past)
        self._before = (epoch, drawn)
        return drawn
