"""From a request to a result: generate, edit, reconstruct, convert.

Names are loaded at their first use; listing models needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ezaudio.pipelines.catalogue import CATALOGUE, ModelCard, find_model
    from ezaudio.pipelines.components import Components, load_components
    from ezaudio.pipelines.ezaudio import EzAudio
    from ezaudio.pipelines.generate import Request
    from ezaudio.pipelines.options import EditOptions, GenerateOptions, ModelOptions
    from ezaudio.pipelines.progress import Progress
    from ezaudio.pipelines.reconstruct import Reconstruction
    from ezaudio.pipelines.results import Sound, Sounds

__all__ = [
    "CATALOGUE",
    "Components",
    "EditOptions",
    "EzAudio",
    "GenerateOptions",
    "ModelCard",
    "ModelOptions",
    "Progress",
    "Reconstruction",
    "Request",
    "Sound",
    "Sounds",
    "find_model",
    "load_components",
]

_MODULES = {
    "catalogue": ("CATALOGUE", "ModelCard", "find_model"),
    "components": ("Components", "load_components"),
    "ezaudio": ("EzAudio",),
    "generate": ("Request",),
    "options": ("EditOptions", "GenerateOptions", "ModelOptions"),
    "progress": ("Progress",),
    "reconstruct": ("Reconstruction",),
    "results": ("Sound", "Sounds"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load the module of a public name."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
