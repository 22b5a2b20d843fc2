"""How well a sound fits its caption: the cosine between both in a common space (CLAP score).

Source: arXiv 2211.06687. The mean over clips is the score; it is not scaled by 100.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ezaudio.errors import InputError

FloatArray = npt.NDArray[np.floating]


def cosine_scores(audio: FloatArray, text: FloatArray) -> npt.NDArray[np.float64]:
    """Cosine per pair of (N, E) embeddings: (N,), between -1 and 1.

    Raises:
        InputError: the shapes differ, an embedding is zero, or values are not finite.
    """
    if audio.shape != text.shape or audio.ndim != 2 or not audio.size:
        raise InputError("embeddings", (audio.shape, text.shape), "two equal (N, E), N > 0")
    a, b = _unit("audio", audio), _unit("text", text)
    cosines: npt.NDArray[np.float64] = (a * b).sum(1)
    return cosines


def _unit(field: str, vectors: FloatArray) -> npt.NDArray[np.float64]:
    length = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not np.isfinite(length).all() or (length == 0).any():
        raise InputError(
            field, "a zero or infinite embedding", "finite embeddings with a direction"
        )
    unit: npt.NDArray[np.float64] = vectors / length
    return unit
