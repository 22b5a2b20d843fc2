"""Do different seeds give different sounds? Distances between takes of one prompt.

The distance of two takes is 1 minus the cosine of their features. A model that collapses to one
sound per prompt has 0; the yardstick is the distance between recordings of one kind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ezaudio.errors import InputError

FloatArray = npt.NDArray[np.floating]


def group_diversity(features: FloatArray, groups: Sequence[str]) -> dict[str, float]:
    """Mean distance between the takes of each prompt that has at least two.

    Args:
        features: (N, J).
        groups: the prompt of each clip.

    Raises:
        InputError: rows and groups differ in number, or a feature vector is zero or not finite.
    """
    if features.ndim != 2 or len(features) != len(groups):
        raise InputError("features", features.shape, f"({len(groups)}, J), one row per clip")
    lengths = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise InputError("features", "a zero or infinite row", "finite features with a direction")
    unit = features / lengths
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    return {
        group: float(1 - _mean_cosine(unit[rows]))
        for group, rows in members.items()
        if len(rows) > 1
    }


def _mean_cosine(unit: npt.NDArray[np.float64]) -> float:
    rows, columns = np.triu_indices(len(unit), 1)
    return float((unit @ unit.T)[rows, columns].mean())
