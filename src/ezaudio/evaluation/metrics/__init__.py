"""Statistics over what extractors heard.

A metric takes the reference set and the generated set and returns named numbers. To add one, write
its file and add a line to `METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ezaudio.evaluation.metrics.frechet import frechet_distance
from ezaudio.evaluation.metrics.inception import InceptionScore, inception_score
from ezaudio.evaluation.metrics.kl import sigmoid_kl, softmax_kl
from ezaudio.evaluation.metrics.table import FeatureTable

Metric: TypeAlias = Callable[[FeatureTable, FeatureTable], dict[str, float]]


def _fd(reference: FeatureTable, generated: FeatureTable) -> dict[str, float]:
    return {"fd": frechet_distance(reference.features, generated.features)}


def _kl(reference: FeatureTable, generated: FeatureTable) -> dict[str, float]:
    logits = generated.matching(reference.names).logits
    return {
        "kl_softmax": float(softmax_kl(reference.logits, logits).mean()),
        "kl_sigmoid": float(sigmoid_kl(reference.logits, logits).mean()),
    }


def _is(_reference: FeatureTable, generated: FeatureTable) -> dict[str, float]:
    score = inception_score(generated.logits)
    return {"is_mean": score.mean, "is_std": score.std}


METRICS: dict[str, Metric] = {"fd": _fd, "kl": _kl, "is": _is}
"""Every metric by name."""

__all__ = [
    "METRICS",
    "FeatureTable",
    "InceptionScore",
    "Metric",
    "frechet_distance",
    "inception_score",
    "sigmoid_kl",
    "softmax_kl",
]
