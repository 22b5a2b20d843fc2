"""Token vectors of prompts in shards: encoded once, read by prompt.

A member of a shard is a NumPy array of float16, (L, E), without padding. The table maps a prompt's
hash to its place, so an index of millions is two arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ezaudio.data.clips import ClipRow
from ezaudio.data.latents import npy
from ezaudio.data.prompts import held_out_prompts, training_prompts
from ezaudio.data.shards import (
    TABLE,
    TarFiles,
    fingerprint,
    finished,
    new_shard,
    read_head,
    refuse_other,
    table_path,
    tar_path,
    write_head,
)
from ezaudio.data.tables import numbers, read_table, write_columns, write_joined
from ezaudio.errors import InputError
from ezaudio.files import make_folder
from ezaudio.types import TextEmbedding

KIND = "texts"
_BYTES = 2
_HALF_MAX = 65504.0


def prompt_key(prompt: str) -> int:
    """Hash a prompt, as one line with single spaces, to 63 bits."""
    digest = hashlib.sha256(" ".join(prompt.split()).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


class Encoder(Protocol):
    """What turns prompts into token vectors; every text encoder does."""

    @property
    def name(self) -> str:
        """Which encoder."""

    @property
    def width(self) -> int:
        """Size of a token vector, E."""

    @property
    def max_tokens(self) -> int:
        """Most tokens of a prompt that are read."""

    def __call__(self, prompts: Sequence[str]) -> TextEmbedding:
        """Encode prompts."""


class TextStore:
    """Embeddings of known prompts.

    Args:
        folder: As `encode_texts` writes it.

    Attributes:
        name: Of the encoder that made them.
        width: Size of a token vector, E.

    Raises:
        InputError: The folder is no complete store.
        CheckpointError: Its table cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        head = read_head(folder, KIND)
        self.name: str = head["encoder"]
        self.width: int = head["width"]
        table = read_table(folder / TABLE)
        keys = numbers(table, "key")
        order = np.argsort(keys)
        self._keys = keys[order]
        self._shards, self._offsets, self._tokens = (
            numbers(table, name)[order] for name in ("shard", "offset", "tokens")
        )
        self._files = TarFiles(folder, head["shards"])

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, prompt: object) -> bool:
        return isinstance(prompt, str) and self._place(prompt) is not None

    def __call__(self, prompts: Sequence[str]) -> TextEmbedding:
        """Embeddings of prompts: tokens float32 (B, L, E), attend (B, L), L that of the longest.

        Raises:
            InputError: A prompt was not encoded.
            AudioFileError: A shard is missing or damaged.
        """
        return TextEmbedding.cat([self._row(prompt) for prompt in prompts])

    def _row(self, prompt: str) -> TextEmbedding:
        place = self._place(prompt)
        if place is None:
            raise InputError("prompt", prompt, "a prompt that was encoded")
        count = int(self._tokens[place])
        size = count * self.width * _BYTES
        content = self._files.read(int(self._shards[place]), int(self._offsets[place]), size)
        tokens = np.frombuffer(content, np.float16).reshape(1, count, self.width)
        attend = torch.ones(1, count, dtype=torch.bool)
        return TextEmbedding(torch.from_numpy(tokens.astype(np.float32)), attend)

    def _place(self, prompt: str) -> int | None:
        key = prompt_key(prompt)
        place = int(np.searchsorted(self._keys, key))
        return place if place < len(self._keys) and self._keys[place] == key else None


def prompts_of(rows: Iterable[ClipRow]) -> Iterator[str]:
    """Every prompt that rows of one clip may get, held-out wordings too, and the empty prompt."""
    yield ""
    for row in rows:
        yield from training_prompts(row)
        yield from held_out_prompts(row)


