"""Divergence of the generated sound's classes from those of its reference, pair by pair.

sum over classes of p (log p - log(q + 1e-6)), p of the reference, q of the generated clip: how
surprised a store is who expects the reference. The direction and the constant are those of
audioldm_eval; some other tools have the direction reversed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ezaudio.errors import InputError

FloatArray = npt.NDArray[np.floating]
Float64 = npt.NDArray[np.float64]

_EPSILON = 1e-6


def softmax_kl(reference: FloatArray, generated: FloatArray) -> Float64:
    """Divergence per pair of (N, K) logits, classes exclusive: (N,) in nats.

    Raises:
        InputError: the shapes differ, there is no pair, or logits are not finite.
    """
    _require_pairs(reference, generated)
    return _divergence(_softmax(reference), _softmax(generated))


def sigmoid_kl(reference: FloatArray, generated: FloatArray) -> Float64:
    """The same with independent classes, of which only presence counts; may be negative: (N,)."""
    _require_pairs(reference, generated)
    return _divergence(_sigmoid(reference), _sigmoid(generated))


def _divergence(p: Float64, q: Float64) -> Float64:
    log_p = np.log(p, out=np.zeros_like(p), where=p > 0)  # 0 log 0 = 0
    result: Float64 = (p * (log_p - np.log(q + _EPSILON))).sum(1)
    return result


def _softmax(logits: FloatArray) -> Float64:
    shifted = logits.astype(np.float64)
    exponents: Float64 = np.exp(shifted - shifted.max(1, keepdims=True))
    shares: Float64 = exponents / exponents.sum(1, keepdims=True)
    return shares


def _sigmoid(logits: FloatArray) -> Float64:
    tanh: Float64 = np.tanh(0.5 * logits.astype(np.float64))  # unlike exp, does not overflow
    half: Float64 = 0.5 * (1 + tanh)
    return half


def _require_pairs(reference: FloatArray, generated: FloatArray) -> None:
    if reference.shape != generated.shape or reference.ndim != 2 or not reference.size:
        raise InputError("pairs", (reference.shape, generated.shape), "two equal (N, K), N > 0")
    if not (np.isfinite(reference).all() and np.isfinite(generated).all()):
        raise InputError("logits", "NaN or infinity", "finite logits")
