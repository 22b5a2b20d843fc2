"""Scenes mixed as waveforms, with captions that say so.

Two sounds at once cannot be made from their latents: the autoencoder is not linear. They are added
here, before they are encoded. A run on the waveforms themselves mixes as it goes; for latents a
bounded number of mixes is made and encoded once (`MixConfig.count`). Mix number n is the same
whenever it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from ezaudio.config import Config
from ezaudio.data.clips import ClipRow, Event
from ezaudio.data.crops import WaveformSource
from ezaudio.data.keys import generator_at
from ezaudio.data.levels import PEAK, rms, trim_and_level
from ezaudio.data.prompts import PAIRS, TEMPLATES, fill
from ezaudio.errors import InputError

_MIX = 31
_MOST_TRIES = 8
_MOST_TIMES = 4


class MixConfig(Config):
    """Which mixes are made.

    Attributes:
        count: How many.
        scenes: Share of each kind: `overlay`, `background`, `far`, `sequence`, `repeat`.
        duration_s: Shortest and longest mix; sounds are filled up with takes of their label.
        overlay_db: Level of the second of two equal sounds above the first (RMS).
        background_db: Level of a background below the foreground (RMS).
        far_db: Peak of a far sound below that of a near one.
        gap_s: Shortest and longest silence between takes.
        seed: Of everything random.
    """

    count: int = Field(0, ge=0)
    scenes: Mapping[str, float] = Field(
        default_factory=lambda: {"overlay": 0.5, "background": 0.35, "far": 0.15}
    )
    duration_s: tuple[float, float] = (3.0, 10.0)
    overlay_db: tuple[float, float] = (-3.0, 3.0)
    background_db: tuple[float, float] = (6.0, 14.0)
    far_db: tuple[float, float] = (12.0, 20.0)
    gap_s: tuple[float, float] = (0.05, 0.5)
    seed: int = 0


class Mix(NamedTuple):
    """A mixed clip.

    Attributes:
        samples: (S,), peak at most 0.8.
        row: What is heard and when; `file` is "mix/NUMBER", `source_path` names the clips.
    """

    samples: NDArray[np.float32]
    row: ClipRow


Spans: TypeAlias = list[tuple[int, int]]
"""Where each sound of a mix begins and ends, in samples."""


class Takes:
    """Reads takes of one split, trimmed and levelled, and fills stretches with them.

    Args:
        store: Of the waveforms.
        clips: Clips (numbers) of each label.
        gap_s: Shortest and longest silence between takes.
    """

    def __init__(
        self,
        store: WaveformSource,
        clips: Mapping[str, Sequence[int]],
        gap_s: tuple[float, float],
    ) -> None:
        self.store, self.clips, self.gap_s = store, clips, gap_s

    def take(self, clip: int) -> NDArray[np.float32]:
        """One clip, (S,)."""
        return trim_and_level(self.store.read(clip), self.store.sample_rate)

    def gap(self, generator: torch.Generator) -> NDArray[np.float32]:
        """Silence between takes, (S,)."""
        return np.zeros(round(_between(self.gap_s, generator) * self.store.sample_rate), np.float32)

    def filled(self, clip: int, count: int, generator: torch.Generator) -> NDArray[np.float32]:
        """`count` samples: a crop, or the clip, gaps, and other takes of its label."""
        sound = self.take(clip)
        if len(sound) >= count:
            start = int(torch.randint(len(sound) - count + 1, (), generator=generator))
            return sound[start : start + count]
        clips, parts, have = self.clips[self.store.rows[clip].label], [sound], len(sound)
        while have < count:
            other = int(clips[int(torch.randint(len(clips), (), generator=generator))])
            parts += [self.gap(generator), self.take(other)]
            have += len(parts[-1]) + len(parts[-2])
        return np.concatenate(parts)[:count]


Maker: TypeAlias = Callable[
    [Takes, MixConfig, Sequence[int], int, torch.Generator], tuple[NDArray[np.float32], Spans]
]


def overlay(
    takes: Takes, config: MixConfig, clips: Sequence[int], count: int, generator: torch.Generator
) -> tuple[NDArray[np.float32], Spans]:
    """Two sounds from beginning to end, about equally loud."""
    return _added(takes, clips, count, -_between(config.overlay_db, generator), generator)


def background(
    takes: Takes, config: MixConfig, clips: Sequence[int], count: int, generator: torch.Generator
) -> tuple[NDArray[np.float32], Spans]:
    """Two sounds from beginning to end, the second far below the first."""
    return _added(takes, clips, count, _between(config.background_db, generator), generator)


def far(
    takes: Takes, config: MixConfig, clips: Sequence[int], count: int, generator: torch.Generator
) -> tuple[NDArray[np.float32], Spans]:
    """One sound at the level of something far away."""
    factor = 10 ** (-_between(config.far_db, generator) / 20)
    return takes.filled(clips[0], count, generator) * np.float32(factor), [(0, count)]


def sequence(
    takes: Takes, config: MixConfig, clips: Sequence[int], count: int, generator: torch.Generator
) -> tuple[NDArray[np.float32], Spans]:
    """One sound, a gap, and another."""
    gap = takes.gap(generator)
    before = round(_between((0.3, 0.7), generator) * (count - len(gap)))
    after = count - len(gap) - before
    first = takes.filled(clips[0], before, generator)
    second = takes.filled(clips[1], after, generator)
    return np.concatenate([first, gap, second]), [(0, before), (before + len(gap), count)]


def repeat(
    takes: Takes, config: MixConfig, clips: Sequence[int], count: int, generator: torch.Generator
) -> tuple[NDArray[np.float32], Spans]:
    """The same take twice or more."""
    each = np.concatenate([takes.take(clips[0]), takes.gap(generator)])
    times = min(_MOST_TIMES, max(2, count // len(each)))
    return np.tile(each, times), [(0, times * len(each))]


MAKERS: dict[str, Maker] = {
    "overlay": overlay,
    "background": background,
    "far": far,
    "sequence": sequence,
    "repeat": repeat,
}
"""How each scene is mixed."""


class Mixer:
    """Makes mixes of the clips of one split.

    Args:
        store: Of the waveforms.
        config: Which mixes.
        split: Whose clips are mixed.

    Raises:
        InputError: A scene is unknown, or the split has fewer than two labels.
    """

    def __init__(self, store: WaveformSource, config: MixConfig, *, split: str = "train") -> None:
        if unknown := sorted(set(config.scenes) - set(MAKERS)):
            raise InputError("scenes", unknown[0], ", ".join(MAKERS))
        self.store, self.config, self.split = store, config, split
        clips = {label: found for label, found in store.takes(split).items() if label}
        self._takes = Takes(store, clips, config.gap_s)
        self._labels = sorted(clips)
        if len(self._labels) < 2:
            raise InputError("split", split, "a split with at least two labels to mix")
        counts = [len(clips[label]) for label in self._labels]
        self._weights = torch.tensor(counts, dtype=torch.float64).sqrt()

    def mix(self, number: int) -> Mix:
        """Make mix `number`.

        Raises:
            AudioFileError: A clip cannot be read.
        """
        generator = generator_at(self.config.seed, _MIX, number)
        names = list(self.config.scenes)
        shares = torch.tensor([self.config.scenes[name] for name in names], dtype=torch.float64)
        scene = names[int(torch.multinomial(shares, 1, generator=generator))]
        count = round(_between(self.config.duration_s, generator) * self.store.sample_rate)
        clips = self._pair(generator)[: 2 if scene in PAIRS else 1]
        samples, spans = MAKERS[scene](self._takes, self.config, clips, count, generator)
        peak = float(np.abs(samples).max(initial=0.0))
        samples = samples * np.float32(min(1.0, PEAK / max(peak, 1e-4)))
        return Mix(samples, self._row(number, scene, clips, spans))

    def _row(
        self, number: int, scene: str, clips: Sequence[int], spans: Sequence[tuple[int, int]]
    ) -> ClipRow:
        rows, rate = [self.store.rows[clip] for clip in clips], self.store.sample_rate
        events = tuple(
            Event(label=row.label, caption=row.caption, start=begin / rate, end=end / rate)
            for row, (begin, end) in zip(rows, spans, strict=True)
        )
        return ClipRow(
            file=f"mix/{number:06d}",
            split=self.split,
            label=" + ".join(row.label for row in rows),
            caption=fill(TEMPLATES[scene][0], rows) if scene in PAIRS else rows[0].caption,
            tags=tuple(row.label for row in rows),
            duration=max(end for _, end in spans) / rate,
            source_path=" + ".join(row.id for row in rows),
            scene=scene,
            events=events,
        )

    def _pair(self, generator: torch.Generator) -> tuple[int, ...]:
        """Two clips of different labels, of different categories where a few tries find them."""
        first = self._clip(generator)
        second = first
        for _ in range(_MOST_TRIES):
            second = self._clip(generator)
            a, b = self.store.rows[first], self.store.rows[second]
            if a.label != b.label and (a.category != b.category or not a.category):
                return first, second
        while self.store.rows[second].label == self.store.rows[first].label:
            second = self._clip(generator)
        return first, second

    def _clip(self, generator: torch.Generator) -> int:
        pick = int(torch.multinomial(self._weights, 1, generator=generator))
        takes = self._takes.clips[self._labels[pick]]
        return int(takes[int(torch.randint(len(takes), (), generator=generator))])


def _added(
    takes: Takes, clips: Sequence[int], count: int, below_db: float, generator: torch.Generator
) -> tuple[NDArray[np.float32], Spans]:
    first, second = (takes.filled(clip, count, generator) for clip in clips)
    factor = rms(first) / rms(second) * 10 ** (-below_db / 20)
    return first + second * np.float32(factor), [(0, count), (0, count)]


def _between(limits: tuple[float, float], generator: torch.Generator) -> float:
    return limits[0] + (limits[1] - limits[0]) * float(torch.rand((), generator=generator))
