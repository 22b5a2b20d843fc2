import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ezaudio.errors import InputError
from ezaudio.evaluation.metrics import frechet_bias, frechet_distance


def test_one_feature_is_a_matter_of_means_and_deviations():
    # variances 2 and 8 (N - 1), means 1 and 4: 3^2 + (sqrt 2 - sqrt 8)^2 = 9 + 2
    a, b = np.array([[0.0], [2.0]]), np.array([[2.0], [6.0]])
    assert frechet_distance(a, b) == pytest.approx(11.0)


def test_covariances_that_do_not_commute_match_the_root_by_hand():
    # S1 = diag(4, 1) and S2 = [[2, 1], [1, 2]]: S1 S2 = [[8, 4], [1, 2]], trace 10, determinant 12,
    # so the trace of its root is sqrt(10 + 2 sqrt 12).
    square = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * np.sqrt(3 / 4)  # unit covariance
    a = square * [2, 1]
    b = square @ np.linalg.cholesky(np.array([[2.0, 1.0], [1.0, 2.0]])).T
    expected = 5 + 4 - 2 * np.sqrt(10 + 2 * np.sqrt(12))
    assert frechet_distance(a, b) == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 12), m=st.integers(2, 12), width=st.integers(1, 8), seed=st.integers(0, 99))
def test_it_is_symmetric_never_negative_and_blind_to_rotation(n, m, width, seed):
    generator = np.random.default_rng(seed)
    a, b = generator.normal(size=(n, width)), generator.normal(size=(m, width))
    rotation = np.linalg.qr(generator.normal(size=(width, width)))[0]
    distance = frechet_distance(a, b)
    assert distance >= 0
    assert frechet_distance(b, a) == pytest.approx(distance, abs=1e-9)
    assert frechet_distance(a @ rotation, b @ rotation) == pytest.approx(distance, abs=1e-9)


@pytest.mark.parametrize("clips", [3, 40])
def test_equal_sets_are_at_no_distance(clips):
    features = np.random.default_rng(0).normal(size=(clips, 10)).astype(np.float32)
    assert frechet_distance(features, features[::-1]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    "bad", [np.zeros((1, 3)), np.zeros(3), np.zeros((4, 2)), np.full((4, 3), np.nan)]
)
def test_sets_that_have_no_distance_are_refused(bad):
    with pytest.raises(InputError, match="generated"):
        frechet_distance(np.zeros((4, 3)), bad)


def test_the_bias_of_one_gaussian_feature_is_three_variances_over_n():
    # E (m1 - m2)^2 = 2 s^2 / n; the variance of a deviation is s^2 / 2n, so E (s1 - s2)^2 = s^2 / n
    features = np.random.default_rng(1).normal(scale=2.0, size=(4000, 1))
    bias = frechet_bias(features, 50, 50, draws=400)
    assert bias == pytest.approx(3 * features.var() / 50, rel=0.2)


def test_the_bias_falls_with_the_number_of_clips():
    features = np.random.default_rng(1).normal(size=(200, 32))
    small, large = (frechet_bias(features, n, n) for n in (50, 400))
    assert small > 4 * large


def test_clips_that_are_all_the_same_have_no_bias():
    assert frechet_bias(np.ones((5, 3)), 5, 5) == 0
