"""Inception score: exp E KL(p(y|x) || p(y)), high when clips are clear and their classes varied.

Source: arXiv 1606.03498. As in audioldm_eval the clips are shuffled with a fixed seed and cut into
splits; p(y) is the mean within a split; the mean and the standard deviation are over splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ezaudio.errors import InputError


@dataclass(frozen=True)
class InceptionScore:
    """Mean and standard deviation over the splits."""

    mean: float
    std: float


def inception_score(
    logits: npt.NDArray[np.floating], *, splits: int = 10, shuffle_seed: int | None = 2020
) -> InceptionScore:
    """Score (N, K) logits; between 1 and K.

    Args:
        logits: (N, K).
        splits: parts of nearly equal size that are scored apart.
        shuffle_seed: part of the protocol, not a source of chance; None keeps the order.

    Raises:
        InputError: `splits` is not between 1 and N, or logits are not finite.
    """
    if logits.ndim != 2 or not np.isfinite(logits).all():
        raise InputError("logits", logits.shape, "finite (N, K) logits")
    count = len(logits)
    if not 1 <= splits <= count:
        raise InputError("splits", splits, f"1 to {count}, the number of clips")
    if shuffle_seed is not None:
        logits = logits[np.random.RandomState(shuffle_seed).permutation(count)]
    edges = [part * count // splits for part in range(splits + 1)]
    scores = [_score(logits[a:b]) for a, b in pairwise(edges)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def _score(logits: npt.NDArray[np.floating]) -> float:
    shifted = logits.astype(np.float64)
    shifted = shifted - shifted.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    p = np.exp(log_p)
    marginal = p.mean(0, keepdims=True)
    log_marginal = np.log(marginal, out=np.zeros_like(marginal), where=marginal > 0)
    return float(np.exp((p * (log_p - log_marginal)).sum(1).mean()))
