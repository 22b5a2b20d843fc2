import numpy as np
import pytest

from ezaudio.errors import InputError
from ezaudio.evaluation.metrics import inception_score


def test_clear_clips_of_equally_many_classes_score_their_number():
    logits = 1000.0 * np.tile(np.eye(4), (3, 1))
    score = inception_score(logits, splits=1)
    assert (score.mean, score.std) == pytest.approx((4, 0))


def test_clips_that_say_nothing_score_one():
    assert inception_score(np.zeros((20, 5))).mean == pytest.approx(1)


def test_two_clips_by_hand():
    # p = (3/4, 1/4) and its mirror; p(y) = (1/2, 1/2)
    logits = np.log([[3.0, 1.0], [1.0, 3.0]])
    expected = np.exp(0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    assert inception_score(logits, splits=1).mean == pytest.approx(expected)


def test_splits_are_scored_apart():
    logits = 1000.0 * np.eye(4)[[0, 0, 1, 2]]  # one class, then two
    score = inception_score(logits, splits=2, shuffle_seed=None)
    assert (score.mean, score.std) == pytest.approx((1.5, 0.5))


@pytest.mark.parametrize("splits", [0, 5])
def test_more_splits_than_clips_are_refused(splits):
    with pytest.raises(InputError, match="splits"):
        inception_score(np.zeros((4, 3)), splits=splits)


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="logits"):
        inception_score(np.full((4, 3), np.nan))
