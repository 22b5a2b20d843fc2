"""Crops of waveforms for training an autoencoder: a function of the step number, as latents are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from ezaudio.config import Config
from ezaudio.data.clips import ClipRow
from ezaudio.data.keys import generator_at, seed_at
from ezaudio.data.order import Balance, DrawOrder
from ezaudio.errors import AudioFileError, InputError

_CLIPS, _ROW, _SPARE = 21, 22, 23
_MOST_SPARES = 16
_FAINT = 1e-4


class WaveformSource(Protocol):
    """Where waveforms come from."""

    @property
    def rows(self) -> Sequence[ClipRow]:
        """What is known of every clip."""

    @property
    def sample_rate(self) -> int:
        """In Hz."""

    def takes(self, split: str) -> Mapping[str, Sequence[int]]:
        """Clips (numbers) of each label of a split."""

    def length(self, index: int) -> int:
        """Samples of a clip."""

    def read(self, index: int, start: int = 0, samples: int | None = None) -> NDArray[np.float32]:
        """Read a part of a clip, (S,)."""


class CropConfig(Config):
    """What a batch of waveforms is made of.

    Attributes:
        rows: Crops of the global batch.
        crop_s: Length of a crop; shorter clips are padded with silence on both sides.
        gain_db: Range of the random gain; the peak never passes 1.
        polarity: Turn half of the crops upside down.
        mix_share: Share of crops to which another clip is added.
        mix_db: Range of the other clip's level below the first one's peak.
        balance: How often each label is drawn.
    """

    rows: int = Field(8, ge=1)
    crop_s: float = Field(1.0, gt=0)
    gain_db: tuple[float, float] = (-12.0, 6.0)
    polarity: bool = True
    mix_share: float = Field(0.0, ge=0, le=1)
    mix_db: tuple[float, float] = (-12.0, 0.0)
    balance: Balance = Balance()

    @field_validator("gain_db", "mix_db")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError("two levels in dB, the lower one first")
        return value


class WaveformBatches:
    """Batches of crops.

    Args:
        store: Of the waveforms.
        config: What a batch is made of.
        seed: Of everything random.
        rank, world: Which part of each batch is asked for.
        split: Which clips are drawn.

    Attributes:
        unreadable: Clips that could not be read, with the reason; others took their places.

    Raises:
        InputError: The ranks do not divide a batch, or the split has no clips.
    """

    def __init__(
        self,
        store: WaveformSource,
        config: CropConfig,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        split: str = "train",
    ) -> None:
        if config.rows % world:
            raise InputError("rows", config.rows, f"a multiple of the {world} processes")
        self.store, self.config, self.seed = store, config, seed
        self.rank, self.world = rank, world
        self.samples = round(config.crop_s * store.sample_rate)
        self.unreadable: dict[str, str] = {}
        self._order = DrawOrder(store.takes(split), config.balance, seed=seed_at(seed, _CLIPS))

    def batch(self, index: int) -> Tensor:
        """This rank's crops of a step: float32 (B, 1, S), peak at most 1."""
        own = self.config.rows // self.world
        rows = range(self.rank * own, (self.rank + 1) * own)
        return torch.from_numpy(np.stack([self._made(index, row) for row in rows]))[:, None]

    def ids(self, index: int) -> tuple[str, ...]:
        """First clip of each of this rank's rows."""
        own = self.config.rows // self.world
        first = index * self.config.rows + self.rank * own
        return tuple(self.store.rows[clip].id for clip in self._order.at(first, own))

    def _made(self, index: int, row: int) -> NDArray[np.float32]:
        (clip,) = self._order.at(index * self.config.rows + row, 1)
        for attempt in range(_MOST_SPARES):
            generator = generator_at(self.seed, _ROW, index, row, attempt)
            key = seed_at(self.seed, _SPARE, index, row, attempt)
            (other,) = self._order.at(key % self._order.epoch_draws, 1)
            try:
                return self._augmented(clip, other, generator)
            except AudioFileError as error:
                self.unreadable[self.store.rows[clip].id] = str(error)
                clip = other
        raise AudioFileError(f"{_MOST_SPARES} clips in a row cannot be read; is the store damaged?")

    def _augmented(self, clip: int, other: int, generator: torch.Generator) -> NDArray[np.float32]:
        config = self.config
        mixed, flip, gain, level = torch.rand(4, generator=generator).tolist()
        crop = self._crop(clip, generator)
        if mixed < config.mix_share:
            added, peak = self._crop(other, generator), float(np.abs(crop).max())
            loudest = max(float(np.abs(added).max()), _FAINT)
            crop = crop + added * np.float32(peak * _factor(config.mix_db, level) / loudest)
        peak = max(float(np.abs(crop).max()), _FAINT)
        factor = min(_factor(config.gain_db, gain), 1 / peak)
        if config.polarity and flip < 0.5:
            factor = -factor
        clipped: NDArray[np.float32] = np.clip(crop * np.float32(factor), -1, 1)
        return clipped

    def _crop(self, clip: int, generator: torch.Generator) -> NDArray[np.float32]:
        spare = self.store.length(clip) - self.samples
        start = int(torch.randint(max(spare, 0) + 1, (), generator=generator))
        crop = self.store.read(clip, start, self.samples)
        before = int(torch.randint(self.samples - len(crop) + 1, (), generator=generator))
        return np.pad(crop, (before, self.samples - len(crop) - before))


def _factor(range_db: tuple[float, float], share: float) -> float:
    low, high = range_db
    return float(10 ** ((low + (high - low) * share) / 20))
