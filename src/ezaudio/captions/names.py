"""Names of AudioSet's classes: `/m/053hz1` -> "Hubbub, speech noise, speech babble".

They are read from the publisher's own files, whichever of the three is at hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ezaudio.captions.record import BadLine
from ezaudio.captions.tables import lines_of, opened, rows_of
from ezaudio.errors import InputError


def read_names(path: Path) -> dict[str, str]:
    """Read `mid_to_display_name.tsv`, `class_labels_indices.csv` or `ontology.json`.

    Raises:
        InputError: the file cannot be read, or holds no names.
    """
    with opened(path, field="names"):
        pass  # refused under its own name before it is read as whatever it is
    if path.suffix == ".json":
        found = _of_ontology(path)
    elif path.suffix == ".csv":
        rows = rows_of(path, ("mid", "display_name"))
        found = {row[1]["mid"]: row[1]["display_name"] for row in rows if isinstance(row, tuple)}
    else:
        lines = [line for line in lines_of(path, delimiter="\t") if not isinstance(line, BadLine)]
        found = {cells[0]: cells[1] for _, cells in lines if len(cells) == 2}
    if not any(mid.startswith("/") for mid in found):
        raise InputError("names", str(path), "a file of AudioSet's mids and display names")
    return found


def _of_ontology(path: Path) -> dict[str, str]:
    with opened(path) as file:
        try:
            rows: Any = json.load(file)
            return {str(row["id"]): str(row["name"]) for row in rows}
        except (ValueError, KeyError, TypeError):
            raise InputError("names", str(path), "AudioSet's ontology.json") from None


class Labels:
    """Turns what a file calls a label into a name.

    Args:
        path: file of names; None takes every label that is not a mid as its own name.
    """

    def __init__(self, path: str | None) -> None:
        self._names = read_names(Path(path)) if path else {}

    def name(self, label: str) -> str | None:
        """Name of a label; None for a mid that nobody has named."""
        if label in self._names:
            return self._names[label]
        return None if label.startswith(("/m/", "/t/", "/g/")) or not label else label
