"""Two events in order: the measure, on probabilities that are written down."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from judge import events
from judge.kinds import Kind

KINDS = [Kind(name, f"a {name}") for name in ("bell", "dog", "horn", "saw", "train")]
RATE = 24_000


class Scripted:
    """Hears whichever class the level of a window names: class k at level (k + 1) / 10."""

    def __init__(self) -> None:
        self.labels = [kind.label for kind in KINDS]

    def probabilities(self, waves: torch.Tensor) -> torch.Tensor:
        mean = waves.abs().amax(dim=1) * 10 - 1  # (N,)
        return torch.softmax(-4 * (mean[:, None] - torch.arange(5.0)).abs(), dim=1)


def clip(*classes: int) -> torch.Tensor:
    return torch.cat([torch.full((3 * RATE,), (k + 1) / 10) for k in classes])[None]


def test_pairs_come_in_both_orders_and_no_kind_is_paired_with_itself() -> None:
    pairs = events.pairs_of(KINDS, 8)
    names = {(pair.first.label, pair.second.label) for pair in pairs}
    assert len(pairs) == len(names) == 8
    assert all((b, a) in names and a != b for a, b in names)
    assert pairs == events.pairs_of(KINDS, 8)


def test_each_wording_asks_for_the_first_first() -> None:
    pair = events.Pair(KINDS[0], KINDS[1])
    asked = {pair.prompt(turn) for turn in range(4)}
    assert asked == {
        "a bell then a dog",
        "a bell followed by a dog",
        "first a bell, then a dog",
        "a dog after a bell",
    }


@pytest.mark.parametrize(
    ("classes", "both", "order"),
    [((0, 4), True, True), ((4, 0), True, False), ((0, 0), False, None), ((4, 4), False, None)],
)
def test_what_is_there_and_in_which_order(
    classes: tuple[int, int], both: bool, order: bool | None
) -> None:
    heard = events.heard_over_time(Scripted(), clip(*classes))  # type: ignore[arg-type]
    assert heard.shape == (1, 17, 5)  # windows of 2 s every 0.25 s in 6 s
    present, ordered = events.events(heard, 0, 4)
    assert bool(present[0]) is both
    if order is not None:
        assert bool(ordered[0]) is order


def test_the_shares_of_a_report_are_counted_over_all_clips() -> None:
    pair = events.Pair(KINDS[0], KINDS[4])
    waves = torch.cat([clip(0, 4), clip(4, 0), clip(0, 0), clip(0, 4)])
    result = events.order_report(Scripted(), [(pair, waves)])  # type: ignore[arg-type]
    assert result["clips"] == 4
    assert (result["both"], result["both_in_order"]) == (0.75, 0.5)
    assert result["order_given_both"] == pytest.approx(2 / 3, abs=1e-4)


def test_recordings_are_joined_in_the_order_of_the_pair() -> None:
    sounds = [np.full(RATE, 0.1, np.float32), np.full(RATE, 0.5, np.float32)]
    labels = [kind.label for kind in KINDS]
    pairs = [events.Pair(KINDS[4], KINDS[0]), events.Pair(KINDS[1], KINDS[0])]
    ((pair, waves),) = events.put_together(sounds, [0, 4], labels, pairs, 2)
    assert pair is pairs[0]  # of the other there is no recording
    assert waves.shape == (2, 2 * RATE + 4800)
    assert waves[0, 0] == 0.5 and waves[0, -1] == pytest.approx(0.1)


def test_sounds_at_once_are_equally_loud_and_as_long_as_the_shorter() -> None:
    generator = np.random.default_rng(0)
    one = 0.01 * generator.standard_normal(30_000).astype(np.float32)
    two = 0.5 * np.sin(np.arange(20_000) * 0.3).astype(np.float32)
    both = events.mixed(one, two)
    assert both.shape == (20_000,) and both.dtype == np.float32
    assert np.abs(both).max() == pytest.approx(0.9)
    shares = [float(both @ wave[:20_000]) / np.linalg.norm(wave[:20_000]) for wave in (one, two)]
    assert shares[0] == pytest.approx(shares[1], rel=0.05)
    first = events.pairs_of(KINDS, 2)[0]
    assert first.prompt(1, events.AT_ONCE) == f"{first.first.prompt} while {first.second.prompt}"
