"""Cosine, kernel distance, precision and its kin, order, diversity, copies: by hand."""

import numpy as np
import pytest

from ezaudio.errors import InputError
from ezaudio.evaluation.metrics import (
    cosine_scores,
    event_order,
    kernel_distance,
    manifold_scores,
)
from ezaudio.evaluation.metrics.diversity import group_diversity
from ezaudio.evaluation.metrics.kad import median_distance
from ezaudio.evaluation.metrics.memorisation import copy_prints, likeness, near_copies


class TestCosine:
    def test_two_pairs_by_hand(self):
        # (3, 4) with (4, 3): 24 / 25; (1, 0) with (-2, 0): -1
        scores = cosine_scores(np.array([[3.0, 4], [1, 0]]), np.array([[4.0, 3], [-2, 0]]))
        np.testing.assert_allclose(scores, [24 / 25, -1])

    def test_an_embedding_without_direction_is_refused(self):
        with pytest.raises(InputError, match="audio"):
            cosine_scores(np.zeros((1, 2)), np.ones((1, 2)))


class TestKernelDistance:
    def test_two_and_two_clips_by_hand(self):
        # reference 0 and 2 (median distance 2, so 2 s^2 = 8), generated 0 and 4
        k = lambda d: np.exp(-(d**2) / 8)  # noqa: E731
        across = (k(0) + k(4) + k(2) + k(2)) / 4
        expected = 100 * (k(2) + k(4) - 2 * across)
        got = kernel_distance(np.array([[0.0], [2]]), np.array([[0.0], [4]]))
        assert got == pytest.approx(expected)

    def test_the_ruler_is_the_references(self):
        features = np.array([[0.0], [1.0], [5.0]])
        assert median_distance(features) == 4
        a, b = np.array([[0.0], [2]]), np.array([[0.0], [40]])
        assert kernel_distance(a, b) == pytest.approx(kernel_distance(a, b, bandwidth=2.0))
        assert kernel_distance(b, a) == pytest.approx(kernel_distance(b, a, bandwidth=40.0))

    def test_it_scatters_around_zero_for_equal_distributions(self):
        generator = np.random.default_rng(0)
        draws = [
            kernel_distance(generator.normal(size=(40, 16)), generator.normal(size=(40, 16)))
            for _ in range(60)
        ]
        standard_error = np.std(draws) / np.sqrt(len(draws))
        assert min(draws) < 0 < max(draws)
        assert abs(np.mean(draws)) < 4 * standard_error

    def test_recordings_that_are_all_the_same_have_no_ruler(self):
        with pytest.raises(InputError, match="bandwidth"):
            kernel_distance(np.ones((3, 2)), np.zeros((3, 2)))


class TestManifold:
    def test_points_on_a_line_by_hand(self):
        # k = 1. Reference 0, 1, 10: radii 1, 1, 9. Generated 0.5, 3, 30: radii 2.5, 2.5, 27.
        # 0.5 lies in the balls of 0 and 1; 3 in that of 10; 30 in none.
        scores = manifold_scores(
            np.array([[0.0], [1], [10]]), np.array([[0.5], [3], [30]]), neighbours=1
        )
        assert scores.precision == pytest.approx(2 / 3)
        assert scores.density == pytest.approx((2 + 1 + 0) / 3)
        assert scores.coverage == 1  # 0 and 1 by 0.5, 10 by 3
        assert scores.recall == 1  # 0 and 1 within 2.5 of 0.5 or 3, 10 within 27 of 30

    def test_one_repeated_sound_is_precise_and_covers_little(self):
        real = np.random.default_rng(0).normal(size=(50, 4))
        scores = manifold_scores(real, np.repeat(real[:1], 20, axis=0))
        assert scores.precision == 1
        assert scores.coverage < 0.5
        assert scores.recall < 0.05

    def test_too_few_clips_are_refused(self):
        with pytest.raises(InputError, match="more than 5"):
            manifold_scores(np.zeros((5, 2)), np.zeros((9, 2)))


