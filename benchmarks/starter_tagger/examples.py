"""Recordings as log-mels, with their kinds and their captions as sentence vectors."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ezaudio.data.clips import ClipRow
from ezaudio.data.prompts import training_prompts
from ezaudio.data.waveforms import WaveformStore
from ezaudio.extractors.starter_tagger import FLOOR_DB, FRAME_RATE, MELS, LevelledLogMel
from ezaudio.text import TextEncoder

KINDS_FILE = Path(__file__).with_name("kinds.csv")
NO_KIND = -1
_TRIM_DB = -45.0


@dataclass(frozen=True)
class Examples:
    """Recordings of one split.

    Attributes:
        mels: log-mels (M, T) in dB, half precision.
        kinds: index of the kind of each, or `NO_KIND`, (N,).
        texts: index into the sentences of its label, (N,).
        rows: where each comes from.
    """

    mels: list[Tensor]
    kinds: Tensor
    texts: Tensor
    rows: list[ClipRow]


def read_kinds(path: Path = KINDS_FILE) -> dict[str, tuple[str, ...]]:
    """Labels that the tagger tells apart, each with the labels that count as the same."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return {row["label"]: tuple(filter(None, row["also"].split(";"))) for row in rows}


def read_examples(
    store: WaveformStore, split: str, kinds: dict[str, tuple[str, ...]], labels: Sequence[str]
) -> Examples:
    """Every recording of a split, silence at both ends cut off."""
    kind_of = {name: i for i, (label, also) in enumerate(kinds.items()) for name in (label, *also)}
    text_of = {label: i for i, label in enumerate(labels)}
    front_end = LevelledLogMel()
    chosen = [i for i, row in enumerate(store.rows) if row.split == split]
    mels = [front_end.log_mel(torch.from_numpy(_sounding(store, i))[None])[0] for i in chosen]
    rows = [store.rows[i] for i in chosen]
    return Examples(
        [mel.half() for mel in mels],
        torch.tensor([kind_of.get(row.label, NO_KIND) for row in rows]),
        torch.tensor([text_of[row.label] for row in rows]),
        rows,
    )


def _sounding(store: WaveformStore, index: int) -> np.ndarray:
    samples = store.read(index)
    loud = np.flatnonzero(np.abs(samples) > np.abs(samples).max() * 10 ** (_TRIM_DB / 20))
    return samples[loud[0] : loud[-1] + 1] if len(loud) > 1 else samples


def label_sentences(rows: Sequence[ClipRow], encoder: TextEncoder) -> tuple[list[str], Tensor]:
    """Sentence vectors of several wordings of every label.

    Returns:
        The labels, and unit vectors (labels, wordings, E); a label with few wordings repeats them.
    """
    first: dict[str, ClipRow] = {}
    for row in rows:
        first.setdefault(row.label, row)
    labels = sorted(first)
    wordings = [training_prompts(first[label])[:8] for label in labels]
    vectors = sentence_vectors(encoder, [text for texts in wordings for text in texts])
    return labels, vectors.unflatten(0, (len(labels), 8))


@torch.inference_mode()
def sentence_vectors(encoder: TextEncoder, prompts: Sequence[str]) -> Tensor:
    """Mean of the token vectors of each prompt, at unit length: (N, E)."""
    parts = []
    for start in range(0, len(prompts), 64):
        embedded = encoder(prompts[start : start + 64])
        mean = (embedded.tokens * embedded.attend[..., None]).sum(1)
        parts.append(F.normalize(mean, dim=1).cpu())
    return torch.cat(parts).clone()


class Batches:
    """Draws training batches: cut, repeated, mixed, coloured and partly hidden recordings.

    Args:
        examples: recordings.
        generator: of all draws.
        size: rows of a batch, B.
    """

    def __init__(self, examples: Examples, generator: Generator, size: int) -> None:
        self.examples, self.generator, self.size = examples, generator, size
        counts = torch.bincount(examples.texts).float()
        self.weights = counts[examples.texts] ** -0.5  # rare labels more often, not equally often

    def draw(self) -> tuple[Tensor, Tensor]:
        """Log-mels in dB (B, M, T) of one length, and the rows that they show (B,)."""
        rows = torch.multinomial(
            self.weights, self.size, replacement=True, generator=self.generator
        )
        frames = round(FRAME_RATE * (1.0 + 3.0 * self._uniform(1)[0].item() ** 1.5))
        mels = torch.stack([self._filled(int(row), frames) for row in rows])
        return self._coloured(mels), rows

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator)

    def _filled(self, row: int, frames: int) -> Tensor:
        """A stretch of a recording, or the recording again and again with small gaps: (M, T)."""
        mel = self.examples.mels[row].float()
        rate = 0.88 + 0.24 * self._uniform(1)[0].item()
        wanted = max(1, round(frames * rate))
        if mel.shape[1] < wanted:
            gap = torch.full((MELS, round(40 * self._uniform(1)[0].item())), FLOOR_DB)
            once = torch.cat([mel, gap], 1)
            mel = once.repeat(1, -(-wanted // once.shape[1]))[:, :wanted]
        start = int(self._uniform(1)[0].item() * (mel.shape[1] - wanted + 1))
        part = mel[:, start : start + wanted]
        part = F.interpolate(part[None], size=frames, mode="linear")[0]
        shift = int(self._uniform(1)[0].item() * 5) - 2
        return F.pad(part[None], (0, 0, 2, 2), mode="replicate")[0, 2 + shift : 2 + shift + MELS]

    def _coloured(self, mels: Tensor) -> Tensor:
        """Random tone, band limit, noise and blur, as microphones and models have them."""
        batch, _, frames = mels.shape
        rand = self._uniform(batch, 5, 1, 1)
        knots = 4.0 * torch.randn(batch, 1, 7, generator=self.generator)
        curve = F.interpolate(knots, size=MELS, mode="linear", align_corners=True)[:, 0, :, None]
        band = torch.arange(MELS)[None, :, None]
        low_pass = (band - (30 + 60 * rand[:, 0])).clamp(min=0) * 5.0
        mels = mels + curve - low_pass
        peak = mels.amax(dim=(1, 2), keepdim=True)
        noise = peak - 75 + 45 * rand[:, 1].square() + (band / MELS - 0.5) * (40 * rand[:, 2] - 20)
        jitter = 2.5 * torch.randn(batch, MELS, frames, generator=self.generator)
        mels = torch.logaddexp(mels * _NEPER, (noise + jitter) * _NEPER) / _NEPER
        size = 2 * int(self._uniform(1)[0].item() * 5) + 1
        power = (mels * _NEPER).exp()[:, None]
        blurred = F.avg_pool2d(power, (size, 3), 1, (size // 2, 1), count_include_pad=False)[:, 0]
        return torch.where(rand[:, 3] < 0.4, (blurred + 1e-10).log() / _NEPER, mels)


_NEPER = 0.230258509299  # ln(10) / 10: dB of power to natural logarithm
