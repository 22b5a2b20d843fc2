"""EzAudio-DiT: from a noisy latent, a diffusion step and a text to a velocity."""

from ezaudio.dit.condition import Condition
from ezaudio.dit.config import DiTConfig
from ezaudio.dit.masking import sample_regenerate_mask
from ezaudio.dit.model import EzAudioDiT
from ezaudio.dit.presets import DIT_PRESETS

__all__ = ["DIT_PRESETS", "Condition", "DiTConfig", "EzAudioDiT", "sample_regenerate_mask"]
