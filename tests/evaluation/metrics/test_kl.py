import numpy as np
import pytest

from ezaudio.errors import InputError
from ezaudio.evaluation.features import ClipFeatures
from ezaudio.evaluation.metrics import METRICS, MetricSettings, Sides, sigmoid_kl, softmax_kl


def evidence(names: tuple[str, ...], logits: np.ndarray) -> ClipFeatures:
    return ClipFeatures(names, logits=logits)


def score(name: str, reference: ClipFeatures, generated: ClipFeatures) -> float:
    sides = Sides(reference, (generated,), MetricSettings())
    return METRICS[name].measure(sides).interval.value


def test_exclusive_classes_by_hand_for_two_pairs():
    # p = (3/4, 1/4) and q = (1/2, 1/2), then p = q.
    reference = np.log([[3.0, 1.0], [1.0, 1.0]])
    generated = np.zeros((2, 2))
    expected = [0.75 * np.log(1.5) + 0.25 * np.log(0.5), 0.0]
    np.testing.assert_allclose(softmax_kl(reference, generated), expected, atol=3e-6)


def test_the_direction_is_from_the_reference():
    certain, unsure = np.array([[20.0, 0.0]]), np.zeros((1, 2))
    assert softmax_kl(certain, unsure)[0] == pytest.approx(np.log(2), abs=1e-5)
    # the other way the generated clip rules out (up to 1e-6) what the reference holds possible
    missed = -0.5 * np.log(np.exp(-20) + 1e-6)
    assert softmax_kl(unsure, certain)[0] == pytest.approx(missed - np.log(2), abs=1e-4)


def test_independent_classes_by_hand():
    # p = (3/4, 1/2) and q = (1/2, 1/2): only p (log p - log q) of each class counts
    reference, generated = np.array([[np.log(3.0), 0.0]]), np.zeros((1, 2))
    assert sigmoid_kl(reference, generated)[0] == pytest.approx(0.75 * np.log(1.5), abs=5e-6)


def test_extreme_logits_stay_finite():
    extreme = np.array([[1e4, -1e4]])
    for divergence in (softmax_kl, sigmoid_kl):
        assert divergence(extreme, -extreme)[0] == pytest.approx(-np.log(1e-6), rel=1e-3)
        assert divergence(extreme, extreme)[0] == pytest.approx(0, abs=1e-5)


def test_both_directions_are_named():
    # reference (3/4, 1/4), generated (1/2, 1/2): the two directions differ
    reference, generated = (
        evidence(("a",), np.log([[3.0, 1.0]])),
        evidence(("a",), np.zeros((1, 2))),
    )
    forward = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    backward = 0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25)
    assert score("kl", reference, generated) == pytest.approx(forward, abs=5e-6)
    assert score("kl_reverse", reference, generated) == pytest.approx(backward, abs=5e-6)


def test_pairs_are_found_by_name():
    logits = np.random.default_rng(0).normal(size=(3, 4))
    reference = evidence(("a", "b", "c"), logits)
    generated = evidence(("c", "a", "b"), logits[[2, 0, 1]])
    assert score("kl", reference, generated) == pytest.approx(0, abs=1e-5)
    assert score("kl_sigmoid", reference, generated) == pytest.approx(0, abs=1e-5)


def test_missing_pairs_are_named():
    reference = evidence(("a.wav", "b.wav", "c.wav"), np.zeros((3, 2)))
    generated = evidence(("a.wav", "c.wav", "d.wav"), np.zeros((3, 2)))
    with pytest.raises(InputError, match=r"b\.wav, d\.wav"):
        score("kl", reference, generated)


def test_a_name_may_occur_once():
    with pytest.raises(InputError, match=r"got 'a'; allowed: each clip once"):
        evidence(("a", "b", "a"), np.zeros((3, 2)))


def test_rows_and_names_must_be_as_many():
    with pytest.raises(InputError, match="logits"):
        evidence(("a", "b"), np.zeros((3, 2)))


@pytest.mark.parametrize("bad", [np.zeros((3, 2)), np.zeros(2), np.full((2, 2), np.inf)])
def test_logits_that_are_no_pairs_are_refused(bad):
    with pytest.raises(InputError):
        softmax_kl(np.zeros((2, 2)), bad)
