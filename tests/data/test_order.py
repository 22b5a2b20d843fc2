"""The sequence of clips: epochs, shares, and no memory."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ezaudio.data.keys import generator_at, permutation_at, seed_at, uniforms_at
from ezaudio.data.order import Balance, DrawOrder
from ezaudio.errors import InputError

TAKES = {"rain": [0, 2, 4, 6, 8], "dog": [1, 3], "bell": [5]}


def test_an_epoch_holds_every_clip_exactly_once():
    order = DrawOrder(TAKES, Balance(), seed=3)
    epochs = [order.at(8 * e, 8) for e in range(20)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4, 5, 6, 8] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 15


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    power=st.sampled_from([0.0, 0.5, 1.0]),
    first=st.integers(0, 60),
    seed=st.integers(0, 5),
)
def test_any_part_is_the_same_whatever_was_asked_before(counts, power, first, seed):
    numbers = iter(range(100))
    takes = {str(k): [next(numbers) for _ in range(n)] for k, n in enumerate(counts)}
    whole = DrawOrder(takes, Balance(power=power), seed=seed).at(0, 80)
    fresh = DrawOrder(takes, Balance(power=power), seed=seed)
    assert fresh.at(first, 20) == whole[first : first + 20]
    assert fresh.at(0, 20) == whole[:20]


def test_under_balancing_a_label_hands_out_each_clip_before_any_again():
    drawn = DrawOrder(TAKES, Balance(power=0.0), seed=0).at(0, 800)
    for clips in TAKES.values():
        ours = [clip for clip in drawn if clip in clips]
        counts = Counter(ours)
        assert max(counts.values()) - min(counts[clip] for clip in clips) <= 2


def test_shares_follow_the_power_of_the_count():
    drawn = Counter(DrawOrder(TAKES, Balance(power=0.5), seed=0).at(0, 8000))
    shares = {label: sum(drawn[clip] for clip in clips) / 8000 for label, clips in TAKES.items()}
    roots = {label: len(clips) ** 0.5 for label, clips in TAKES.items()}
    total = sum(roots.values())
    assert shares == pytest.approx({k: v / total for k, v in roots.items()}, abs=0.002)


def test_frequent_labels_get_their_share_of_the_draws():
    balance = Balance(power=0.5, frequent_share=0.9, frequent=5)
    drawn = Counter(DrawOrder(TAKES, balance, seed=0).at(0, 8000))
    assert sum(drawn[clip] for clip in TAKES["rain"]) / 8000 == pytest.approx(0.9, abs=0.002)


def test_seeds_give_different_orders():
    assert DrawOrder(TAKES, Balance(), seed=0).at(0, 40) != DrawOrder(TAKES, Balance(), seed=1).at(
        0, 40
    )


def test_nothing_to_draw_is_an_error():
    with pytest.raises(InputError, match="at least one clip"):
        DrawOrder({"rain": []}, Balance(), seed=0)


def test_keys_that_lie_close_together_give_unrelated_draws():
    seeds = {seed_at(a, b) for a in range(50) for b in range(50)}
    assert len(seeds) == 2500
    assert seed_at(1, 2) != seed_at(2, 1)
    first = [float(generator_at(7, i).initial_seed() % 997) for i in range(500)]
    assert abs(np.corrcoef(first, np.arange(500))[0, 1]) < 0.15


def test_uniforms_fill_the_interval_and_do_not_depend_on_their_neighbours():
    many = uniforms_at(np.arange(4000), 5, 6)
    assert 0 <= many.min() < 0.01 and 0.99 < many.max() < 1
    np.testing.assert_allclose(np.histogram(many, 10, (0, 1))[0], 400, atol=80)
    assert uniforms_at(np.arange(1234, 1235), 5, 6)[0] == many[1234]


def test_a_permutation_has_every_number_once():
    assert sorted(permutation_at(9, 1, 2).tolist()) == list(range(9))
    assert permutation_at(1, 3).tolist() == [0]
