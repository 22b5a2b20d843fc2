"""Every metric by name. To add one, write its pure function and add an entry here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ezaudio.evaluation.features import ClipFeatures
from ezaudio.evaluation.metrics.base import (
    ClipScores,
    Metric,
    MetricSettings,
    SetScore,
    Sides,
    per_clip,
    per_prompt,
    per_set,
)
from ezaudio.evaluation.metrics.cosine import cosine_scores
from ezaudio.evaluation.metrics.diversity import group_diversity
from ezaudio.evaluation.metrics.frechet import frechet_bias, frechet_distance
from ezaudio.evaluation.metrics.inception import inception_score
from ezaudio.evaluation.metrics.kad import kernel_distance
from ezaudio.evaluation.metrics.kl import sigmoid_kl, softmax_kl
from ezaudio.evaluation.metrics.memorisation import near_copies
from ezaudio.evaluation.metrics.order import EventOrder, event_order
from ezaudio.evaluation.metrics.precision_recall import manifold_scores
from ezaudio.evaluation.metrics.signal_checks import duration_errors

Array = npt.NDArray[np.floating]


def _fd(real: ClipFeatures | None, made: ClipFeatures, _: MetricSettings) -> float:
    assert real is not None
    return frechet_distance(real.get("features"), made.get("features"))


def _fad(real: ClipFeatures | None, made: ClipFeatures, _: MetricSettings) -> float:
    """All stretches of all clips are one set, as in arXiv 1812.08466."""
    assert real is not None
    a, b = (np.concatenate(list(side.get("frames"))) for side in (real, made))
    return frechet_distance(a, b)


def _fd_bias(sides: Sides) -> Mapping[str, float]:
    real = np.ascontiguousarray(sides.real.get("features"), np.float64)
    counts = (len(real), len(sides.takes[0]))
    return {"bias": _bias(real.tobytes(), real.shape[1], counts, sides.settings.bias_draws)}


@lru_cache(maxsize=2)
def _bias(features: bytes, width: int, counts: tuple[int, int], draws: int) -> float:
    """Every row of a table has the same recordings: what they say is computed once."""
    return frechet_bias(np.frombuffer(features).reshape(-1, width), *counts, draws=draws)


def _kad(real: ClipFeatures | None, made: ClipFeatures, _: MetricSettings) -> float:
    assert real is not None
    return kernel_distance(real.get("features"), made.get("features"))


def _manifold(field: str) -> SetScore:
    def score(real: ClipFeatures | None, made: ClipFeatures, settings: MetricSettings) -> float:
        assert real is not None
        found = manifold_scores(
            real.get("features"), made.get("features"), neighbours=settings.neighbours
        )
        return float(getattr(found, field))

    return score


def _is(_: ClipFeatures | None, made: ClipFeatures, settings: MetricSettings) -> float:
    splits = min(settings.is_splits, len(made))
    score = inception_score(
        made.get("logits"), splits=splits, shuffle_seed=settings.is_shuffle_seed
    )
    return score.mean


def _is_extra(sides: Sides) -> Mapping[str, float]:
    splits = min(sides.settings.is_splits, len(sides.takes[0]))
    seed = sides.settings.is_shuffle_seed
    scores = [
        inception_score(take.get("logits"), splits=splits, shuffle_seed=seed)
        for take in sides.takes
    ]
    return {"split_std": float(np.mean([score.std for score in scores])), "splits": splits}


def _kl(sigmoid: bool, reverse: bool) -> ClipScores:
    divergence = sigmoid_kl if sigmoid else softmax_kl

    def scores(real: ClipFeatures | None, made: ClipFeatures, _: MetricSettings) -> Array:
        assert real is not None
        pair = (real.get("logits"), made.matching(real.names).get("logits"))
        return divergence(*(pair[::-1] if reverse else pair))

    return scores


def _clap(_: ClipFeatures | None, made: ClipFeatures, __: MetricSettings) -> Array:
    return cosine_scores(made.get("audio"), made.get("text"))


def _order(field: str) -> ClipScores:
    """Scores of clips with two events; NaN for the others."""

    def scores(_: ClipFeatures | None, made: ClipFeatures, settings: MetricSettings) -> Array:
        presence = made.get("presence")
        asked = ~np.isnan(presence[:, 0]).any(1)
        values = np.full(len(presence), np.nan)
        if asked.any():
            found = event_order(presence[asked], threshold=settings.order_threshold)
            values[asked] = _order_values(found, field)
        return values

    return scores


def _order_values(found: EventOrder, field: str) -> Array:
    if field == "given_both":
        return np.where(found.both, found.ordered, np.nan).astype(np.float64)
    values = found.both if field == "both" else found.both & found.ordered
    return values.astype(np.float64)


def _diversity(sides: Sides) -> Array:
    first = sides.takes[0]
    prompts = first.prompts if all(first.prompts) and first.prompts else first.names
    groups = [prompt for _ in sides.takes for prompt in prompts]
    features = np.concatenate([take.get("features") for take in sides.takes])
    return np.array(list(group_diversity(features, groups).values()))


def _copies(real: ClipFeatures | None, made: ClipFeatures, settings: MetricSettings) -> Array:
    assert real is not None
    copied = near_copies(
        made.get("likeness"), real.get("likeness"), quantile=settings.copy_quantile
    )
    return copied.astype(np.float64)


def _fact(name: str) -> ClipScores:
    def scores(_: ClipFeatures | None, made: ClipFeatures, __: MetricSettings) -> Array:
        return made.get(name).astype(np.float64)

    return scores


def _duration_error(_: ClipFeatures | None, made: ClipFeatures, __: MetricSettings) -> Array:
    return duration_errors(made.get("duration_s"), made.get("asked_s"))


def _set(title: str, meaning: str, score: SetScore, *, higher: bool = False) -> Metric:
    return Metric(
        title,
        meaning,
        "higher" if higher else "lower",
        per_set(score),
        needs=("features",),
        needs_reference=("features",),
        share=higher,
    )


def _divergence(title: str, meaning: str, scores: ClipScores) -> Metric:
    need = ("logits",)
    return Metric(title, meaning, "lower", per_clip(scores), need, need, paired=True)


METRICS: dict[str, Metric] = {
    "fd": Metric(
        "FD",
        "Fréchet distance of the features; biased upward at small N, see the bias beside it",
        "lower",
        per_set(_fd, _fd_bias),
        needs=("features",),
        needs_reference=("features",),
    ),
    "fad": Metric(
        "FAD",
        "Fréchet distance of the features of all stretches of all clips",
        "lower",
        per_set(_fad),
        needs=("frames",),
        needs_reference=("frames",),
    ),
    "kad": _set("KAD", "kernel distance of the features (x 100); unbiased, 0 when equal", _kad),
    "kl": _divergence("KL", "KL(reference ‖ generated), softmax", _kl(False, False)),
    "kl_reverse": _divergence("KL rev.", "KL(generated ‖ reference), softmax", _kl(False, True)),
    "kl_sigmoid": _divergence("KL sigm.", "KL(reference ‖ generated), sigmoid", _kl(True, False)),
    "kl_sigmoid_reverse": _divergence(
        "KL sigm. rev.", "KL(generated ‖ reference), sigmoid", _kl(True, True)
    ),
    "is": Metric(
        "IS",
        "inception score: clear clips of many kinds",
        "higher",
        per_set(_is, _is_extra),
        needs=("logits",),
    ),
    "clap": Metric(
        "CLAP",
        "cosine between sound and caption",
        "higher",
        per_clip(_clap),
        needs=("audio", "text"),
    ),
    "caption": Metric(
        "caption",
        "cosine between sound and caption in the space of this extractor, which is not CLAP",
        "higher",
        per_clip(_clap),
        needs=("audio", "text"),
    ),
    "precision": _set(
        "precision", "share of clips among the recordings", _manifold("precision"), higher=True
    ),
    "recall": _set(
        "recall", "share of recordings among the clips", _manifold("recall"), higher=True
    ),
    "coverage": _set(
        "coverage", "share of recordings with a clip near by", _manifold("coverage"), higher=True
    ),
    "events": Metric(
        "events",
        "share of two-event prompts of which both events are heard",
        "higher",
        per_clip(_order("both")),
        needs=("presence",),
        share=True,
    ),
    "order": Metric(
        "order",
        "share of two-event prompts with both events in the right order",
        "higher",
        per_clip(_order("joint")),
        needs=("presence",),
        share=True,
    ),
    "order_given_events": Metric(
        "order | events",
        "share of right orders where both events are heard",
        "higher",
        per_clip(_order("given_both")),
        needs=("presence",),
        share=True,
    ),
    "diversity": Metric(
        "diversity",
        "1 - cosine of the features between takes of one prompt",
        "real",
        per_prompt(_diversity),
        needs=("features",),
    ),
    "near_copies": Metric(
        "near copies",
        "share of clips more like a training second than unheard recordings are",
        "lower",
        per_clip(_copies),
        needs=("likeness",),
        needs_reference=("likeness",),
        share=True,
    ),
    "silent": Metric(
        "silent", "share of clips that cannot be heard", "lower", per_clip(_fact("silent")),
        needs=("silent",), share=True,
    ),
    "clipped": Metric(
        "clipped", "share of clips with three samples in a row at full scale", "lower",
        per_clip(_fact("clipped")), needs=("clipped",), share=True,
    ),
    "silent_tail": Metric(
        "tail (s)", "silence at the end", "lower", per_clip(_fact("silent_tail_s")),
        needs=("silent_tail_s",),
    ),
    "loudness": Metric(
        "LUFS", "integrated loudness of clips that have one", "real",
        per_clip(_fact("loudness_lufs")), needs=("loudness_lufs",),
    ),
    "bandwidth": Metric(
        "band (Hz)", "frequency below which 99 % of the energy lies", "real",
        per_clip(_fact("bandwidth_hz")), needs=("bandwidth_hz",),
    ),
    "texture": Metric(
        "texture", "deviation of the log magnitude around its local mean; noise has 0.64", "real",
        per_clip(_fact("texture")), needs=("texture",),
    ),
    "repeats": Metric(
        "buzzing", "share of clips whose waveform repeats every 20 ms", "lower",
        per_clip(_fact("repeats")), needs=("repeats",), share=True,
    ),
    "duration_error": Metric(
        "length error (s)", "distance from the length that was asked for", "lower",
        per_clip(_duration_error), needs=("duration_s", "asked_s"),
    ),
}  # fmt: skip
"""Every metric by name."""
