"""A bounded memory of encoded prompts: a prompt that comes again costs nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import torch

from ezaudio.text.encoder import TextEncoder, plain
from ezaudio.types import TextEmbedding


class CachedTextEncoder:
    """A text encoder that remembers the prompts it met last.

    Rows are kept without their padding, on the encoder's device. Safe to use from many threads.

    Args:
        encoder: the encoder that is asked for what is not remembered.
        capacity: number of prompts kept; the one used least recently goes first.
    """

    def __init__(self, encoder: TextEncoder, capacity: int = 256) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self.encoder = encoder
        self.capacity = capacity
        self._rows: OrderedDict[str, TextEmbedding] = OrderedDict()
        self._lock = Lock()

    @property
    def name(self) -> str:
        """Which encoder, for the records."""
        return self.encoder.name

    @property
    def width(self) -> int:
        """Size of a token vector, `E`."""
        return self.encoder.width

    @property
    def max_tokens(self) -> int:
        """Most tokens of a prompt that are read."""
        return self.encoder.max_tokens

    def __len__(self) -> int:
        """Number of prompts remembered, at most `capacity`."""
        return len(self._rows)

    def __call__(self, prompts: Sequence[str]) -> TextEmbedding:
        """Encode prompts, each of the unknown ones once: tokens `(B, L, E)`, attend `(B, L)`."""
        if not prompts:
            raise ValueError("no prompts to encode")
        keys = [plain(prompt) for prompt in prompts]
        with self._lock:
            rows = {key: self._rows[key] for key in keys if key in self._rows}
            unknown = [key for key in dict.fromkeys(keys) if key not in rows]
            rows.update(self._encoded(unknown))
            for key in keys:
                self._rows[key] = rows[key]
                self._rows.move_to_end(key)
            while len(self._rows) > self.capacity:
                self._rows.popitem(last=False)
        return TextEmbedding.cat([rows[key] for key in keys])

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> CachedTextEncoder:
        """Move the encoder, forget everything, and give this back."""
        with self._lock:
            self._rows.clear()
            self.encoder = self.encoder.to(device, dtype)
        return self

    def _encoded(self, prompts: list[str]) -> dict[str, TextEmbedding]:
        if not prompts:
            return {}
        batch = self.encoder(prompts)
        return {prompt: batch.select([row]) for row, prompt in enumerate(prompts)}
