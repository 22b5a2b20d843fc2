"""Formats of sound files that can be written; their names are also the endings of files."""

from __future__ import annotations

from pathlib import Path

from ezaudio.errors import InputError

AUDIO_FORMATS = ("wav", "flac", "ogg", "mp3")
LOSSLESS_FORMATS = ("wav", "flac")


def format_of(path: str | Path, format: str | None = None) -> str:
    """Give the name of the format that `path` (or `format`, where given) asks for.

    Raises:
        InputError: the format is unknown.
    """
    name = format.lower() if format is not None else Path(path).suffix.lower().lstrip(".")
    if name not in AUDIO_FORMATS:
        got = str(path) if format is None else format
        raise InputError("format", got, f"one of {', '.join(AUDIO_FORMATS)}")
    return name
