"""How other programs call their files."""

from __future__ import annotations

from dataclasses import dataclass

from ezaudio.errors import InputError
from ezaudio.evaluation.clips import Item


@dataclass(frozen=True)
class Naming:
    """A pattern with `{name}` (the clip's) or `{index}` (its number from 0), without ending.

    Attributes:
        pattern: such as `output_{index}`; `{index:05d}` pads with zeros.
    """

    pattern: str

    def __post_init__(self) -> None:
        """Raise InputError when the pattern cannot tell clips apart."""
        try:
            first, second = (self.stem(i, Item(f"n{i}")) for i in (0, 1))
        except (KeyError, IndexError, ValueError):
            first = second = ""
        if first == second:
            raise InputError("naming", self.pattern, "a pattern with {name} or {index}")

    def stem(self, index: int, item: Item) -> str:
        """The file's name without ending."""
        return self.pattern.format(name=item.name, index=index, caption=item.caption)
