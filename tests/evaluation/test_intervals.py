import numpy as np
import pytest

from ezaudio.errors import InputError
from ezaudio.evaluation.intervals import (
    bootstrap_mean,
    jackknife,
    paired_difference,
    share_interval,
)


def test_the_bootstrap_of_a_mean_is_the_normal_interval_when_clips_are_many():
    values = np.random.default_rng(0).normal(loc=3.0, size=900)
    found = bootstrap_mean(values)
    half = 1.96 * values.std() / np.sqrt(900)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.01)
    assert found.high == pytest.approx(values.mean() + half, abs=0.01)


def test_takes_of_one_clip_stay_together():
    """Ten copies of each score make no interval narrower."""
    values = np.random.default_rng(0).normal(size=50)
    alone, copied = bootstrap_mean(values), bootstrap_mean(np.tile(values[:, None], (1, 10)))
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low)


def test_clips_without_a_score_are_left_out():
    assert bootstrap_mean(np.array([1.0, np.nan, 3.0])).value == 2
    with pytest.raises(InputError, match="values"):
        bootstrap_mean(np.empty(0))


def test_one_clip_has_no_interval():
    assert np.isnan(bootstrap_mean(np.array([2.0])).low)


def test_the_jackknife_of_a_mean_is_the_students_interval():
    """Left out one by one, the jackknife's variance of a mean is s^2 / N exactly."""
    values = np.random.default_rng(0).normal(size=20)
    found = jackknife(lambda rows: float(values[rows].mean()), 20, groups=20)
    half = 2.093024 * values.std(ddof=1) / np.sqrt(20)  # Student, 19 degrees of freedom
    assert found.high - found.value == pytest.approx(half, rel=1e-5)
    assert found.value == pytest.approx(values.mean())


def test_a_bias_that_depends_on_the_size_stays_out_of_the_jackknifes_interval():
    def biased(rows: np.ndarray) -> float:
        return 1000.0 / len(rows)

    found = jackknife(biased, 40, groups=10)
    assert found.high - found.low == pytest.approx(0)


def test_pairs_are_compared_clip_by_clip():
    """A shift far smaller than the scatter of the clips is certain when they are paired."""
    a = np.random.default_rng(0).normal(scale=10.0, size=100)
    b = a - 0.1 + 0.01 * np.random.default_rng(1).normal(size=100)
    interval, p = paired_difference(a, b)
    assert interval.low > 0
    assert p <= 1 / 1000
    _, same = paired_difference(a, np.random.default_rng(2).permutation(a))
    assert same > 0.05


def test_a_share_of_none_or_all_still_has_an_interval():
    none, all_of_them = share_interval(0.0, 30), share_interval(1.0, 30)
    assert (none.value, none.low) == (0, 0)
    assert none.high == pytest.approx(1.96**2 / (30 + 1.96**2), rel=1e-3)  # Wilson (1927)
    assert (all_of_them.low, all_of_them.high) == pytest.approx((1 - none.high, 1))


def test_the_interval_of_a_half_by_hand():
    found = share_interval(0.5, 4)  # centre 1/2, half = 1.96 sqrt(1/16 + 0.96^2/16) / 1.96
    assert found.high - found.low == pytest.approx(0.6999, abs=2e-3)
