"""Latents of all clips in memory: posterior mean and standard deviation, so that training can
sample them.

A batch has one length T and every row fills it:
long clips are cropped, short ones are followed by other takes of the same label after a short gap.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ezaudio.data.manifest import ClipRow


class LatentStore:
    """Normalised latents by clip, and batches filled with sound.

    Args:
        folder: As `ezaudio.training.latents.encode_store` writes it.
        split: Which rows batches are drawn from.
        frequent_share: Share of draws that go to labels with at least `frequent` clips; None
            leaves the shares as they come. Within either group a label with n clips is drawn with
            probability proportional to the square root of n.
        frequent: See above.
        spread: Share of the posterior's standard deviation that draws have; 0 means its mean.
    """

    def __init__(
        self,
        folder: Path,
        *,
        split: str = "train",
        frequent_share: float | None = None,
        frequent: int = 8,
        spread: float = 1.0,
    ) -> None:
        self.spread = spread
        index = json.loads((folder / "index.json").read_text())
        self.frame_rate: float = index["frame_rate"]
        self.rows = [ClipRow.model_validate(row) for row in index["rows"]]
        self.offsets: list[int] = index["offsets"]
        self.shift, self.scale = torch.tensor(index["shift"]), torch.tensor(index["scale"])  # (C,)
        channels = len(self.shift)
        read = (np.fromfile(folder / name, dtype=np.float16) for name in ("mean.f16", "std.f16"))
        self._mean, self._std = (torch.from_numpy(x.reshape(-1, channels)) for x in read)
        self.by_label: dict[str, list[int]] = defaultdict(list)
        for i, row in enumerate(self.rows):
            if row.split == split:
                self.by_label[row.label].append(i)
        self.labels = sorted(self.by_label)
        counts = torch.tensor([float(len(self.by_label[label])) for label in self.labels])
        self.label_weights = counts.sqrt()
        common = counts >= frequent
        if frequent_share is not None and common.any() and not common.all():
            for group, share in ((common, frequent_share), (~common, 1 - frequent_share)):
                self.label_weights[group] *= share / self.label_weights[group].sum()

    def sample(self, index: int, generator: torch.Generator) -> Tensor:
        """A draw from the posterior of a clip, normalised: (T, C)."""
        part = slice(self.offsets[index], self.offsets[index + 1])
        mean, std = self._mean[part].float(), self._std[part].float()
        draw = mean + self.spread * std * torch.randn(mean.shape, generator=generator)
        return (draw - self.shift) / self.scale

    def filled(self, label: str, frames: int, generator: torch.Generator) -> tuple[Tensor, ClipRow]:
        """A latent (T, C) of `frames` frames filled with takes of a label, and the row of its first
        take.
        """
        takes = self.by_label[label]
        order = torch.randperm(len(takes), generator=generator).tolist()
        first = takes[order[0]]
        sound = self.sample(first, generator)
        if len(sound) >= frames:
            start = int(torch.randint(len(sound) - frames + 1, (), generator=generator))
            return sound[start : start + frames], self.rows[first]
        parts, length, turn = [sound], len(sound), 1
        while length < frames:
            gap = self._gap(generator)
            take = self.sample(takes[order[turn % len(order)]], generator)
            parts += [gap, take]
            length += len(gap) + len(take)
            turn += 1
        return torch.cat(parts)[:frames], self.rows[first]

    def _gap(self, generator: torch.Generator) -> Tensor:
        """Between 0.05 and 0.5 s of silence: (T, C)."""
        low, high = round(0.05 * self.frame_rate), round(0.5 * self.frame_rate)
        frames = int(torch.randint(low, high + 1, (), generator=generator))
        silence = self.sample(len(self.rows), generator)
        start = (len(silence) - frames) // 2
        return silence[start : start + frames]

    def batch(
        self, size: int, frames: int, generator: torch.Generator
    ) -> tuple[Tensor, list[ClipRow]]:
        """Latents (B, C, T), normalised, and the row that names what is heard in each."""
        picks = torch.multinomial(self.label_weights, size, replacement=True, generator=generator)
        pairs = [self.filled(self.labels[i], frames, generator) for i in picks.tolist()]
        return torch.stack([x for x, _ in pairs]).transpose(1, 2), [row for _, row in pairs]
