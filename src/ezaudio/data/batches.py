"""Batches as a function of the step number: exact resume, any number of ranks, no padding.

Nothing here remembers what was drawn. Step `index` of a run with a `seed` has one global batch;
row r of its B rows lies on rank r // (B / world). A run that was killed, or continues on another
number of processes, asks for the next index and gets what it would have got.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from ezaudio.config import Config
from ezaudio.data.crops import CropConfig, WaveformBatches
from ezaudio.data.keys import generator_at, permutation_at, seed_at, uniforms_at
from ezaudio.data.order import Balance, DrawOrder
from ezaudio.data.prompts import wording
from ezaudio.data.scenes import LatentSource, Scene, SceneMaker
from ezaudio.errors import AudioFileError, InputError

__all__ = ["BatchConfig", "CropConfig", "LatentBatch", "LatentBatches", "WaveformBatches"]

_BLOCK = 4096
_LENGTH, _CLIPS, _MIXES, _PLACES, _ROW, _CUT, _SPARE = range(11, 18)
_MOST_SPARES = 16


class BatchConfig(Config):
    """What a batch of latents is made of.

    Attributes:
        rows: Rows of the global batch, B; in place of `seconds`.
        seconds: Sound in a batch; longer rows mean fewer of them.
        rows_multiple: B is a multiple of this; the number of ranks divides it.
        duration_s: Shortest and longest row; one length per batch, log-uniform in between.
        balance: How often each label is drawn.
        once_share: Share of rows with one take and silence after it.
        repeat_share: Share of rows with one take several times.
        sequence_share: Share of rows with one sound and then another; they come in pairs, both
            orders in one batch.
        mixed_share: Share of rows with clips that were mixed from several before they were encoded.
        scene_min_s: Rows shorter than this have one sound.
        gap_s: Shortest and longest silence between takes.
        silence_weight: Weight of the loss on the silence after a single take.
        held_out_wordings: Prompts in wordings that training never uses.
    """

    rows: int | None = Field(None, ge=1)
    seconds: float = Field(64.0, gt=0)
    rows_multiple: int = Field(4, ge=1)
    duration_s: tuple[float, float] = (1.0, 10.0)
    balance: Balance = Balance()
    once_share: float = Field(0.0, ge=0, le=1)
    repeat_share: float = Field(0.0, ge=0, le=1)
    sequence_share: float = Field(0.0, ge=0, le=1)
    mixed_share: float = Field(0.0, ge=0, le=1)
    scene_min_s: float = Field(2.0, gt=0)
    gap_s: tuple[float, float] = (0.05, 0.5)
    silence_weight: float = Field(0.1, ge=0, le=1)
    held_out_wordings: bool = False

    @model_validator(mode="after")
    def _agree(self) -> BatchConfig:
        for low, high in (self.duration_s, self.gap_s):
            if not 0 <= low <= high:
                raise ValueError("a range from low to high, in seconds, not negative")
        if self.duration_s[0] <= 0:
            raise ValueError("durations above 0")
        if self.once_share + self.repeat_share + self.sequence_share + self.mixed_share > 1:
            raise ValueError("shares of at most 1 together")
        return self


class LatentBatch(NamedTuple):
    """One rank's rows of a batch.

    Attributes:
        x0: Normalised latents, float32 (B, C, T).
        prompts: What is heard, in a wording drawn for the row.
        weight: (B, 1, T), 1 where the loss counts in full.
        ids: Clips of each row, joined by "+".
    """

    x0: Tensor
    prompts: tuple[str, ...]
    weight: Tensor
    ids: tuple[str, ...]


class _Step(NamedTuple):
    """One global batch before its rows are made; draws are counted over the whole run."""

    frames: int
    rows: int
    once: int
    repeats: int
    pairs: int
    mixes: int
    first_clip: int
    first_mix: int


class _Plan:
    """Length, rows and kinds of every step, in blocks that are computed when asked for."""

    def __init__(self, config: BatchConfig, *, seed: int, frame_rate: float) -> None:
        self.config, self.seed, self.frame_rate = config, seed, frame_rate
        self._blocks: list[NDArray[np.int64]] = []
        self._owed = [0.0] * 4  # once, repeats, pairs, mixes not yet given
        self._drawn = np.zeros(2, np.int64)  # clips, mixes drawn so far

    def step(self, index: int) -> _Step:
        while len(self._blocks) <= index // _BLOCK:
            self._blocks.append(self._block(len(self._blocks)))
        return _Step(*self._blocks[index // _BLOCK][:, index % _BLOCK].tolist())

    def _block(self, number: int) -> NDArray[np.int64]:
        config = self.config
        steps = np.arange(number * _BLOCK, (number + 1) * _BLOCK)
        low, high = np.log(config.duration_s)
        seconds = np.exp(low + (high - low) * uniforms_at(steps, self.seed, _LENGTH))
        frames = np.maximum(2, np.rint(seconds * self.frame_rate)).astype(np.int64)
        if config.rows is not None:
            rows = np.full(_BLOCK, config.rows)
        else:
            wanted = config.seconds * self.frame_rate / frames / config.rows_multiple
            rows = config.rows_multiple * np.maximum(1, np.rint(wanted)).astype(np.int64)
        kinds = self._kinds(rows, seconds >= config.scene_min_s)
        drawn = np.cumsum(np.stack([rows - kinds[3], kinds[3]]), axis=1)
        before = self._drawn[:, None] + np.pad(drawn, ((0, 0), (1, 0)))[:, :-1]
        self._drawn = self._drawn + drawn[:, -1]
        return np.stack([frames, rows, *kinds, *before])

    def _kinds(self, rows: NDArray[np.int64], several: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Rows (pairs of rows) of each kind per step, (4, steps): whole parts of what is owed."""
        config, sizes = self.config, (1, 1, 2, 1)
        shares = (
            config.once_share,
            config.repeat_share,
            config.sequence_share / 2,
            config.mixed_share,
        )
        kinds = np.zeros((4, len(rows)), np.int64)
        for step in np.flatnonzero(several).tolist() if any(shares) else ():
            left = int(rows[step])
            for k, (share, size) in enumerate(zip(shares, sizes, strict=True)):
                self._owed[k] += share * rows[step]
                kinds[k, step] = min(int(self._owed[k] + 1e-6), left // size)
                self._owed[k] -= kinds[k, step]
                left -= size * int(kinds[k, step])
        return kinds


class LatentBatches:
    """Batches of latents with prompts.

    Args:
        store: Of the latents.
        config: What a batch is made of.
        seed: Of everything random.
        rank, world: Which part of each batch is asked for.
        split: Which clips are drawn.

    Attributes:
        unreadable: Clips that could not be read, with the reason; others took their places.

    Raises:
        InputError: The ranks do not divide a batch, or the split lacks clips or mixes.
    """

    def __init__(
        self,
        store: LatentSource,
        config: BatchConfig,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        split: str = "train",
    ) -> None:
        divisor = config.rows or config.rows_multiple
        if divisor % world:
            name = "rows" if config.rows else "rows_multiple"
            raise InputError(name, divisor, f"a multiple of the {world} processes")
        self.store, self.config, self.seed = store, config, seed
        self.rank, self.world = rank, world
        self.unreadable: dict[str, str] = {}
        self._plan = _Plan(config, seed=seed, frame_rate=store.frame_rate)
        self._order = DrawOrder(store.takes(split), config.balance, seed=seed_at(seed, _CLIPS))
        self._mixes: DrawOrder | None = None
        if config.mixed_share:
            takes = store.takes(split, mixed=True)
            if not any(map(len, takes.values())):
                raise InputError("mixed_share", config.mixed_share, "0: the store has no mixes")
            self._mixes = DrawOrder(takes, Balance(), seed=seed_at(seed, _MIXES))
        self._scenes = SceneMaker(
            store, split=split, gap_s=config.gap_s, silence_weight=config.silence_weight
        )

    def shape(self, index: int) -> tuple[int, int]:
        """Rows B and frames T of the global batch of a step."""
        step = self._plan.step(index)
        return step.rows, step.frames

    def batch(self, index: int) -> LatentBatch:
        """This rank's rows of the global batch of a step."""
        step = self._plan.step(index)
        recipes = self._recipes(index, step)
        own = step.rows // self.world
        made = [
            self._made(index, row, recipes[row], step.frames)
            for row in range(self.rank * own, (self.rank + 1) * own)
        ]
        return LatentBatch(
            x0=torch.stack([scene.sound for scene, _ in made]).transpose(1, 2).contiguous(),
            prompts=tuple(prompt for _, prompt in made),
            weight=torch.stack([scene.weight for scene, _ in made])[:, None],
            ids=tuple("+".join(row.id for row in scene.rows) for scene, _ in made),
        )

    def _recipes(self, index: int, step: _Step) -> list[tuple[str, tuple[int, ...], float]]:
        """Kind, clips and cut of every row of a global batch, in its order."""
        clips = self._order.at(step.first_clip, step.rows - step.mixes)
        mixes = self._mixes.at(step.first_mix, step.mixes) if self._mixes else []
        labels = [self.store.rows[clip].label for clip in clips[: 2 * step.pairs]]
        found: list[tuple[str, tuple[int, ...], float]] = []
        for pair in range(step.pairs):
            a, b = clips[2 * pair], clips[2 * pair + 1]
            if labels[2 * pair] == labels[2 * pair + 1]:
                found += [("single", (a,), 0.5), ("single", (b,), 0.5)]
                continue
            key = np.asarray([index * 65536 + pair])
            cut = 0.3 + 0.4 * float(uniforms_at(key, self.seed, _CUT)[0])
            found += [("sequence", (a, b), cut), ("sequence", (b, a), 1 - cut)]
        rest = clips[2 * step.pairs :]
        kinds = ["once"] * step.once + ["repeat"] * step.repeats
        kinds += ["single"] * (len(rest) - len(kinds))
        found += [(kind, (clip,), 0.5) for kind, clip in zip(kinds, rest, strict=True)]
        found += [("single", (clip,), 0.5) for clip in mixes]
        places = permutation_at(step.rows, self.seed, _PLACES, index)
        return [found[place] for place in places.tolist()]

    def _made(
        self, index: int, row: int, recipe: tuple[str, tuple[int, ...], float], frames: int
    ) -> tuple[Scene, str]:
        kind, clips, cut = recipe
        for attempt in range(_MOST_SPARES):
            generator = generator_at(self.seed, _ROW, index, row, attempt)
            try:
                scene = self._scene(kind, clips, cut, frames, generator)
            except AudioFileError as error:
                self.unreadable["+".join(self.store.rows[clip].id for clip in clips)] = str(error)
                spare = seed_at(self.seed, _SPARE, index, row, attempt) % self._order.epoch_draws
                kind, clips = "single", tuple(self._order.at(spare, 1))
                continue
            told = wording(
                scene.kind,
                scene.rows,
                generator=generator,
                times=scene.times,
                held_out=self.config.held_out_wordings,
            )
            return scene, told
        raise AudioFileError(f"{_MOST_SPARES} clips in a row cannot be read; is the store damaged?")

    def _scene(
        self,
        kind: str,
        clips: tuple[int, ...],
        cut: float,
        frames: int,
        generator: torch.Generator,
    ) -> Scene:
        if kind == "sequence":
            return self._scenes.sequence(clips, frames, cut, generator)
        make = {
            "single": self._scenes.single,
            "once": self._scenes.once,
            "repeat": self._scenes.repeat,
        }[kind]
        return make(clips[0], frames, generator)
