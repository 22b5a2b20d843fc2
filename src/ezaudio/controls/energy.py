"""Energy: how loud a sound is, over time."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from ezaudio.config import Config
from ezaudio.errors import InputError


class EnergyConfig(Config):
    """Settings.

    Attributes:
        hop_samples: samples from one frame to the next; 240 give 100 frames/s at 24 kHz.
        window_samples: samples over which a frame averages.
        floor_db: level, against full scale, below which a frame counts as silent.
        relative: divide by the loudest frame, so that the curve ends at 1 whatever the level of the
            recording.
    """

    kind: Literal["energy"] = "energy"
    channels: ClassVar[int] = 1
    hop_samples: int = Field(default=240, ge=1)
    window_samples: int = Field(default=1920, ge=1)
    floor_db: float = Field(default=-60.0, lt=0)
    relative: bool = True

    @model_validator(mode="after")
    def _windows_are_centred(self) -> EnergyConfig:
        margin = self.window_samples - self.hop_samples
        if margin < 0 or margin % 2:
            raise ValueError("window_samples must exceed hop_samples by an even number")
        return self

    def build(self) -> Energy:
        """Make the extractor; it has no weights."""
        return Energy(self)


class Energy(nn.Module):
    """Mean square per window in decibels, mapped so that the floor is 0.

    With `relative` the loudest frame of each row is 1; a row that is silent throughout is 0.
    Without it, values are decibels.
    """

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, wave: Tensor) -> Tensor:
        """Map a waveform `(B, 1, S)` to a curve `(B, 1, S // hop)`; the ends are mirrored.

        Raises:
            InputError: the waveform is shorter than half a window.
        """
        hop, window, floor = (
            self.config.hop_samples,
            self.config.window_samples,
            self.config.floor_db,
        )
        margin = (window - hop) // 2
        samples = wave.shape[-1]
        if samples <= max(margin, hop - 1):
            raise InputError("samples", samples, f"more than {max(margin, hop - 1)}")
        power = functional.pad(wave, (margin, margin), mode="reflect").square()
        mean = functional.avg_pool1d(power, window, stride=hop)[..., : samples // hop]
        level_db = 10 * mean.clamp_min(10 ** (floor / 10)).log10()
        if not self.config.relative:
            return level_db
        loudest_db = level_db.amax(dim=-1, keepdim=True)
        return (level_db - floor) / (loudest_db - floor + 1e-8)
