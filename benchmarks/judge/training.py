"""Train the judge on recordings, and measure it on recordings that it has not heard."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from ezaudio.data.clips import ClipRow
from ezaudio.data.levels import trim_and_level
from ezaudio.data.waveforms import WaveformStore
from judge import features
from judge.features import FRAME_RATE, log_mel
from judge.kinds import Kind
from judge.network import Judge, ShapeListener
from judge.statistics import StatisticsListener, statistics

BATCH = 32
MEASURED_S = 4.0


@dataclass(frozen=True)
class Fit:
    """How a judge is trained.

    Attributes:
        shape_steps: optimiser steps of the convolutional listener, 32 sounds each.
        shape_rate: its highest learning rate.
        pool_draws: batches of 32 sounds drawn for the statistics listeners.
        statistics_steps: optimiser steps of each, 128 sounds of the pool each.
        statistics_rate: their highest learning rate.
        statistics_listeners: how many, each from its own seed.
        decay: weight decay.
        seed: of weights and draws.
    """

    shape_steps: int = 1500
    shape_rate: float = 3e-3
    pool_draws: int = 500
    statistics_steps: int = 2000
    statistics_rate: float = 3e-3
    statistics_listeners: int = 2
    decay: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class Examples:
    """Log-mels of recordings with their classes.

    Attributes:
        mels: (M, T) each, in dB.
        classes: index of the kind of each.
        rows: where each comes from.
    """

    mels: list[Tensor]
    classes: list[int]
    rows: list[ClipRow]

    def chosen(self, indices: Sequence[int]) -> Examples:
        """Some of the recordings."""
        return Examples(*([x[i] for i in indices] for x in (self.mels, self.classes, self.rows)))  # type: ignore[arg-type]


def classes_by_label(kinds: Sequence[Kind]) -> dict[str, int]:
    """The class of every label that counts as one of the kinds."""
    return {name: i for i, kind in enumerate(kinds) for name in (kind.label, *kind.also)}


def read_examples(store: WaveformStore, kinds: Sequence[Kind], split: str) -> Examples:
    """Every recording of the kinds in a split, trimmed, at one peak level."""
    class_of = classes_by_label(kinds)
    wanted = [i for i, row in enumerate(store.rows) if row.split == split and row.label in class_of]
    sounds = (trim_and_level(store.read(i), store.sample_rate) for i in wanted)
    mels = [log_mel(torch.from_numpy(sound)[None])[0] for sound in sounds]
    rows = [store.rows[i] for i in wanted]
    return Examples(mels, [class_of[row.label] for row in rows], rows)


def read_sounds(
    store: WaveformStore, kinds: Sequence[Kind], split: str, duration_s: float
) -> tuple[list[NDArray[np.float32]], list[int]]:
    """Recordings of a split as waveforms that fill `duration_s` by repeating themselves.

    Returns:
        float32 (S,) each, and the class of each.
    """
    class_of = classes_by_label(kinds)
    size, gap = round(duration_s * store.sample_rate), round(0.2 * store.sample_rate)
    sounds, classes = [], []
    for i, row in enumerate(store.rows):
        if row.split == split and row.label in class_of:
            sound = trim_and_level(store.read(i), store.sample_rate)
            turns = 1 + size // (len(sound) + gap) if len(sound) < size else 0
            sounds.append(
                np.concatenate([sound, *[np.zeros(gap, np.float32), sound] * turns])[:size]
            )
            classes.append(class_of[row.label])
    return sounds, classes


def recording_folds(rows: Sequence[ClipRow], classes: Sequence[int], folds: int) -> list[int]:
    """A fold for each row; the clips of one source recording share a fold.

    Within each class the recordings with most clips are dealt first, each to the fold that has
    fewest clips of that class.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault((row.source_repo, row.source_path), []).append(i)
    fold_of = [0] * len(rows)
    held = [[0] * folds for _ in range(max(classes) + 1)]
    for members in sorted(groups.values(), key=len, reverse=True):
        counts = held[classes[members[0]]]
        fold = counts.index(min(counts))
        counts[fold] += len(members)
        for i in members:
            fold_of[i] = fold
    return fold_of


class Batches:
    """Random training batches.

    Classes are drawn evenly; takes of one class are chained where one is too short.
    """

    def __init__(self, examples: Examples, classes: int, generator: Generator) -> None:
        self.generator = generator
        self.mels = examples.mels
        self.members = [
            [i for i, c in enumerate(examples.classes) if c == k] for k in range(classes)
        ]
        self.present = [k for k, members in enumerate(self.members) if members]

    def sound(self, kind: int, frames: int) -> Tensor:
        """One sound of a class: (M, frames)."""
        members, generator = self.members[kind], self.generator
        order = [members[i] for i in torch.randperm(len(members), generator=generator).tolist()]
        longest = round(1.2 * frames)  # cut before stretching, which costs by length
        takes = []
        for index in order[: features.whole(1, 6, generator)]:
            mel = self.mels[index]
            start = features.whole(0, max(0, mel.shape[1] - longest), generator)
            part = features.stretched(mel[:, start : start + longest], generator)
            takes.append(part + features.uniform(-6, 0, generator))
            if part.shape[1] >= frames:
                break
        return features.filled(takes, frames, generator)

    def draw(self, size: int) -> tuple[Tensor, Tensor]:
        """Sounds of one random length (1.5 to 4 s) and their classes: (B, M, T), (B,)."""
        generator = self.generator
        frames = 16 * round(features.uniform(1.5, 4.0, generator) * FRAME_RATE / 16)
        picks = torch.randint(len(self.present), (size,), generator=generator).tolist()
        kinds = [self.present[i] for i in picks]
        sounds = torch.stack([self.sound(kind, frames) for kind in kinds])
        return features.coloured(sounds, generator), torch.tensor(kinds)


