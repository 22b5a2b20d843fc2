"""The kinds of sound that the judge tells apart, and the prompt that asks for each.

`kinds.csv` has one line per kind: the label of its recordings, the prompt as a user would write it,
and labels that mean nearly the same (separated by `;`), whose recordings count as this kind. Labels
that the file does not name are left out of training, near synonyms of two kinds among them ("rain
and thunder").
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

KINDS_FILE = Path(__file__).with_name("kinds.csv")


@dataclass(frozen=True)
class Kind:
    """One kind of sound.

    Attributes:
        label: name of the kind, and the label of its recordings.
        prompt: what a user would type.
        also: further labels whose recordings are of this kind.
    """

    label: str
    prompt: str
    also: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """The label as a file name."""
        return self.label.replace(" ", "-")


def read_kinds(path: Path = KINDS_FILE) -> list[Kind]:
    """Read a list of kinds.

    Raises:
        ValueError: a label is listed twice, as a kind or as a synonym.
    """
    with path.open(newline="", encoding="utf-8") as file:
        kinds = [
            Kind(row["label"], row["prompt"], tuple(filter(None, row["also"].split(";"))))
            for row in csv.DictReader(file)
        ]
    names = [name for kind in kinds for name in (kind.label, *kind.also)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path.name} lists {', '.join(twice)} more than once")
    return kinds
