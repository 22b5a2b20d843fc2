"""Precision, recall, density and coverage: which part of the generated sounds lies among the real
ones, and which part of the real ones is reached.

Around every clip of a set lies a ball out to its k-th nearest neighbour within the set. Precision:
share of generated clips in some ball of the reference. Recall: share of reference clips in some
generated ball. Density: number of reference balls that a generated clip lies in, over k. Coverage:
share of reference balls that hold a generated clip. Sources: arXiv 1904.06991, 2002.09797.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ezaudio.errors import InputError
from ezaudio.evaluation.metrics.kad import squared_distances

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Manifold:
    """Shares from 0 to 1; density may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_scores(
    reference: FloatArray, generated: FloatArray, *, neighbours: int = 5
) -> Manifold:
    """Compare (N, J) with (M, J).

    Args:
        reference: (N, J), more clips than `neighbours`.
        generated: (M, J), likewise.
        neighbours: k.

    Raises:
        InputError: a set is too small, or values are not finite.
    """
    for field, features in (("reference", reference), ("generated", generated)):
        if features.ndim != 2 or len(features) <= neighbours or not np.isfinite(features).all():
            allowed = f"finite (N, J) features of more than {neighbours} clips"
            raise InputError(field, features.shape, allowed)
    across = squared_distances(reference, generated)  # (N, M)
    real, made = _radii(reference, neighbours), _radii(generated, neighbours)
    inside = across <= real[:, None]
    return Manifold(
        precision=float(inside.any(0).mean()),
        recall=float((across <= made[None]).any(1).mean()),
        density=float(inside.sum(0).mean() / neighbours),
        coverage=float(inside.any(1).mean()),
    )


def _radii(features: FloatArray, neighbours: int) -> npt.NDArray[np.float64]:
    """Squared distance of each clip to its k-th neighbour, itself not counted."""
    distances = squared_distances(features, features)
    np.fill_diagonal(distances, -1.0)  # itself comes first, whatever rounding says
    radii: npt.NDArray[np.float64] = np.partition(distances, neighbours, axis=1)[:, neighbours]
    return radii
