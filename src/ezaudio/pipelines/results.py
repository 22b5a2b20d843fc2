"""What comes out: sounds, what made them, and how they are saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ezaudio.audio import format_of, peak_guard, spectrogram_png, write_audio
from ezaudio.pipelines.outputs import picture_of, plan_files
from ezaudio.types import Clip

CEILING = 0.99
"""Largest magnitude of a sound that is made here."""

LOSSY_CEILING = 0.9
"""Largest magnitude that is handed to OGG and MP3, whose decoders overshoot."""

_EXACT = {"wav": ("pcm16", "pcm24", "float32"), "flac": ("pcm16", "pcm24")}


@dataclass(frozen=True)
class Sound:
    """One sound and what made it.

    Attributes:
        clip: the samples.
        metadata: prompt, seed, settings, model and hashes; kept in the file.
        subtype: sample type of a WAV or FLAC file; FLAC takes `pcm24` for `float32`.
    """

    clip: Clip
    metadata: Mapping[str, Any]
    subtype: str = "pcm16"

    def save(
        self, path: str | Path, *, format: str | None = None, spectrogram: bool = False
    ) -> Path:
        """Write the sound, and a picture beside it where asked for.

        Raises:
            InputError: unknown format.
            OutputError: the file cannot be written.
        """
        path = Path(path)
        name = format_of(path, format)
        samples, subtype = self.clip.samples, None
        if name in _EXACT:
            subtype = self.subtype if self.subtype in _EXACT[name] else _EXACT[name][-1]
        else:
            samples = peak_guard(samples, LOSSY_CEILING)
        write_audio(
            path,
            samples,
            self.clip.sample_rate,
            format=name,
            metadata=self.metadata,
            subtype=subtype,
        )
        if spectrogram:
            spectrogram_png(picture_of(path), self.clip, title=str(self.metadata.get("prompt", "")))
        return path


@dataclass(frozen=True)
class Sounds(Sequence[Sound]):
    """Sounds in the order in which they were asked for; takes of one prompt are neighbours.

    Attributes:
        items: the sounds.
    """

    items: tuple[Sound, ...]

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self.items[0].clip.sample_rate

    @property
    def audios(self) -> Tensor:
        """All samples, float32 `(N, 1, S)`; shorter sounds end in zeros."""
        longest = max(len(item.clip.samples) for item in self.items)
        rows = [np.pad(i.clip.samples, (0, longest - len(i.clip.samples))) for i in self.items]
        return torch.from_numpy(np.stack(rows))[:, None]

    def save(
        self, path: str | Path, *, format: str | None = None, spectrogram: bool = False
    ) -> list[Path]:
        """Write all sounds.

        Args:
            path: with an ending such as `.wav` a file (several sounds: `name-1.wav`, ...), which is
                replaced when it exists; else a folder, where names come from the prompts and
                nothing that exists is replaced.
            format: `wav`, `flac`, `ogg` or `mp3`; None takes the ending, or WAV.
            spectrogram: draw each sound beside its file.

        Returns:
            The files, in the order of the sounds.

        Raises:
            InputError: unknown format.
            OutputError: a file cannot be written.
        """
        prompts = [str(item.metadata.get("prompt", "")) for item in self.items]
        files = plan_files(path, prompts, format=format, pictures=spectrogram)
        with files.prepared():
            return [
                item.save(file, spectrogram=spectrogram)
                for item, file in zip(self.items, files.paths, strict=True)
            ]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Sound]:
        return iter(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]


def exact_subtype(samples: npt.NDArray[np.float32]) -> str:
    """Name the smallest sample type that holds these samples bit for bit."""
    for name, bits in (("pcm16", 16), ("pcm24", 24)):
        scaled = samples.astype(np.float64) * 2 ** (bits - 1)
        fits = (scaled >= -(2 ** (bits - 1))) & (scaled < 2 ** (bits - 1))
        if bool((fits & (scaled == np.rint(scaled))).all()):
            return name
    return "float32"
