"""What stands in the place of a text encoder where the network has no text input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ezaudio.errors import InputError

if TYPE_CHECKING:
    import torch

    from ezaudio.types import TextEmbedding


class NoText:
    """The text encoder of a network without text, such as one after the first training stage."""

    name = "none"
    width = 0
    max_tokens = 0

    def __call__(self, prompts: Sequence[str]) -> TextEmbedding:
        """Refuse, since nothing could read what it gave.

        Raises:
            InputError: always.
        """
        raise InputError("prompt", next(iter(prompts), ""), NO_TEXT)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> NoText:
        """Give itself back."""
        return self


NO_TEXT = 'an empty prompt (""): this model was trained without text'