class TestOrder:
    def presence(self, *pairs: tuple[list[float], list[float]]) -> np.ndarray:
        return np.array([np.transpose(pair) for pair in pairs])

    def test_existence_and_order_are_told_apart(self):
        early, late, never = [0.9, 0.1, 0.0], [0.0, 0.2, 0.8], [0.1, 0.2, 0.1]
        found = event_order(
            self.presence((early, late), (late, early), (early, never), (early, early))
        )
        assert found.both.tolist() == [True, True, False, True]
        assert found.ordered.tolist()[:2] == [True, False]
        assert not found.ordered[3]  # at the same time is not one after the other

    def test_a_steady_doubt_does_not_shift_an_event(self):
        first, second = [0.5, 0.4, 0.4, 0.4], [0.0, 0.6, 0.0, 0.0]
        assert event_order(self.presence((first, second))).ordered.tolist() == [True]

    def test_padding_after_a_short_clip_changes_nothing(self):
        first, second = [0.9, 0.0], [0.0, 0.9]
        short = self.presence((first, second))
        padded = np.concatenate([short, np.full((1, 3, 2), np.nan)], axis=1)
        for found in (event_order(padded), event_order(short)):
            assert found.both.tolist() == found.ordered.tolist() == [True]

    def test_without_any_pair_of_events_there_is_no_order(self):
        assert event_order(self.presence(([0.1], [0.1]))).both.tolist() == [False]


class TestDiversity:
    def test_two_groups_by_hand(self):
        # takes at right angles: 1; takes that are the same but for their length: 0
        features = np.array([[1.0, 0], [0, 1], [1, 1], [3, 3], [1, 0]])
        found = group_diversity(features, ["rain", "rain", "dog", "dog", "alone"])
        assert found == pytest.approx({"rain": 1.0, "dog": 0.0})

    def test_three_takes_are_three_pairs(self):
        features = np.array([[1.0, 0], [0, 1], [-1, 0]])  # cosines 0, -1, 0
        assert group_diversity(features, ["a"] * 3)["a"] == pytest.approx(1 + 1 / 3)


class TestCopies:
    def mel(self, seed: int, frames: int = 60) -> np.ndarray:
        return np.random.default_rng(seed).uniform(-60, 0, size=(64, frames))

    def test_a_second_of_a_recording_is_found_at_another_level_and_tone(self):
        recording = self.mel(0)
        tone = np.linspace(-6, 6, 64)[:, None]
        copied = recording[:, 15:40] - 9 + tone
        bank = copy_prints(recording, hop_frames=5)
        own, other = copy_prints(copied, hop_frames=1), copy_prints(self.mel(1), hop_frames=1)
        like = likeness([own, other], bank)
        assert like[0] > 0.97
        assert like[1] < 0.5

    def test_the_correlation_of_two_bands_by_hand(self):
        # one band pair moves, in step or against it; every other band is still
        base = np.full((64, 20), -30.0)
        up, down = base.copy(), base.copy()
        up[:2, 10:], down[:2, 10:] = 0.0, 0.0
        down[2:4, :10] = 0.0
        up_print, down_print = copy_prints(up, hop_frames=1), copy_prints(down, hop_frames=1)
        # unit vectors: one moving band against two that move as much; they share the first
        assert likeness([up_print], down_print)[0] == pytest.approx(1 / np.sqrt(2))

    def test_a_sound_without_change_is_like_nothing(self):
        still = copy_prints(np.full((64, 20), -10.0), hop_frames=1)
        assert likeness([still], copy_prints(self.mel(0), hop_frames=5))[0] == 0

    def test_the_threshold_comes_from_unheard_recordings(self):
        real = np.linspace(0, 1, 101)
        assert near_copies(np.array([0.5, 0.995]), real).tolist() == [False, True]

    def test_shorter_than_a_second_is_one_print(self):
        assert copy_prints(self.mel(0, frames=3), hop_frames=1).shape == (1, 640)
