"""Parity with what audioldm_eval computes from the same features and logits."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from ezaudio.evaluation.features import ClipFeatures
from ezaudio.evaluation.metrics import (
    METRICS,
    MetricSettings,
    Sides,
    frechet_distance,
    inception_score,
    sigmoid_kl,
    softmax_kl,
)

GOLDEN = load_file(Path(__file__).parents[2] / "golden" / "metrics.safetensors")
REFERENCE, GENERATED = GOLDEN["in/logits_reference"], GOLDEN["in/logits_generated"]


def test_the_frechet_distance_is_the_references():
    got = frechet_distance(GOLDEN["in/features_reference"], GOLDEN["in/features_generated"])
    assert got == pytest.approx(float(GOLDEN["out/fd"]), rel=1e-4)


def test_both_divergences_are_the_references():
    softmax, sigmoid = softmax_kl(REFERENCE, GENERATED), sigmoid_kl(REFERENCE, GENERATED)
    assert softmax.mean() == pytest.approx(float(GOLDEN["out/kl_softmax"]), rel=1e-4)
    assert sigmoid.mean() == pytest.approx(float(GOLDEN["out/kl_sigmoid"]), rel=1e-4)


def test_the_inception_score_is_the_references():
    score = inception_score(GENERATED)
    assert [score.mean, score.std] == pytest.approx(GOLDEN["out/is_10_mean_std"], rel=1e-4)
    whole = inception_score(GENERATED, splits=1, shuffle_seed=None)
    assert whole.mean == pytest.approx(float(GOLDEN["out/is_1_mean"]), rel=1e-4)


def test_the_registered_metrics_give_the_same_numbers_whatever_the_order_of_the_files():
    names = tuple(f"{i}.wav" for i in range(len(REFERENCE)))
    order = np.random.default_rng(0).permutation(len(names))
    real = ClipFeatures(names, features=GOLDEN["in/features_reference"][:96], logits=REFERENCE)
    made = ClipFeatures(
        tuple(names[i] for i in order),
        features=GOLDEN["in/features_generated"][order],
        logits=GENERATED[order],
    )
    sides = Sides(real, (made,), MetricSettings())
    values = {name: METRICS[name].measure(sides) for name in ("kl", "kl_sigmoid", "fd", "is")}
    assert values["kl"].interval.value == pytest.approx(float(GOLDEN["out/kl_softmax"]), rel=1e-4)
    expected = float(GOLDEN["out/kl_sigmoid"])
    assert values["kl_sigmoid"].interval.value == pytest.approx(expected, rel=1e-4)
    assert 0 < values["fd"].extra["bias"] < values["fd"].interval.value
    assert values["is"].interval.low < values["is"].interval.value
