"""Curves over time that steer a sound.

A control is a settings class with `kind`, `channels` and `build`; what it builds maps a waveform
`(B, 1, S)` to curves `(B, channels, F)`. A new one is one file and one line in the registry.
"""

from ezaudio.config import Config
from ezaudio.controls.energy import EnergyConfig

CONTROLS: dict[str, type[Config]] = {"energy": EnergyConfig}
"""Kind of a control to its settings class."""

__all__ = ["CONTROLS", "EnergyConfig"]
