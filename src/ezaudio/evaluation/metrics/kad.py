"""Kernel audio distance: 100 times the unbiased squared maximum mean discrepancy.

MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y), the first two means without the diagonal,
for the Gaussian kernel k(a, b) = exp(-|a - b|^2 / (2 s^2)); s is the median distance between clips
of the *reference*, so that two systems are measured with one ruler. Unbiased at any number of
clips: for equal distributions it scatters around 0 and may be negative. Source: arXiv 2502.15602.

Deviation: a published tool takes the median within the set that is evaluated.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ezaudio.errors import InputError

FloatArray = npt.NDArray[np.floating]
Float64 = npt.NDArray[np.float64]

_SCALE = 100.0


def kernel_distance(
    reference: FloatArray, generated: FloatArray, *, bandwidth: float | None = None
) -> float:
    """Distance of (N, J) and (M, J) features.

    Args:
        reference: (N, J), N >= 2.
        generated: (M, J), M >= 2.
        bandwidth: s; None takes the median distance within the reference.

    Raises:
        InputError: shapes that do not fit, values that are not finite, or all references equal.
    """
    for field, features in (("reference", reference), ("generated", generated)):
        if features.ndim != 2 or len(features) < 2 or not np.isfinite(features).all():
            raise InputError(field, features.shape, "finite (N, J) features of at least two clips")
    if reference.shape[1] != generated.shape[1]:
        raise InputError("generated", generated.shape, f"(M, {reference.shape[1]}) features")
    s = median_distance(reference) if bandwidth is None else bandwidth
    if s <= 0:
        raise InputError("bandwidth", s, "more than 0; are all reference clips the same?")
    within = _off_diagonal_mean(reference, s) + _off_diagonal_mean(generated, s)
    across = np.exp(squared_distances(reference, generated) / (-2 * s * s)).mean()
    return float(_SCALE * (within - 2 * across))


def median_distance(features: FloatArray) -> float:
    """Median of the distances between different rows of (N, J)."""
    rows, columns = np.triu_indices(len(features), 1)
    return float(np.median(np.sqrt(squared_distances(features, features)[rows, columns])))


def squared_distances(a: FloatArray, b: FloatArray) -> Float64:
    """Squared Euclidean distances of (N, J) and (M, J): (N, M)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    centre = b.mean(0)  # a common shift keeps distances, and keeps rounding small
    a, b = a - centre, b - centre
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    distances: Float64 = np.maximum(squares, 0.0)
    return distances


def _off_diagonal_mean(features: FloatArray, s: float) -> float:
    count = len(features)
    kernel = np.exp(squared_distances(features, features) / (-2 * s * s))
    np.fill_diagonal(kernel, 0.0)
    return float(kernel.sum() / (count * (count - 1)))
