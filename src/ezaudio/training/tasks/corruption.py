"""What is drawn for a step: noise, diffusion steps, masks, dropped prompts; per row, by its key.

Row r of the global batch of step n draws from a generator of (seed, n, r), whichever process it
lies on. The diffusion steps of a batch are stratified: one in each of B equally likely parts of the
range, in an order that all processes know.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from pydantic import Field, field_validator
from torch import Tensor

from ezaudio.config import Config
from ezaudio.data.batches import LatentBatch
from ezaudio.data.keys import generator_at, permutation_at
from ezaudio.dit.masking import sample_regenerate_mask

_ROW, _ORDER = 41, 42


class MaskConfig(Config):
    """Which frames are to be made.

    Attributes:
        full_share: Share of rows that are made as a whole.
        ratio: Least and greatest share of frames in the other rows.
        min_span_s: Shortest span.
    """

    full_share: float = Field(0.75, ge=0, le=1)
    ratio: tuple[float, float] = (0.25, 1.0)
    min_span_s: float = Field(0.2, gt=0)

    @field_validator("ratio")
    @classmethod
    def _shares(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] <= value[1] <= 1:
            raise ValueError("two shares from 0 to 1, the lower one first")
        return value


class DrawConfig(Config):
    """What is drawn for a row.

    Attributes:
        mask: Which frames are to be made.
        text_dropout: Share of rows with the empty prompt, for classifier-free guidance.
        step_power: A step is N * u ** step_power with u uniform; below 1, noisier steps, where it
            is decided what is heard, come more often.
    """

    mask: MaskConfig = MaskConfig()
    text_dropout: float = Field(0.1, ge=0, le=1)
    step_power: float = Field(1.0, gt=0)


class Drawn(NamedTuple):
    """What was drawn for the rows of one process.

    Attributes:
        noise: (B, C, T).
        steps: (B,).
        regenerate: True where the sound is to be made, bool (B, 1, T).
        prompts: Some of them empty.
    """

    noise: Tensor
    steps: Tensor
    regenerate: Tensor
    prompts: list[str]


class Place(NamedTuple):
    """Which rows of which step.

    Attributes:
        seed: Of the run.
        step: Number of the step.
        rank: Process.
        world: Processes.
        levels: With it, steps come from that many equal parts of the range in turn, and not at
            random: for measuring.
    """

    seed: int
    step: int
    rank: int
    world: int
    levels: int | None = None


def draw(
    batch: LatentBatch, config: DrawConfig, place: Place, *, num_steps: int, frame_rate: float
) -> Drawn:
    """Draw for the rows of one process.

    Args:
        batch: Its rows.
        config: Shares.
        place: Which rows they are.
        num_steps: Steps of the schedule, N.
        frame_rate: Latent frames per second.
    """
    own, _, frames = batch.x0.shape
    rows = range(place.rank * own, (place.rank + 1) * own)
    generators = [generator_at(place.seed, _ROW, place.step, row) for row in rows]
    noise = torch.stack([torch.randn(batch.x0.shape[1:], generator=g) for g in generators])
    uniform = torch.stack([torch.rand(2, generator=g) for g in generators])  # (B, 2)
    mask = config.mask
    regenerate = torch.cat(
        [
            sample_regenerate_mask(
                1,
                frames,
                ratio=mask.ratio,
                min_span_frames=max(1, round(mask.min_span_s * frame_rate)),
                full_probability=mask.full_share,
                generator=generator,
            )
            for generator in generators
        ]
    )
    shares = _shares(rows, own * place.world, place, config.step_power, uniform[:, 0])
    steps = (shares * num_steps).long().clamp(max=num_steps - 1)
    dropped = (uniform[:, 1] < config.text_dropout).tolist()
    prompts = ["" if drop else p for drop, p in zip(dropped, batch.prompts, strict=True)]
    return Drawn(noise, steps, regenerate, prompts)


def level_of(row: int, size: int, place: Place) -> int:
    """Part of the range that a row of a measured batch of `size` rows is in."""
    assert place.levels is not None
    return (row + place.step * size) % place.levels


def _shares(rows: range, size: int, place: Place, power: float, uniform: Tensor) -> Tensor:
    """Where in the range of steps each row lies, in [0, 1): (B,)."""
    if place.levels is not None:
        levels = torch.tensor([level_of(row, size, place) for row in rows])
        return (levels + uniform) / place.levels
    order = torch.from_numpy(permutation_at(size, place.seed, _ORDER, place.step))
    shares: Tensor = ((order[rows.start : rows.stop] + uniform) / size) ** power
    return shares