def train_judge(examples: Examples, labels: list[str], fit: Fit) -> Judge:
    """Train all listeners on recordings."""
    batches = Batches(examples, len(labels), torch.Generator().manual_seed(fit.seed))
    listeners: list[tuple[str, nn.Module]] = []
    with torch.random.fork_rng():
        torch.manual_seed(fit.seed)
        pool = [batches.draw(BATCH) for _ in range(fit.pool_draws)]
        described = torch.cat([statistics(features.levelled(sounds)) for sounds, _ in pool])
        kinds = torch.cat([kinds for _, kinds in pool])
        for _ in range(fit.statistics_listeners):
            listener = StatisticsListener(len(labels))
            listeners.append(("statistics", _fit_statistics(listener, described, kinds, fit)))
        if fit.shape_steps:
            shape = ShapeListener(len(labels)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            listeners.append(("shape", _fit_shape(shape, batches, fit)))
    return Judge(listeners, labels, {})


def _optimiser(module: nn.Module, rate: float, steps: int, decay: float) -> tuple[AdamW, LambdaLR]:
    """AdamW whose rate rises over a twentieth of the steps and then falls in a line to 0."""
    optimiser = AdamW(module.parameters(), lr=rate, weight_decay=decay)
    ramp = max(1, steps // 20)
    return optimiser, LambdaLR(
        optimiser, lambda step: min((step + 1) / ramp, (steps - step) / (steps - ramp + 1))
    )


def _mixed_loss(listener: nn.Module, shown: Tensor, kinds: Tensor, share: float) -> Tensor:
    """Loss of each sound mixed with another of the batch, which keeps `1 - share` of the say."""
    scores = listener(torch.lerp(shown.flip(0), shown, share))
    own = F.cross_entropy(scores, kinds, label_smoothing=0.05)
    other = F.cross_entropy(scores, kinds.flip(0), label_smoothing=0.05)
    return share * own + (1 - share) * other


def _share(generator: Generator) -> float:
    """Half of the batches are mixed, by up to 0.4."""
    return min(1.0, features.uniform(0.6, 1.4, generator))


def _fit_statistics(
    listener: StatisticsListener, described: Tensor, kinds: Tensor, fit: Fit
) -> StatisticsListener:
    """Train a statistics listener on a pool of described sounds (N, J) and their classes (N,)."""
    listener.centre.copy_(described.mean(dim=0))
    listener.spread.copy_(described.std(dim=0) + 1e-3)
    known = listener.standardised(described)
    optimiser, schedule = _optimiser(
        listener.body, fit.statistics_rate, fit.statistics_steps, fit.decay
    )
    generator = torch.Generator().manual_seed(fit.seed)
    for _ in range(fit.statistics_steps):
        rows = torch.randint(len(known), (4 * BATCH,), generator=generator)
        loss = _mixed_loss(listener.body, known[rows], kinds[rows], _share(generator))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return listener.eval()


def _fit_shape(listener: ShapeListener, batches: Batches, fit: Fit) -> nn.Module:
    """Train a convolutional listener on fresh draws; its averaged weights are returned."""
    optimiser, schedule = _optimiser(listener, fit.shape_rate, fit.shape_steps, fit.decay)
    average = copy.deepcopy(listener).eval()
    for step in range(fit.shape_steps):
        sounds, kinds = batches.draw(BATCH)
        shown = features.hidden_spans(features.levelled(sounds), batches.generator)
        loss = _mixed_loss(listener, shown, kinds, _share(batches.generator))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        _follow(average, listener, min(0.99, (step + 1) / (step + 10)))
    return average


@torch.no_grad()
def _follow(average: nn.Module, listener: nn.Module, memory: float) -> None:
    for kept, now in zip(
        average.state_dict().values(), listener.state_dict().values(), strict=True
    ):
        if kept.is_floating_point():
            kept.lerp_(now, 1 - memory)
        else:
            kept.copy_(now)


def hear_examples(judge: Judge, examples: Examples, duration_s: float = MEASURED_S) -> Tensor:
    """Probabilities (N, K) of recordings, each filling `duration_s` by repeating itself."""
    generator = torch.Generator().manual_seed(0)
    frames = round(duration_s * FRAME_RATE)
    sounds = [features.filled([mel], frames, generator) for mel in examples.mels]
    return torch.cat([judge.hear(sound[None]) for sound in sounds])
