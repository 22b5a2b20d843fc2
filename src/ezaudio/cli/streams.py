"""`-` in the place of a file: sounds from the standard input and to the standard output."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ezaudio.errors import InputError

if TYPE_CHECKING:
    from ezaudio.pipelines.results import Sound

DASH = "-"


@contextmanager
def sound_file(path: Path) -> Iterator[Path]:
    """Give a file that can be read: the path itself, or for `-` what comes in, put into a file."""
    if str(path) != DASH:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stdin"
        file.write_bytes(sys.stdin.buffer.read())
        yield file


def check_stdout(sounds: int) -> None:
    """Refuse to write sounds to the standard output where they could not be read again.

    Raises:
        InputError: there are several, or the output is a terminal.
    """
    if sounds != 1:
        raise InputError("output", DASH, f"a folder; {sounds} sounds do not go into one stream")
    if sys.stdout.isatty():
        raise InputError("output", DASH, "a pipe or a file; this output is a terminal")


def write_stdout(sound: Sound, format: str | None) -> None:
    """Write a sound file to the standard output, WAV where no format is named."""
    sys.stdout.buffer.write(sound.encode(format or "wav"))
    sys.stdout.buffer.flush()
