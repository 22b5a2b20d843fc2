"""Statistics over what extractors heard: pure functions, and the registry that names them."""

from ezaudio.evaluation.metrics.base import Measured, Metric, MetricSettings, Sides
from ezaudio.evaluation.metrics.cosine import cosine_scores
from ezaudio.evaluation.metrics.frechet import frechet_bias, frechet_distance
from ezaudio.evaluation.metrics.inception import InceptionScore, inception_score
from ezaudio.evaluation.metrics.kad import kernel_distance
from ezaudio.evaluation.metrics.kl import sigmoid_kl, softmax_kl
from ezaudio.evaluation.metrics.order import event_order
from ezaudio.evaluation.metrics.precision_recall import manifold_scores
from ezaudio.evaluation.metrics.registry import METRICS

__all__ = [
    "METRICS",
    "InceptionScore",
    "Measured",
    "Metric",
    "MetricSettings",
    "Sides",
    "cosine_scores",
    "event_order",
    "frechet_bias",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "manifold_scores",
    "sigmoid_kl",
    "softmax_kl",
]
