"""Sound effects from sentences.

Public names are loaded at their first use, so that `import ezaudio` costs nothing:

    from ezaudio import EzAudio

    sounds = EzAudio.from_pretrained("starter").generate("a dog barking", seed=0)
    sounds.save("dog.wav")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ezaudio.errors import (
        AudioFileError,
        Cancelled,
        CheckpointError,
        DownloadError,
        EzAudioError,
        InputError,
        OutputError,
    )
    from ezaudio.pipelines import EditOptions, EzAudio, GenerateOptions
    from ezaudio.types import Clip, TextEmbedding

__version__ = "0.1.0"

__all__ = [
    "AudioFileError",
    "Cancelled",
    "CheckpointError",
    "Clip",
    "DownloadError",
    "EditOptions",
    "EzAudio",
    "EzAudioError",
    "GenerateOptions",
    "InputError",
    "OutputError",
    "TextEmbedding",
    "__version__",
]

_ROOMS = {
    "ezaudio.errors": (
        "AudioFileError",
        "Cancelled",
        "CheckpointError",
        "DownloadError",
        "EzAudioError",
        "InputError",
        "OutputError",
    ),
    "ezaudio.pipelines": ("EditOptions", "EzAudio", "GenerateOptions"),
    "ezaudio.types": ("Clip", "TextEmbedding"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    """Load the room of a public name; the name then stays here."""
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_ROOM_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
