"""Stores in memory whose values say which clip they are."""

from __future__ import annotations

import numpy as np
import torch

from ezaudio.data.clips import ClipRow
from ezaudio.errors import AudioFileError


def rows_of(counts, split="train"):
    """`{"rain": 3, "dog": 1}` as rows."""
    names = [(label, i) for label, count in counts.items() for i in range(count)]
    return [
        ClipRow(file=f"{label}{i}.wav", split=split, label=label, caption=f"A {label}.", duration=1)
        for label, i in names
    ]


class Base:
    def __init__(self, rows, broken=()):
        self.rows = list(rows)
        self.broken = set(broken)

    def takes(self, split, *, mixed=False):
        found = {}
        for i, row in enumerate(self.rows):
            if row.split == split and (len(row.events) > 1) == mixed:
                found.setdefault(row.label, []).append(i)
        return found

    def check(self, index):
        if index in self.broken:
            raise AudioFileError(f"{self.rows[index].file}: damaged")


class FakeLatents(Base):
    """Clip i is i + 1 everywhere in channel 0, its frame numbers in channel 1; silence is 0."""

    frame_rate = 50.0

    def __init__(self, rows, lengths=40, broken=()):
        super().__init__(rows, broken)
        self.lengths = [lengths] * len(self.rows) if isinstance(lengths, int) else lengths

    def frames(self, index):
        return self.lengths[index]

    def sample(self, index, generator, start=0, frames=None):
        self.check(index)
        stop = self.lengths[index] if frames is None else start + frames
        assert 0 <= start < stop <= self.lengths[index]
        time = torch.arange(start, stop, dtype=torch.float32)
        return torch.stack([torch.full_like(time, index + 1), time], 1)

    def silence(self, frames, generator):
        return torch.zeros(frames, 2)


class FakeWaveforms(Base):
    """Clip i is a constant of (i + 1) / 100."""

    sample_rate = 1000

    def __init__(self, rows, length=3000, broken=()):
        super().__init__(rows, broken)
        self.samples = length

    def length(self, index):
        return self.samples

    def read(self, index, start=0, samples=None):
        self.check(index)
        count = self.samples - start if samples is None else min(samples, self.samples - start)
        return np.full(count, (index + 1) / 100, np.float32)
