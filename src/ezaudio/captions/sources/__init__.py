"""Where captions come from.

To add a source: write one file with a subclass of `Source`, and add a line to `SOURCES`. Its
settings are checked by the same rules as all others; the command line and the contract tests
pick it up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ezaudio.captions.base import Source
from ezaudio.captions.sources.audio_lm import AudioLM
from ezaudio.captions.sources.audiocaps import AudioCaps
from ezaudio.captions.sources.audioset_weak import AudioSetWeak
from ezaudio.captions.sources.auto_acd import AutoAcd
from ezaudio.captions.sources.ensemble import Ensemble
from ezaudio.captions.sources.strong_labels import StrongLabels
from ezaudio.captions.sources.vggsound import VggSound
from ezaudio.captions.sources.wavcaps import WavCaps
from ezaudio.config import load_config
from ezaudio.errors import InputError

SOURCES: dict[str, type[Source]] = {
    "auto_acd": AutoAcd,
    "wavcaps": WavCaps,
    "audiocaps": AudioCaps,
    "vggsound": VggSound,
    "audioset_weak": AudioSetWeak,
    "audio_lm": AudioLM,
    "strong_labels": StrongLabels,
    "ensemble": Ensemble,
}
"""Every source by name."""

__all__ = ["SOURCES", "source_from"]


def source_from(kind: str, settings: Mapping[str, Any], overrides: tuple[str, ...] = ()) -> Source:
    """Make a source from its settings.

    Args:
        kind: a name of `SOURCES`.
        settings: its fields.
        overrides: `field.field=value` each.

    Raises:
        InputError: no such source, or a setting that it does not have or allow.
    """
    if kind not in SOURCES:
        raise InputError("source", kind, f"one of {', '.join(SOURCES)}")
    return load_config(SOURCES[kind], settings, overrides)
