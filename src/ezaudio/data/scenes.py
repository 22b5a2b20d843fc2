"""Rows of latents put together from takes: filled, repeated, one after the other.

A latent sequence can be cut and joined like a recording. It cannot be added: the autoencoder is
not linear, so sounds that are heard at once are mixed as waveforms and encoded
(`ezaudio.data.mixing`), and arrive here as clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ezaudio.data.clips import ClipRow

_MOST_TIMES = 4


class LatentSource(Protocol):
    """Where latents come from."""

    @property
    def rows(self) -> Sequence[ClipRow]:
        """What is known of every clip."""

    @property
    def frame_rate(self) -> float:
        """Latent frames per second."""

    def takes(self, split: str, *, mixed: bool = False) -> Mapping[str, Sequence[int]]:
        """Clips (numbers) of each label of a split; those mixed from several, or the others."""

    def frames(self, index: int) -> int:
        """Length of a clip, T."""

    def sample(
        self, index: int, generator: torch.Generator, start: int = 0, frames: int | None = None
    ) -> Tensor:
        """Draw a part of a clip from its posterior, normalised: (T, C)."""

    def silence(self, frames: int, generator: torch.Generator) -> Tensor:
        """Draw silence: (T, C)."""


class Recipe(NamedTuple):
    """What a row is to be.

    Attributes:
        kind: `single`, `once`, `repeat` or `sequence`.
        clips: One, or two for a sequence.
        cut: Share of the row that the first of two has.
    """

    kind: str
    clips: tuple[int, ...]
    cut: float = 0.5


class Scene(NamedTuple):
    """One row of a batch.

    Attributes:
        sound: (T, C).
        weight: (T,), 1 where the loss counts in full.
        rows: What is heard, in order.
        kind: One of `ezaudio.data.prompts.SCENES`.
        times: How often, for `repeat`.
    """

    sound: Tensor
    weight: Tensor
    rows: tuple[ClipRow, ...]
    kind: str = "single"
    times: int = 1


class SceneMaker:
    """Fills a row of T frames.

    Args:
        source: Of the latents.
        split: Whose takes fill rows.
        gap_s: Shortest and longest silence between takes.
        fill: What follows a clip that is shorter than its row, `takes` or `silence`.
        silence_weight: Weight of the loss where nothing sounds after a single take.
    """

    def __init__(
        self,
        source: LatentSource,
        *,
        split: str,
        gap_s: tuple[float, float] = (0.05, 0.5),
        fill: str = "takes",
        silence_weight: float = 0.1,
    ) -> None:
        self.source, self.fill = source, fill
        self.silence_weight = silence_weight
        self._takes = source.takes(split)
        self._gap = tuple(round(s * source.frame_rate) for s in gap_s)

    def make(self, recipe: Recipe, frames: int, generator: torch.Generator) -> Scene:
        """Make a row of `frames` frames."""
        if recipe.kind == "sequence":
            return self.sequence(recipe.clips, frames, recipe.cut, generator)
        kinds = {"single": self.single, "once": self.once, "repeat": self.repeat}
        return kinds[recipe.kind](recipe.clips[0], frames, generator)

    def single(self, clip: int, frames: int, generator: torch.Generator) -> Scene:
        """A crop of a clip, or the clip and what follows it."""
        row = self.source.rows[clip]
        sound = self._filled(clip, row, frames, generator)
        return Scene(sound, torch.ones(frames), (row,))

    def once(self, clip: int, frames: int, generator: torch.Generator) -> Scene:
        """The clip from its beginning, and silence that counts little."""
        sound = self.source.sample(clip, generator, 0, min(frames, self.source.frames(clip)))
        rest = frames - len(sound)
        if rest <= 0:
            return self.single(clip, frames, generator)
        joined = torch.cat([sound, self.source.silence(rest, generator)])
        weight = torch.cat([torch.ones(len(sound)), torch.full((rest,), self.silence_weight)])
        return Scene(joined, weight, (self.source.rows[clip],), "once")

    def repeat(self, clip: int, frames: int, generator: torch.Generator) -> Scene:
        """The same take twice or more, evenly spaced over the row."""
        length, (shortest, longest) = self.source.frames(clip), self._gap
        most = min(_MOST_TIMES, frames // (length + shortest))
        if most < 2:
            return self.single(clip, frames, generator)
        times = int(torch.randint(2, most + 1, (), generator=generator))
        gap = min(2 * longest, frames // times - length)
        take = self.source.sample(clip, generator)
        parts = [take, self.source.silence(gap, generator)] * times
        rest = frames - times * (length + gap)
        weight = torch.ones(frames)
        if rest > 0:
            parts.append(self.source.silence(rest, generator))
            weight[frames - rest :] = self.silence_weight
        return Scene(torch.cat(parts), weight, (self.source.rows[clip],), "repeat", times)

    def sequence(
        self, clips: Sequence[int], frames: int, cut: float, generator: torch.Generator
    ) -> Scene:
        """One sound, a short gap or none, and another.

        Args:
            clips: Two clips of different labels.
            frames: T.
            cut: Share of the row that the first one has.
            generator: Of crops and gap.
        """
        first, second = clips
        rows = (self.source.rows[first], self.source.rows[second])
        gap = int(torch.randint(self._gap[1] * 3 // 5 + 1, (), generator=generator))
        gap = min(gap, frames // 8)
        before = min(max(1, round(cut * (frames - gap))), frames - gap - 1)
        parts = [
            self._filled(first, rows[0], before, generator),
            self.source.silence(gap, generator),
            self._filled(second, rows[1], frames - gap - before, generator),
        ]
        return Scene(torch.cat(parts), torch.ones(frames), rows, "sequence")

    def _filled(self, clip: int, row: ClipRow, frames: int, generator: torch.Generator) -> Tensor:
        """`frames` frames (T, C): a crop, or the clip, and silence or other takes of its label."""
        length = self.source.frames(clip)
        if length >= frames:
            start = int(torch.randint(length - frames + 1, (), generator=generator))
            return self.source.sample(clip, generator, start, frames)
        if self.fill == "silence":
            sound = self.source.sample(clip, generator)
            return torch.cat([sound, self.source.silence(frames - length, generator)])
        parts, have = [self.source.sample(clip, generator)], length
        takes = self._takes.get(row.label, ()) if row.label and row.scene == "single" else ()
        while have < frames:
            gap = int(torch.randint(self._gap[0], self._gap[1] + 1, (), generator=generator))
            other = clip
            if len(takes) > 1:
                other = int(takes[int(torch.randint(len(takes), (), generator=generator))])
            wanted = min(self.source.frames(other), max(1, frames - have - gap))
            parts.append(self.source.silence(gap, generator))
            parts.append(self.source.sample(other, generator, 0, wanted))
            have += gap + wanted
        return torch.cat(parts)[:frames]
