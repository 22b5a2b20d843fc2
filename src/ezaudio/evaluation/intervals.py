"""How sure a number is: confidence intervals for means over clips and for statistics of whole sets.

Scores that every clip has (KL, CLAP) are resampled by clip with replacement (percentile bootstrap);
two systems are compared pair by pair. Statistics of whole sets (FD, KAD, IS) must not be resampled
with replacement: repeated clips shrink the spread of a set, and an FD grows by as much as its bias.
For them clips are left out in groups (delete-a-group jackknife): all reduced sets have the same
size, so a bias that depends on the size falls out of the interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ezaudio.errors import InputError

FloatArray = npt.NDArray[np.floating]
Rows = npt.NDArray[np.int64]

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A number with its confidence interval.

    Attributes:
        value: the number.
        low: lower end; NaN where it cannot be told.
        high: upper end.
    """

    value: float
    low: float
    high: float


def bootstrap_mean(
    values: FloatArray, *, draws: int = 2000, level: float = LEVEL, seed: int = 0
) -> Interval:
    """Mean of (N,) values and its percentile bootstrap interval.

    Args:
        values: (N,), or (N, seeds): the takes of one clip stay together. NaN counts as absent.
        draws: resampled means.
        level: of the interval.
        seed: of the resampling; part of the protocol.

    Raises:
        InputError: no value at all.
    """
    table = values.astype(np.float64).reshape(len(values), -1 if values.size else 1)
    means = np.array([np.nan if np.isnan(row).all() else np.nanmean(row) for row in table])
    means = means[~np.isnan(means)]
    if not len(means):
        raise InputError("values", values.shape, "at least one value")
    if len(means) == 1:
        return Interval(float(means[0]), float("nan"), float("nan"))
    generator = np.random.default_rng(seed)
    sampled = np.empty(draws)
    for start in range(0, draws, 200):  # a bounded table of indices
        stop = min(start + 200, draws)
        rows = generator.integers(len(means), size=(stop - start, len(means)))
        sampled[start:stop] = means[rows].mean(1)
    low, high = np.quantile(sampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(means.mean()), float(low), float(high))


def share_interval(share: float, count: int, *, level: float = LEVEL) -> Interval:
    """Wilson's interval of a share of `count` clips; it has a width at 0 and at 1 too.

    A bootstrap of clips that all agree has none, though 0 of 30 clips does not mean never.
    """
    if not count:
        raise InputError("count", count, "at least one clip")
    squared = float(stats.norm.ppf((1 + level) / 2)) ** 2
    centre = (share + squared / (2 * count)) / (1 + squared / count)
    spread = share * (1 - share) / count + squared / (4 * count**2)
    half = float(np.sqrt(squared * spread)) / (1 + squared / count)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def paired_difference(
    a: FloatArray, b: FloatArray, *, draws: int = 2000, level: float = LEVEL, seed: int = 0
) -> tuple[Interval, float]:
    """Mean of a - b over the same clips, with its interval, and a two-sided p-value.

    The p-value is that of the paired bootstrap: twice the smaller share of resampled means on one
    side of 0, at least 1 / draws.

    Raises:
        InputError: the two have different shapes.
    """
    if a.shape != b.shape:
        raise InputError("b", b.shape, f"{a.shape}, the scores of the same clips")
    difference = (a - b).astype(np.float64)
    interval = bootstrap_mean(difference, draws=draws, level=level, seed=seed)
    kept = difference[~np.isnan(difference)]
    rows = np.random.default_rng(seed).integers(len(kept), size=(draws, len(kept)))
    sampled = kept[rows].mean(1)
    side = min(float((sampled <= 0).mean()), float((sampled >= 0).mean()))
    return interval, float(min(1.0, max(2 * side, 1 / draws)))


def jackknife(
    statistic: Callable[[Rows], float],
    count: int,
    *,
    groups: int = 10,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """A statistic of all clips, and its interval from leaving out groups of clips.

    Variance = (g - 1) / g * sum of (t_i - mean t)^2 over the g reduced sets; the interval is
    Student's with g - 1 degrees of freedom around the value of the whole set.

    Args:
        statistic: from the rows that are kept to a number.
        count: number of clips, N.
        groups: g; as many as clips where there are fewer.
        level: of the interval.
        seed: of the grouping; part of the protocol.
    """
    value = statistic(np.arange(count, dtype=np.int64))
    parts = min(groups, count)
    if parts < 2:
        return Interval(value, float("nan"), float("nan"))
    order = np.random.default_rng(seed).permutation(count)
    try:
        reduced = np.array(
            [statistic(np.sort(np.delete(order, np.s_[part::parts]))) for part in range(parts)]
        )
    except InputError:  # a reduced set is too small for the statistic
        return Interval(value, float("nan"), float("nan"))
    variance = (parts - 1) / parts * ((reduced - reduced.mean()) ** 2).sum()
    half = float(stats.t.ppf((1 + level) / 2, parts - 1) * np.sqrt(variance))
    return Interval(value, value - half, value + half)
