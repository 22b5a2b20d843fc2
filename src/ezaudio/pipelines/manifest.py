"""A list of what was made: a row a sound, in the order of the prompts, as training reads it too."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ezaudio.files import write_bytes
from ezaudio.pipelines.outputs import try_to_write

if TYPE_CHECKING:
    from types import TracebackType

    from ezaudio.pipelines.results import Sound

COLUMNS = ("file", "caption", "duration", "seed", "take", "negative_prompt", "model")
"""`file` is relative to the list's folder."""


class Made:
    """Collects sounds while a run makes them, and writes the list when the run ends.

    A run that ends early leaves a list of what it finished.

    Args:
        path: of the list; None keeps none.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._rows: dict[int, dict[str, Any]] = {}

    def add(self, index: int, file: Path, sound: Sound) -> None:
        """Take note of a sound, and of its place in the list."""
        if self.path is None:
            return
        told = sound.metadata
        self._rows[index] = {
            "file": _beside(file, self.path),
            "caption": sound.prompt,
            "duration": round(sound.clip.duration_s, 4),
            **{name: told.get(name, "") for name in COLUMNS[3:]},
        }

    def __enter__(self) -> Made:
        if self.path is not None:
            try_to_write(self.path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.path is None or not self._rows:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows[index] for index in sorted(self._rows))
        write_bytes(self.path, text.getvalue().encode())


def _beside(file: Path, manifest: Path) -> str:
    """A path relative to the manifest's folder, with slashes; absolute where there is none."""
    try:
        return Path(os.path.relpath(file, manifest.parent)).as_posix()
    except ValueError:  # another drive of Windows
        return file.resolve().as_posix()
