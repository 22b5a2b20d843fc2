"""Scores in bins, and how many pairs reach each threshold of the paper's Table 2."""

from __future__ import annotations

from collections.abc import Sequence

BINS = 40
"""Bins from -1 to 1, 0.05 wide, so that the thresholds are edges of bins."""

THRESHOLDS = (0.30, 0.35, 0.40, 0.45, 0.50)
"""Rows of the table."""

_HAIR = 1e-9
"""A score that is a threshold up to rounding belongs to the bin that begins there."""


def bin_of(score: float) -> int:
    """Number of a score's bin; scores beyond the ends go into the last."""
    return min(BINS - 1, max(0, int((score + 1) / 2 * BINS + _HAIR)))


def lower_edge(index: int) -> float:
    """Lowest score of a bin."""
    return 2 * index / BINS - 1


def reached(bins: Sequence[int], threshold: float) -> int:
    """Count the pairs at or above a threshold that is an edge of a bin."""
    return sum(bins[bin_of(threshold) :])
