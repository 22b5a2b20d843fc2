"""Where a clip sounds, and how loud it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PEAK = 0.8
AUDIBLE_DB = -45.0
_MARGIN_S = 0.02
FAINT = 1e-4
"""A smaller peak counts as silence, and keeps its level."""


def trimmed(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Cut silence at both ends (below -45 dB re peak, 20 ms kept): (S,) -> (S',)."""
    magnitude = np.abs(samples)
    peak = float(magnitude.max(initial=0.0))
    if peak < FAINT:
        return samples
    loud = np.flatnonzero(magnitude > peak * 10 ** (AUDIBLE_DB / 20))
    margin = round(_MARGIN_S * sample_rate)
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]


def levelled(samples: NDArray[np.float32], peak: float = PEAK) -> NDArray[np.float32]:
    """Scale (S,) to a peak; what has none (below 1e-4) stays as it is."""
    highest = float(np.abs(samples).max(initial=0.0))
    return samples if highest < FAINT else samples * np.float32(peak / highest)


def trim_and_level(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Cut silence at both ends and scale the peak to 0.8: what a model learns from such clips
    begins at once and is loud enough.
    """
    return levelled(trimmed(samples, sample_rate))


def rms(samples: NDArray[np.float32]) -> float:
    """Root mean square of (S,), at least 1e-6."""
    return max(1e-6, float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))))
