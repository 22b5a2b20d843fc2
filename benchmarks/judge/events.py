"""Two events in a clip: are both heard, and where they have an order, does the first come first?

A window of 2 s slides over the clip, and the judge hears each. An event is present where the judge
has it among its first three of all kinds in at least one window. Its time is the mean time of the
windows, weighed by its probability in each. The same measure on recordings joined end to end, or
mixed, says how much the judge itself can hear of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from judge.features import SAMPLE_RATE
from judge.kinds import Kind
from judge.network import Judge

Sound = NDArray[np.float32]

WINDOW_S = 2.0
HOP_S = 0.25
AMONG = 3
WORDINGS = ("{a} then {b}", "{a} followed by {b}", "first {a}, then {b}", "{b} after {a}")
"""Each asks for `a` first."""

AT_ONCE = ("{a} and {b}", "{a} while {b}")
"""Each asks for both at the same time."""


@dataclass(frozen=True)
class Pair:
    """Two kinds, the first of which is asked for first."""

    first: Kind
    second: Kind

    def prompt(self, turn: int, wordings: Sequence[str] = WORDINGS) -> str:
        """One wording after another."""
        wording = wordings[turn % len(wordings)]
        return wording.format(a=self.first.prompt, b=self.second.prompt)


def pairs_of(kinds: Sequence[Kind], count: int, seed: int = 0) -> list[Pair]:
    """Different kinds, each pair in both orders, so that neither place favours a kind.

    Args:
        kinds: what is paired.
        count: pairs, even.
        seed: of the choice.
    """
    generator = torch.Generator().manual_seed(seed)
    every = torch.combinations(torch.arange(len(kinds)))
    chosen = every[torch.randperm(len(every), generator=generator)[: count // 2]].tolist()
    return [Pair(kinds[a], kinds[b]) for i, j in chosen for a, b in ((i, j), (j, i))]


def heard_over_time(judge: Judge, waves: Tensor) -> Tensor:
    """Probabilities of each kind in each window: (N, S) -> (N, windows, K)."""
    size, hop = round(WINDOW_S * SAMPLE_RATE), round(HOP_S * SAMPLE_RATE)
    windows = waves.unfold(1, min(size, waves.shape[1]), hop)  # (N, windows, S')
    heard = judge.probabilities(windows.flatten(0, 1))
    return heard.unflatten(0, windows.shape[:2])


def events(heard: Tensor, first: int, second: int) -> tuple[Tensor, Tensor]:
    """Which clips hold both kinds, and which have them in order, present or not.

    Args:
        heard: (N, windows, K).
        first, second: classes.

    Returns:
        Two booleans (N,).
    """
    ranks = heard.argsort(dim=2, descending=True).argsort(dim=2)
    present = (ranks < AMONG).any(dim=1)  # (N, K)
    times = torch.arange(heard.shape[1], dtype=heard.dtype)
    centres = torch.einsum("nwk,w->nk", heard, times) / heard.sum(dim=1)
    return present[:, first] & present[:, second], centres[:, first] < centres[:, second]


def joined(one: Sound, two: Sound) -> Sound:
    """End to end, with 0.2 s of silence between: (S,)."""
    return np.concatenate([one, np.zeros(round(0.2 * SAMPLE_RATE), np.float32), two])


def mixed(one: Sound, two: Sound) -> Sound:
    """At once and equally loud (RMS), as long as the shorter: (S,)."""
    length = min(len(one), len(two))
    parts = [
        wave[:length] / max(float(np.sqrt((wave[:length] ** 2).mean())), 1e-6)
        for wave in (one, two)
    ]
    both = parts[0] + parts[1]
    return (0.9 * both / np.abs(both).max()).astype(np.float32)


def put_together(
    sounds: Sequence[Sound],
    classes: Sequence[int],
    labels: Sequence[str],
    pairs: Sequence[Pair],
    takes: int,
    *,
    how: Callable[[Sound, Sound], Sound] = joined,
) -> Iterator[tuple[Pair, Tensor]]:
    """Two recordings of each pair in one clip.

    Pairs of which one kind has no recording are left out.

    Args:
        sounds: recordings at 24 kHz.
        classes: index in `labels` of each.
        labels: names of the classes.
        pairs: what is put together.
        takes: clips of each pair; recordings are taken in turn.
        how: `joined` or `mixed`.

    Yields:
        The pair, and its clips (takes, S).
    """
    members = {
        label: [i for i, c in enumerate(classes) if c == k] for k, label in enumerate(labels)
    }
    for pair in pairs:
        one, two = members[pair.first.label], members[pair.second.label]
        if one and two:
            clips = [
                how(sounds[one[k % len(one)]], sounds[two[k % len(two)]]) for k in range(takes)
            ]
            yield pair, torch.from_numpy(np.stack(clips))


def order_report(judge: Judge, takes: Iterable[tuple[Pair, Tensor]]) -> dict[str, Any]:
    """Shares over all clips (N, S) of all pairs."""
    both, ordered = [], []
    for pair, waves in takes:
        first, second = (judge.labels.index(kind.label) for kind in (pair.first, pair.second))
        mine = events(heard_over_time(judge, waves), first, second)
        both.append(mine[0])
        ordered.append(mine[1])
    present, order = torch.cat(both), torch.cat(ordered)
    return {
        "clips": len(present),
        "both": round(float(present.float().mean()), 4),
        "both_in_order": round(float((present & order).float().mean()), 4),
        "order_given_both": round(float(order[present].float().mean()), 4)
        if any(present)
        else None,
        "order": round(float(order.float().mean()), 4),
    }
