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

from ezaudio.audio import encode_audio, write_audio
from ezaudio.audio_levels import peak_guard
from ezaudio.formats import format_of
from ezaudio.pipelines.notebook import player
from ezaudio.pipelines.outputs import picture_of, plan_files
from ezaudio.spectrogram import spectrogram_png
from ezaudio.types import Clip

CEILING = 0.99
"""Largest magnitude of a sound that is made here."""

LOSSY_CEILING = 0.9
"""Largest magnitude that is handed to OGG and MP3, whose decoders overshoot."""

_EXACT = {"wav": ("pcm16", "pcm24", "float32"), "flac": ("pcm16", "pcm24")}


@dataclass(frozen=True, repr=False)
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

    @property
    def prompt(self) -> str:
        """What was asked for; empty for a sound that was not made from a prompt."""
        return str(self.metadata.get("prompt", ""))

    def save(
        self,
        path: str | Path,
        *,
        format: str | None = None,
        spectrogram: bool = False,
        replace: bool = True,
    ) -> Path:
        """Write the sound, and a picture beside it where asked for.

        Args:
            path: of the file.
            format: `wav`, `flac`, `ogg` or `mp3`; None takes the ending.
            spectrogram: draw the sound beside its file.
            replace: whether a file that is there gives way.

        Raises:
            InputError: unknown format.
            NameTaken: there is such a file, and it is not to be replaced.
            OutputError: the file cannot be written.
        """
        path = Path(path)
        name = format_of(path, format)
        samples, subtype = self._samples_for(name)
        write_audio(
            path,
            samples,
            self.clip.sample_rate,
            format=name,
            metadata=self.metadata,
            subtype=subtype,
            replace=replace,
        )
        if spectrogram:
            spectrogram_png(picture_of(path), self.clip, title=self.prompt)
        return path

    def encode(self, format: str = "wav") -> bytes:
        """Make the bytes of a sound file.

        Raises:
            InputError: unknown format.
        """
        name = format_of("", format)
        samples, subtype = self._samples_for(name)
        return encode_audio(
            samples, self.clip.sample_rate, format=name, metadata=self.metadata, subtype=subtype
        )

    def _samples_for(self, format: str) -> tuple[npt.NDArray[np.float32], str | None]:
        """The samples that a format gets, and their type."""
        if format not in _EXACT:
            return peak_guard(self.clip.samples, LOSSY_CEILING), None
        types = _EXACT[format]
        return self.clip.samples, self.subtype if self.subtype in types else types[-1]

    def __repr__(self) -> str:
        seed = self.metadata.get("seed")
        known = "" if seed is None else f", seed {seed}"
        length, rate = self.clip.duration_s, self.clip.sample_rate
        return f"Sound({self.prompt!r}, {length:.2f} s, {rate} Hz{known})"

    def _repr_html_(self) -> str:
        """What a notebook shows: a player, and the spectrogram where matplotlib is installed."""
        return player(self)


@dataclass(frozen=True, repr=False)
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
        """All samples, float32 `(N, channels, S)`; shorter sounds end in zeros."""
        all_samples = [np.atleast_2d(item.clip.samples) for item in self.items]
        channels = max(len(samples) for samples in all_samples)
        longest = max(samples.shape[1] for samples in all_samples)
        rows = [
            np.broadcast_to(np.pad(x, [(0, 0), (0, longest - x.shape[1])]), (channels, longest))
            for x in all_samples
        ]
        return torch.from_numpy(np.stack(rows))

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
        prompts = [item.prompt for item in self.items]
        files = plan_files(path, prompts, format=format, pictures=spectrogram)
        with files.prepared():
            return [
                files.save(index, item, spectrogram=spectrogram)
                for index, item in enumerate(self.items)
            ]

    def __repr__(self) -> str:
        return f"Sounds([{', '.join(map(repr, self.items))}])"

    def _repr_html_(self) -> str:
        """What a notebook shows: a player for each sound."""
        return "".join(map(player, self.items))

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