def encode_texts(
    prompts: Iterable[str],
    encoder: Encoder,
    folder: Path,
    *,
    prompts_per_shard: int = 10_000,
    batch: int = 64,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Encode prompts once, or go on where an earlier run stopped.

    Args:
        prompts: Any order, duplicates allowed.
        encoder: Text encoder.
        folder: Where the store goes.
        prompts_per_shard: Prompts in a shard.
        batch: Prompts that are encoded at once.
        progress: Called with the number of prompts done.

    Returns:
        How many different prompts the store has.

    Raises:
        InputError: The folder holds a store of other prompts.
        OutputError: The folder cannot be written.
    """
    make_folder(folder)
    unique = sorted({" ".join(p.split()) for p in prompts}, key=lambda p: (len(p), p))
    size, tell = prompts_per_shard, progress or (lambda _: None)
    chunks = [unique[i : i + size] for i in range(0, len(unique), size)]  # of like length
    marks = [fingerprint(encoder.name, encoder.width, encoder.max_tokens, c) for c in chunks]
    refuse_other(folder, KIND, marks)
    for number, chunk in enumerate(chunks):
        if not finished(folder, number, marks[number]):
            encoded = _tokens(encoder, chunk, batch=batch)
            _write_texts(folder, number, chunk, encoded, marks[number])
        tell(len(chunk))
    paths = [table_path(folder, number) for number in range(len(chunks))]
    write_joined(folder / TABLE, [read_table(path) for path in paths], facts={})
    shards = [tar_path(folder, number).name for number in range(len(chunks))]
    head = {"encoder": encoder.name, "width": encoder.width, "prompts": len(unique)}
    write_head(folder, KIND, head | {"shards": shards, "marks": marks})
    return len(unique)


def _tokens(
    encoder: Encoder, prompts: Sequence[str], *, batch: int
) -> Iterator[NDArray[np.float16]]:
    """Token vectors of each prompt without padding, (L, E)."""
    for begin in range(0, len(prompts), batch):
        embedding = encoder(prompts[begin : begin + batch])
        for tokens, attend in zip(embedding.tokens, embedding.attend, strict=True):
            values = tokens[attend].float().clamp(-_HALF_MAX, _HALF_MAX)
            yield values.half().cpu().numpy()


def _write_texts(
    folder: Path,
    number: int,
    prompts: Sequence[str],
    tokens: Iterator[NDArray[np.float16]],
    mark: str,
) -> None:
    columns: dict[str, list[Any]] = {n: [] for n in ("key", "prompt", "shard", "offset", "tokens")}
    path = table_path(folder, number)
    path.unlink(missing_ok=True)
    with new_shard(tar_path(folder, number)) as tar:
        for place, (prompt, values) in enumerate(zip(prompts, tokens, strict=True)):
            content, begin = npy(values)
            offset = tar.add(f"{number:06d}{place:06d}.npy", content) + begin
            entry = (prompt_key(prompt), prompt, number, offset, len(values))
            for column, value in zip(columns.values(), entry, strict=True):
                column.append(value)
    write_columns(path, columns, facts={"mark": mark})


class EncodedPrompts:
    """A text encoder that looks prompts up first and encodes what is not there.

    Args:
        store: What was encoded before; None encodes everything.
        encoder: For the rest, such as prompts of scenes that are put together in training; one that
            remembers prompts (`ezaudio.text.CachedTextEncoder`) is worth it.
    """

    def __init__(self, store: TextStore | None, encoder: Encoder) -> None:
        self.store, self.encoder = store, encoder
        if store is not None and (store.name, store.width) != (encoder.name, encoder.width):
            raise InputError("texts", store.name, f"a store that {encoder.name} made")

    def __call__(self, prompts: Sequence[str]) -> TextEmbedding:
        """Embeddings: tokens float32 (B, L, E), attend (B, L), on the CPU."""
        known = [self.store is not None and prompt in self.store for prompt in prompts]
        rest = [prompt for prompt, there in zip(prompts, known, strict=True) if not there]
        encoded = self.encoder(rest).to("cpu", torch.float32) if rest else None
        parts, place = [], 0
        for prompt, there in zip(prompts, known, strict=True):
            if there and self.store is not None:
                parts.append(self.store([prompt]))
            elif encoded is not None:
                parts.append(_without_padding(encoded.select([place])))
                place += 1
        return TextEmbedding.cat(parts)


def _without_padding(row: TextEmbedding) -> TextEmbedding:
    length = max(1, int(row.attend.sum()))
    return TextEmbedding(row.tokens[:, :length], row.attend[:, :length])
