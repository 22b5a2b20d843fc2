"""Systems that make sounds, behind one face.

To add one, write its file with a config and its `build()`, and add a line to `SYSTEMS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from ezaudio.config import load_config
from ezaudio.errors import InputError
from ezaudio.evaluation.systems.base import GenerationPlan, System
from ezaudio.evaluation.systems.command import CommandConfig
from ezaudio.evaluation.systems.diffusers_pipeline import DiffusersConfig
from ezaudio.evaluation.systems.ezaudio_model import EzAudioConfig
from ezaudio.evaluation.systems.folder import FolderConfig

AnyConfig: TypeAlias = EzAudioConfig | DiffusersConfig | CommandConfig | FolderConfig

SYSTEMS: dict[str, type[AnyConfig]] = {
    "ezaudio": EzAudioConfig,
    "diffusers": DiffusersConfig,
    "command": CommandConfig,
    "folder": FolderConfig,
}
"""Kind of system to its config class."""


def read_system(values: Mapping[str, Any]) -> AnyConfig:
    """Read one entry of a file of systems.

    Raises:
        InputError: the kind is unknown, or a field is not allowed.
    """
    kind = values.get("kind", "ezaudio")
    if kind not in SYSTEMS:
        raise InputError("kind", kind, f"one of {', '.join(SYSTEMS)}")
    return load_config(SYSTEMS[kind], values)


__all__ = ["SYSTEMS", "AnyConfig", "GenerationPlan", "System", "read_system"]
