"""The step `latents` of the starter model: `ezaudio.training.encode` with its defaults."""

from __future__ import annotations

from ezaudio.data.levels import trim_and_level
from ezaudio.training.encode import encode_clips

__all__ = ["encode_clips", "trim_and_level"]
