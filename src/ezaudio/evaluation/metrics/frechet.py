"""Fréchet distance between two sets of features, seen as Gaussians.

FD = |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2)), covariances with N - 1 (arXiv 1706.08500).

With the centred features A (N, J) and B (M, J), each divided by the root of its N - 1, S1 = A'A and
S2 = B'B. The non-zero eigenvalues of S1 S2 are those of (A B')(A B')', the squared singular values
of the cross-Gram matrix A B'; so the trace of the root is the sum of those singular values. No
matrix root is taken, and covariances without full rank need no offset.

Deviation: the reference adds an offset or drops imaginary parts where its root fails; this cannot.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ezaudio.errors import InputError

FloatArray = npt.NDArray[np.floating]


def frechet_distance(reference: FloatArray, generated: FloatArray) -> float:
    """Fréchet distance of (N, J) and (M, J) features; 0 for equal sets. Symmetric.

    Fewer clips than features bias it upward: compare at equal N only.

    Raises:
        InputError: fewer than two clips in a set, different widths, or values that are not finite.
    """
    _require_features("reference", reference)
    _require_features("generated", generated)
    if reference.shape[1] != generated.shape[1]:
        raise InputError("generated", generated.shape, f"(M, {reference.shape[1]}) features")
    a, mean_a = _factor(reference)
    b, mean_b = _factor(generated)
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    distance = ((mean_a - mean_b) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * root
    return max(0.0, float(distance))  # rounding may leave -1e-12


def _factor(features: FloatArray) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A factor F (min(N, J), J) with F'F the covariance, and the mean (J,)."""
    features = features.astype(np.float64)
    mean = features.mean(0)
    factor = (features - mean) / np.sqrt(len(features) - 1)
    if factor.shape[0] > factor.shape[1]:
        factor = np.linalg.qr(factor, mode="r")
    return factor, mean


def _require_features(field: str, features: FloatArray) -> None:
    if features.ndim != 2 or len(features) < 2:
        raise InputError(field, features.shape, "(N, J) features of at least two clips")
    if not np.isfinite(features).all():
        raise InputError(field, "NaN or infinity", "finite features")


def frechet_bias(
    features: FloatArray, reference_count: int, generated_count: int, *, draws: int = 2
) -> float:
    """What the distance shows between equal distributions, because the sets are small.

    Pairs of sets are drawn from one Gaussian with the covariance of `features`, and their distance
    is averaged. It is an estimate for Gaussian features: a lower bound where tails are heavier.

    Args:
        features: (N, J), the reference set or both sets together.
        reference_count: clips of the reference set.
        generated_count: clips of the generated set.
        draws: pairs of sets; their seeds are fixed.

    Raises:
        InputError: as `frechet_distance`; a count below two.
    """
    _require_features("features", features)
    if min(reference_count, generated_count) < 2:
        raise InputError("count", min(reference_count, generated_count), "at least two clips")
    singular = np.linalg.svd(_factor(features)[0], compute_uv=False)
    spread = singular[singular > singular.max() * 1e-9] if singular.size else singular
    distances = []
    for seed in range(draws):
        generator = np.random.default_rng(seed)
        a = generator.standard_normal((reference_count, len(spread))) * spread
        b = generator.standard_normal((generated_count, len(spread))) * spread
        distances.append(frechet_distance(a, b) if len(spread) else 0.0)
    return float(np.mean(distances))
