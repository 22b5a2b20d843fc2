import numpy as np
import pytest
from scipy import stats

from ezaudio.evaluation.listening.statistics import (
    Ratings,
    clustered_mean,
    holm,
    krippendorff_alpha,
    paired_by_item,
)


def ratings(table: np.ndarray) -> Ratings:
    """Every listener (row) rates every item (column)."""
    listeners, items = np.indices(table.shape)
    return Ratings(
        table.ravel().astype(float),
        tuple(f"l{i}" for i in listeners.ravel()),
        tuple(f"i{i}" for i in items.ravel()),
    )


def test_two_listeners_and_two_items_by_hand():
    # ratings 1, 3 / 3, 5: mean 3; residual sums by listener -2, +2, by item the same
    # V = 2/1 * (4 + 4) / 16 = 1 by each side; by cell: 4/3 * (4 + 0 + 0 + 4) / 16 = 2/3
    found, _ = clustered_mean(ratings(np.array([[1, 3], [3, 5]])))
    half = stats.t.ppf(0.975, 1) * np.sqrt(1 + 1 - 2 / 3)
    assert found.value == 3
    assert found.high - found.value == pytest.approx(half)


def test_listeners_who_differ_in_their_zero_widen_the_interval():
    """A hundred items do not make three severe or mild listeners more."""
    table = np.array([[2.0], [3.0], [4.0]]) + np.zeros((3, 100))
    found, _ = clustered_mean(ratings(table))
    naive = 1.96 * table.std() / np.sqrt(table.size)
    assert found.high - found.value > 10 * naive


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        table = (
            3
            + 0.5 * generator.normal(size=(12, 1))
            + 0.5 * generator.normal(size=(1, 30))
            + 0.7 * generator.normal(size=(12, 30))
        )
        found, _ = clustered_mean(ratings(table))
        held += found.low <= 3 <= found.high
    assert 0.91 <= held / 300 <= 0.99


def test_one_listener_gives_no_interval():
    found, p = clustered_mean(ratings(np.array([[1, 2, 3]])))
    assert found.value == 2
    assert np.isnan(found.low)
    assert np.isnan(p)


def test_systems_are_compared_on_what_the_same_listener_rated():
    a = Ratings(np.array([5.0, 4, 3]), ("x", "x", "y"), ("1", "2", "1"))
    b = Ratings(np.array([2.0, 1]), ("y", "x"), ("1", "1"))
    found = paired_by_item(a, b)
    assert sorted(zip(found.values, found.listeners, strict=True)) == [(1, "y"), (4, "x")]


def test_p_values_are_adjusted_by_hand():
    assert holm([0.01, 0.04, 0.03, float("nan")])[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(holm([0.01, float("nan")])[1])


class TestAgreement:
    def alpha(self, *rows: list[float]) -> float:
        """Each row is a rater, each column a unit; NaN is absent."""
        table = np.array(rows, dtype=float)
        raters, units = np.indices(table.shape)
        known = ~np.isnan(table)
        return krippendorff_alpha(
            table[known], [str(r) for r in raters[known]], [str(u) for u in units[known]]
        )

    def test_perfect_agreement_is_one(self):
        assert self.alpha([1, 2, 5], [1, 2, 5]) == 1

    def test_two_units_by_hand(self):
        # units (1, 2) and (3, 3): D_o = (2 * 1) / 4 = 0.5
        # all ordered pairs of 1, 2, 3, 3: 2 * (1 + 4 + 4 + 1 + 1 + 0) = 22 over 12
        assert self.alpha([1, 3], [2, 3]) == pytest.approx(1 - 0.5 / (22 / 12))

    def test_units_with_one_rating_do_not_count(self):
        nan = float("nan")
        assert self.alpha([1, 3, 5], [2, 3, nan]) == pytest.approx(self.alpha([1, 3], [2, 3]))

    def test_without_a_pair_there_is_no_agreement(self):
        assert np.isnan(self.alpha([1, 2]))
