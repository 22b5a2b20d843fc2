"""What a batch is made of, and how many rows of which kind each step has."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ezaudio.config import Config
from ezaudio.data.keys import uniforms_at
from ezaudio.data.order import Balance

_BLOCK = 1024
_LENGTH = 11


class BatchConfig(Config):
    """What a batch of latents is made of.

    Attributes:
        rows: Rows of the global batch, B; in place of `seconds`.
        seconds: Sound in a batch; longer rows mean fewer of them.
        rows_multiple: B is a multiple of this; the number of ranks divides it.
        duration_s: Shortest and longest row; one length per batch, log-uniform in between.
        balance: How often each label is drawn.
        fill: What follows a clip that is shorter than its row: further `takes` of its label, or
            `silence`, which then is a part of the sound and counts in full.
        prompts: `wordings` of the label and the captions, or the `captions` as they are.
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
    fill: Literal["takes", "silence"] = "takes"
    prompts: Literal["wordings", "captions"] = "wordings"
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


class Step(NamedTuple):
    """One global batch before its rows are made; draws are counted over the whole run."""

    frames: int
    rows: int
    once: int
    repeats: int
    pairs: int
    mixes: int
    first_clip: int
    first_mix: int


class BatchPlan:
    """Length, rows and kinds of every step, in blocks that are computed when asked for."""

    def __init__(self, config: BatchConfig, *, seed: int, frame_rate: float) -> None:
        self.config, self.seed, self.frame_rate = config, seed, frame_rate
        self._blocks: list[NDArray[np.int64]] = []
        self._owed = [0.0] * 4  # once, repeats, pairs, mixes not yet given
        self._drawn = np.zeros(2, np.int64)  # clips, mixes drawn so far

    def step(self, index: int) -> Step:
        """Give the plan of a step."""
        while len(self._blocks) <= index // _BLOCK:
            self._blocks.append(self._block(len(self._blocks)))
        return Step(*self._blocks[index // _BLOCK][:, index % _BLOCK].tolist())

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
