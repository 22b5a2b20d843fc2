"""Statistics of ratings by several listeners of several items.

Ratings of one listener are alike, and so are ratings of one item; an interval that takes them for
independent is far too narrow. The variance of a mean is therefore clustered both ways: that by
listeners, plus that by items, minus that by their crossing, the independent part, which was counted
twice (Cameron, Gelbach and Miller 2011). It needs no equal numbers of ratings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ezaudio.errors import InputError
from ezaudio.evaluation.intervals import LEVEL, Interval

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ratings:
    """Ratings, one per row.

    Attributes:
        values: (N,).
        listeners: who, (N,).
        items: of which prompt, (N,).
    """

    values: Values
    listeners: tuple[str, ...]
    items: tuple[str, ...]


def clustered_mean(ratings: Ratings, *, level: float = LEVEL) -> tuple[Interval, float]:
    """Mean of ratings with its interval, and the two-sided p-value of the mean being 0.

    The degrees of freedom are those of the smaller side: min(listeners, items) - 1.

    Raises:
        InputError: there is no rating.
    """
    if not len(ratings.values):
        raise InputError("ratings", 0, "at least one")
    mean = float(ratings.values.mean())
    sides = min(len(set(ratings.listeners)), len(set(ratings.items)))
    if sides < 2:
        return Interval(mean, float("nan"), float("nan")), float("nan")
    residuals = ratings.values - mean
    crossing = [f"{a}\0{b}" for a, b in zip(ratings.listeners, ratings.items, strict=True)]
    by_listener, by_item = (
        _cluster_variance(residuals, groups) for groups in (ratings.listeners, ratings.items)
    )
    # With few clusters the difference may fall below either part, or below 0.
    both = by_listener + by_item - _cluster_variance(residuals, crossing)
    error = float(np.sqrt(max(both, by_listener, by_item)))
    if error == 0:
        return Interval(mean, mean, mean), 1.0 if mean == 0 else 0.0
    half = float(stats.t.ppf((1 + level) / 2, sides - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, sides - 1))
    return Interval(mean, mean - half, mean + half), p


def _cluster_variance(residuals: Values, groups: Sequence[str]) -> float:
    """Variance of the mean when clusters are independent, with the correction for their number."""
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(index, weights=residuals)
    count = len(names)
    return float(count / (count - 1) * (sums**2).sum() / len(residuals) ** 2)


def paired_by_item(a: Ratings, b: Ratings) -> Ratings:
    """Differences a - b where the same listener rated the same item of both systems."""
    other = {
        (who, what): value for value, who, what in zip(b.values, b.listeners, b.items, strict=True)
    }
    rows = [
        (value - other[(who, what)], who, what)
        for value, who, what in zip(a.values, a.listeners, a.items, strict=True)
        if (who, what) in other
    ]
    return Ratings(
        np.array([row[0] for row in rows], dtype=np.float64),
        tuple(row[1] for row in rows),
        tuple(row[2] for row in rows),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm 1979); NaN stays NaN and is not counted."""
    values = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    adjusted, highest = values.copy(), 0.0
    for rank, index in enumerate(known[np.argsort(values[known], kind="stable")]):
        highest = max(highest, min(1.0, (len(known) - rank) * float(values[index])))
        adjusted[index] = highest
    return [float(value) for value in adjusted]


def krippendorff_alpha(values: Values, raters: Sequence[str], units: Sequence[str]) -> float:
    """Agreement of raters on an interval scale, absent ratings allowed: 1 is perfect, 0 is chance.

    alpha = 1 - D_observed / D_expected; the first is the mean squared difference of ratings within
    a unit, each unit weighted by its ratings, the second that of all ratings that can be paired.
    Source: Krippendorff, Computing Krippendorff's alpha-reliability (2011). NaN when no unit
    has two ratings, or all ratings are equal.
    """
    if not len(values) == len(raters) == len(units):
        raise InputError("ratings", (len(values), len(raters), len(units)), "three equal lengths")
    members: dict[str, list[float]] = {}
    for value, unit in zip(values, units, strict=True):
        members.setdefault(unit, []).append(float(value))
    pairable = [np.array(own) for own in members.values() if len(own) > 1]
    if not pairable:
        return float("nan")
    everything = np.concatenate(pairable)
    count = len(everything)
    # the sum of squared differences of all ordered pairs of n numbers is 2 n sum (x - mean)^2
    observed = sum(2 * len(own) * own.var() * len(own) / (len(own) - 1) for own in pairable) / count
    expected = 2 * count * everything.var() * count / (count * (count - 1))
    return float(1 - observed / expected) if expected > 0 else float("nan")
