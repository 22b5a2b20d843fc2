"""Where the sound of a clip comes from: a file, a clip in memory, or another sound that is changed.

A changed sound is made when somebody listens. Its content is known before that, from the content of
its source and the name of the change; so what was heard of it once is found without making it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ezaudio.audio import read_audio
from ezaudio.types import Clip

_HASH_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Changed:
    """A sound that is made of another.

    Attributes:
        source: the other.
        change: name of the change, with everything that decides it.
        make: the change.
    """

    source: Source
    change: str
    make: Callable[[Clip], Clip]


Source: TypeAlias = "Path | Clip | Changed"


def open_source(source: Source) -> Clip:
    """Read or make a sound, its channels mixed.

    Raises:
        AudioFileError: the file cannot be read.
    """
    if isinstance(source, Changed):
        return source.make(open_source(source.source))
    return source if isinstance(source, Clip) else read_audio(source)


def content_hash(source: Source, known: dict[Path, str] | None = None) -> str:
    """Hash of a file's bytes, of a clip's samples and rate, or of a change and what it is made of.

    Args:
        source: the sound.
        known: hashes of files that do not change meanwhile; grows.
    """
    if isinstance(source, Changed):
        text = f"{source.change}:{content_hash(source.source, known)}"
        return hashlib.sha256(text.encode()).hexdigest()
    digest = hashlib.sha256()
    if isinstance(source, Clip):
        digest.update(str((source.sample_rate, source.samples.shape)).encode())
        digest.update(np.ascontiguousarray(source.samples, dtype=np.float32).tobytes())
        return digest.hexdigest()
    if known is not None and source in known:
        return known[source]
    with source.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    if known is not None:
        known[source] = digest.hexdigest()
    return digest.hexdigest()
