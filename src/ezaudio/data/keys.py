"""Randomness as a function of where it is used: no state, so nothing to save and nothing to lose.

A key is a few whole numbers (seed, step, row, …). The same key gives the same draw in any process,
in any order, after any restart; `splitmix64` (Steele, Lea & Flood, OOPSLA 2014) spreads keys that
lie close together.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def seed_at(*key: int) -> int:
    """Hash a key to a seed of 63 bits."""
    state = 0
    for part in key:
        state = _mixed((state ^ (part & _MASK)) + _GOLDEN & _MASK)
    return state >> 1


def generator_at(*key: int) -> torch.Generator:
    """Give a CPU generator for a key.

    torch keeps 32 bits of a seed, so two of a million keys may share their draws.
    """
    return torch.Generator().manual_seed(seed_at(*key))


def permutation_at(count: int, *key: int) -> NDArray[np.int64]:
    """Give an order of 0 … count - 1 for a key."""
    if count == 1:
        return np.zeros(1, np.int64)
    order: NDArray[np.int64] = torch.randperm(count, generator=generator_at(*key)).numpy()
    return order


def uniforms_at(counters: NDArray[np.int64], *key: int) -> NDArray[np.float64]:
    """Give a number in [0, 1) for a key and each counter, shape of `counters`."""
    state = counters.astype(np.uint64) ^ np.uint64(seed_at(*key))
    state = state + np.uint64(_GOLDEN)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(state: int) -> int:
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)
