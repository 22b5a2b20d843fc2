"""Numbers about clips: how often the judge agrees with the prompt, and what else is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from judge import measures
from judge.features import FRAME_RATE, filled, log_mel
from judge.kinds import Kind
from judge.network import Judge

if TYPE_CHECKING:
    from judge.training import Examples

DISTANCE_S = 4.0
DISTANCE_CLIPS = 8
COPY_QUANTILE = 0.99


def scores(probabilities: Tensor, classes: Sequence[int], labels: Sequence[str]) -> dict[str, Any]:
    """Top-1 and top-3 over all clips and per label, with counts and what else was heard.

    Args:
        probabilities: (N, K).
        classes: the true class of each clip.
        labels: names of the classes.
    """
    truth = torch.tensor(classes)
    ranked = probabilities.argsort(dim=1, descending=True)
    first, among = ranked[:, 0] == truth, (ranked[:, :3] == truth[:, None]).any(dim=1)
    per_label: dict[str, dict[str, Any]] = {}
    for k, label in enumerate(labels):
        mine = truth == k
        if count := int(mine.sum()):
            wrong = [labels[i] for i in ranked[mine, 0].tolist() if i != k]
            per_label[label] = {
                "clips": count,
                "top1": _mean(first[mine]),
                "top3": _mean(among[mine]),
                "heard_as": {name: wrong.count(name) for name in sorted(set(wrong))},
            }
    return {
        "clips": len(truth),
        "labels": len(per_label),
        "top1": _mean(first),
        "top3": _mean(among),
        "top1_mean_of_labels": _mean([x["top1"] for x in per_label.values()]),
        "top3_mean_of_labels": _mean([x["top3"] for x in per_label.values()]),
        "per_label": per_label,
    }


def headline(result: dict[str, Any]) -> str:
    """One line of `scores`."""
    return (
        f"top-1 {result['top1']:.1%}, top-3 {result['top3']:.1%} of {result['clips']} clips of "
        f"{result['labels']} labels (means of labels {result['top1_mean_of_labels']:.1%}, "
        f"{result['top3_mean_of_labels']:.1%})"
    )


def real_distances(examples: Examples, labels: Sequence[str]) -> dict[str, float]:
    """Mean log-mel distance in dB between different recordings of each label, filled to 4 s."""
    generator = torch.Generator().manual_seed(0)
    distances = {}
    for k, label in enumerate(labels):
        members = [i for i, c in enumerate(examples.classes) if c == k]
        mels = _of_different_recordings(examples, members)
        if len(mels) > 1:
            distances[label] = round(measures.mel_distance(_filled(mels, DISTANCE_S, generator)), 2)
    return distances


class Copies:
    """How like recordings generated clips may be.

    Args:
        train: recordings that a model may have learnt by heart.
        valid: recordings that it has not heard: their likeness to `train` is the yardstick.
        duration_s: length that the recordings are filled to.
    """

    def __init__(self, train: Examples, valid: Examples, duration_s: float) -> None:
        self.finder = measures.CopyFinder(train.mels)
        generator = torch.Generator().manual_seed(0)
        real = self.finder.likeness(list(_filled(valid.mels, duration_s, generator)))
        self.median = round(float(real.median()), 4)
        self.threshold = round(float(real.quantile(COPY_QUANTILE)), 4)

    def report(self, likeness: Tensor) -> dict[str, Any]:
        """Compare the likeness (N,) of clips with the yardstick."""
        return {
            "real_median": self.median,
            "real_99th_percentile": self.threshold,
            "median": round(float(likeness.median()), 4),
            "largest": round(float(likeness.max()), 4),
            "near_copies": _mean(likeness > self.threshold),
        }


def judged(
    judge: Judge, takes: Iterable[tuple[Kind, Tensor]], copies: Copies | None
) -> dict[str, Any]:
    """Listen to takes of each kind.

    Args:
        judge: who listens.
        takes: each kind and its takes (N, S) at 24 kHz.
        copies: looks for copies of recordings; None leaves that out.
    """
    heard, classes, likeness, faults, distances = [], [], [], [], {}
    for kind, waves in takes:
        mels = log_mel(waves)
        heard.append(judge.probabilities(waves))
        classes += [judge.labels.index(kind.label)] * len(waves)
        faults.append(_faults(waves))
        if len(waves) > 1:
            distances[kind.label] = round(measures.mel_distance(mels), 2)
        if copies:
            likeness.append(copies.finder.likeness(list(mels)))
    silent, clipped, full, tails = (torch.cat(x) for x in zip(*faults, strict=True))
    result = scores(torch.cat(heard), classes, judge.labels) | {
        "silent": int(silent.sum()),
        "clipped": int(clipped.sum()),
        "with_a_sample_at_full_scale": int(full.sum()),
        "silent_tail_s": {
            "mean": _mean(tails),
            "largest": round(float(tails.max()), 2),
            "over_half_a_second": int((tails > 0.5).sum()),
        },
        "seed_distance": _against_real(distances, judge.facts.get("real_distance_db", {})),
    }
    if copies:
        result["copies"] = copies.report(torch.cat(likeness))
        for (name, _), mine in zip(result["per_label"].items(), likeness, strict=True):
            result["per_label"][name]["near_copies"] = _mean(mine > copies.threshold)
    return result


def _faults(waves: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    full = (waves.abs() >= measures.FULL_SCALE).any(dim=1)
    return (
        measures.silent(waves),
        measures.clipped(waves),
        full,
        measures.silent_tail_s(waves),
    )


def _against_real(distances: dict[str, float], real: dict[str, float]) -> dict[str, Any]:
    """Distances between takes of a prompt beside those between recordings of the label."""
    ratios = {name: round(d / real[name], 3) for name, d in distances.items() if name in real}
    smallest = min(ratios, key=lambda name: ratios[name], default=None)
    return {
        "mean_db": _mean(list(distances.values())),
        "mean_of_ratios_to_real": _mean(list(ratios.values())),
        "smallest_ratio": {smallest: ratios[smallest]} if smallest else {},
        "db": distances,
        "ratio_to_real": ratios,
    }


def _of_different_recordings(examples: Examples, members: Sequence[int]) -> list[Tensor]:
    seen: dict[tuple[str, str], Tensor] = {}
    for i in members:
        row = examples.rows[i]
        seen.setdefault((row.source_repo, row.source_path), examples.mels[i])
    return list(seen.values())[:DISTANCE_CLIPS]


def _filled(mels: Sequence[Tensor], duration_s: float, generator: Generator) -> Tensor:
    frames = round(duration_s * FRAME_RATE)
    return torch.stack([filled([mel], frames, generator) for mel in mels])


def _mean(values: Tensor | Sequence[float]) -> float:
    numbers = torch.as_tensor(values).float()
    return round(float(numbers.mean()), 4) if len(numbers) else 0.0
