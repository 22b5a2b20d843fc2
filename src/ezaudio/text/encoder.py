"""What every text encoder is, and how prompts become token numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ezaudio.errors import CheckpointError
from ezaudio.types import TextEmbedding

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class TextEncoder(Protocol):
    """Turns prompts into token vectors.

    The empty string is the unconditional prompt. A prompt's vectors do not depend on the other
    prompts of the batch, and vectors where `attend` is False are zero.

    Attributes:
        name: which encoder, for the records.
        width: size of a token vector, `E`.
        max_tokens: longer prompts lose their end.
    """

    @property
    def name(self) -> str:
        """Which encoder, for the records."""

    @property
    def width(self) -> int:
        """Size of a token vector, `E`."""

    @property
    def max_tokens(self) -> int:
        """Most tokens of a prompt that are read, the encoder's own marks included."""

    def __call__(self, prompts: Sequence[str]) -> TextEmbedding:
        """Encode prompts: tokens `(B, L, E)`, attend `(B, L)`."""

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> TextEncoder:
        """Move the encoder, and give it back."""


def plain(prompt: str) -> str:
    """Make one line of a prompt, with single spaces: what the encoders read, and the cache's key.

    Deviation: the authors hand prompts over as they are; their tokenizer drops extra spaces too.
    """
    return " ".join(prompt.split())


def load_tokenizer(folder: Path, *, max_tokens: int) -> Tokenizer:
    """Read `tokenizer.json` and set it to cut at `max_tokens` and not to pad.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; a text encoder needs its tokenizer there")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception:  # the library raises bare Exception for every damaged file
        raise CheckpointError(f"{path}: not a tokenizer, or damaged") from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def tokenize(tokenizer: Tokenizer, prompts: Sequence[str], pad: int) -> tuple[Tensor, Tensor]:
    """Encode prompts as numbers, padded to the longest.

    Returns:
        Token numbers, int64 `(B, L)`, and `attend`, bool `(B, L)`.
    """
    if not prompts:
        raise ValueError("no prompts to encode")
    rows = [encoding.ids for encoding in tokenizer.encode_batch([plain(p) for p in prompts])]
    length = max(len(row) for row in rows)
    ids = torch.tensor([row + [pad] * (length - len(row)) for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return ids, torch.arange(length) < lengths[:, None]  # (B, L), (B, L)
