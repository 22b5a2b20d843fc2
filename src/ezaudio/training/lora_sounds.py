"""A user's own sounds: found, captioned, encoded once by the model's autoencoder, kept in memory.

A caption comes from a list (`captions.csv`, with the columns `file` and `caption`), from a text
file beside the sound (`growl.txt` for `growl.wav`, a caption a line), or from the name of the file:
`Door_Slam-03.wav` is "door slam". A name without words takes those of its folder.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ezaudio.data.clips import ClipRow
from ezaudio.data.collections import ListOptions, read_excluded, read_list, root_of
from ezaudio.data.keys import permutation_at
from ezaudio.data.levels import trim_and_level
from ezaudio.data.pack import parts_in, span_in
from ezaudio.data.sounds import SoundFiles
from ezaudio.errors import AudioFileError, InputError
from ezaudio.vae.chunked import encode_chunked

if TYPE_CHECKING:
    from ezaudio.vae import Autoencoder

LIST_NAME = "captions.csv"
LEAST_S = 0.1
_LEAST_PEAK = 1e-3
_SILENCE_S = 3.0
_SPLIT_KEY = 29


def find_sounds(
    source: Path, *, valid_share: float = 0.0, exclude: Sequence[Path] = ()
) -> tuple[Path, list[ClipRow], list[str]]:
    """List the sounds of a folder, or of a list of clips.

    Args:
        source: a folder, with `captions.csv` in it or not, or any list that `ezaudio data` reads.
        valid_share: share of the sounds that is held out, where the list does not say which.
        exclude: lists of clips that are kept out.

    Returns:
        The folder that the rows' files are relative to, the rows, and what the list says that is no
        sound: a line each.

    Raises:
        InputError: no such folder or list, or there is no sound in it.
    """
    if not source.exists():
        raise InputError("sounds", str(source), "a folder of sounds, or a list of them")
    listed = source / LIST_NAME if (source / LIST_NAME).is_file() else source
    try:
        found = read_list(listed)
    except InputError as error:
        field = "sounds" if error.field == "manifest" else error.field
        raise InputError(field, error.got, error.allowed) from None
    root = root_of(listed, ListOptions())
    rows = read_excluded(exclude).keep(found.rows, root)
    if not rows:
        raise InputError("exclude", len(found.rows), "a list that leaves sounds over")
    folder = listed.resolve().name if listed.is_dir() else ""
    named = [_captioned(row, folder, of_list=not listed.is_dir()) for row in rows]
    skipped = [f"{line.where}: {line.reason}; {line.text}" for line in found.skipped]
    return root, _split(named, valid_share), skipped


def caption_of(file: Path, folder: str = "") -> str:
    """What a file's name says: its words, without numbers, in lower case.

    Args:
        file: relative to the folder of all sounds.
        folder: name of that folder, for files whose own name and folder hold no word.
    """
    for name in (file.stem, file.parent.name, folder):
        # number__user__title, as a sound library names files
        stem = re.sub(r"^\d+__.+?__", "", unicodedata.normalize("NFC", name))
        stem = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem)
        parts = "".join(map(_letter_or_space, stem)).split()
        words = [word for part in parts if (word := part.strip("'"))]
        words = [word if len(word) > 1 and word.isupper() else word.lower() for word in words]
        if any(len(word) > 1 or not word.isascii() for word in words):
            return " ".join(words)
    return "sound"


def _letter_or_space(letter: str) -> str:
    """A letter of any script with the marks that belong to it; a space for anything else."""
    return letter if unicodedata.category(letter)[0] in "LM" or letter == "'" else " "


def _captioned(row: ClipRow, folder: str, *, of_list: bool) -> ClipRow:
    """A row with a caption; in a folder, a name stands before the label of a subfolder."""
    if row.caption and (of_list or row.caption != row.label):
        return row
    if of_list and row.label:
        return row.model_copy(update={"caption": row.label})
    name = caption_of(Path(row.file), folder)
    return row.model_copy(update={"caption": name, "label": name})


def _split(rows: Sequence[ClipRow], valid_share: float) -> list[ClipRow]:
    if any(row.split != "train" for row in rows):
        return list(rows)
    held = set(permutation_at(len(rows), _SPLIT_KEY)[: int(valid_share * len(rows))].tolist())
    return [
        row.model_copy(update={"split": "valid"}) if index in held else row
        for index, row in enumerate(rows)
    ]


@dataclass(frozen=True)
class Encoded:
    """A sound's posterior in normalised units.

    Attributes:
        mean: `(T, C)`.
        std: `(T, C)`.
    """

    mean: Tensor
    std: Tensor

    def sample(
        self, generator: torch.Generator, start: int = 0, frames: int | None = None
    ) -> Tensor:
        """Draw a part, `(T, C)`."""
        part = slice(start, None if frames is None else start + frames)
        mean, std = self.mean[part], self.std[part]
        return mean + std * torch.randn(mean.shape, generator=generator)


class SoundStore:
    """Encoded sounds, as batches want them.

    Args:
        rows: what is heard in each.
        encoded: the sounds.
        quiet: encoded silence.
        frame_rate: latent frames per second.
    """

    def __init__(
        self,
        rows: Sequence[ClipRow],
        encoded: Sequence[Encoded],
        quiet: Encoded,
        *,
        frame_rate: float,
    ) -> None:
        self.rows, self.encoded, self.quiet = list(rows), list(encoded), quiet
        self.frame_rate = frame_rate

    def takes(self, split: str, *, mixed: bool = False) -> Mapping[str, Sequence[int]]:
        """Sounds (numbers) of each label of a split."""
        found: dict[str, list[int]] = {}
        for index, row in enumerate(self.rows):
            if row.split == split and not mixed:
                found.setdefault(row.label, []).append(index)
        return found

    def frames(self, index: int) -> int:
        """Length of a sound, T."""
        return len(self.encoded[index].mean)

    def sample(
        self, index: int, generator: torch.Generator, start: int = 0, frames: int | None = None
    ) -> Tensor:
        """Draw a part of a sound from its posterior: `(T, C)`."""
        return self.encoded[index].sample(generator, start, frames)

    def silence(self, frames: int, generator: torch.Generator) -> Tensor:
        """Draw silence: `(T, C)`."""
        spare = len(self.quiet.mean) - frames
        if spare < 0:
            parts = [self.quiet.sample(generator)]
            return torch.cat([*parts, self.silence(-spare, generator)])
        return self.quiet.sample(generator, spare // 2, frames)

    @property
    def seconds(self) -> float:
        """Length of all sounds together."""
        return sum(len(sound.mean) for sound in self.encoded) / self.frame_rate


def encode_sounds(
    root: Path,
    rows: Sequence[ClipRow],
    vae: Autoencoder,
    *,
    callback: Callable[[int, int], None] | None = None,
) -> tuple[SoundStore, list[str]]:
    """Read and encode every sound once; those that cannot be used are left out.

    Silence at both ends is cut, and the peak brought to one level, as in the training of the model.

    Args:
        root: folder of the files.
        rows: what is heard in them.
        vae: the model's autoencoder.
        callback: told how many of how many are done.

    Returns:
        The sounds, and why others were left out: a line each.

    Raises:
        InputError: no sound can be used.
    """
    files = SoundFiles(root)
    kept: list[ClipRow] = []
    encoded: list[Encoded] = []
    skipped: list[str] = []
    parts = parts_in(rows)
    for number, row in enumerate(rows, start=1):
        try:
            samples = _usable(files, row, vae.sample_rate, several=row.file in parts)
        except AudioFileError as error:
            skipped.append(str(error))
        else:
            encoded.append(_encoded(vae, samples))
            seconds = len(samples) / vae.sample_rate
            kept.append(row.model_copy(update={"duration": seconds}))
        if callback is not None:
            callback(number, len(rows))
    if not any(row.split == "train" for row in kept):
        why = f"; {skipped[0]}" if skipped else ""
        raise InputError("sounds", str(root), f"a sound to learn from that can be used{why}")
    quiet = _encoded(vae, np.zeros(round(_SILENCE_S * vae.sample_rate), np.float32))
    rate = vae.sample_rate / vae.hop_samples
    return SoundStore(kept, encoded, quiet, frame_rate=rate), skipped


def _usable(
    files: SoundFiles, row: ClipRow, sample_rate: int, *, several: bool
) -> NDArray[np.float32]:
    clip, file = files.read(row.file, sample_rate), row.file
    begin, stop = (round(s * sample_rate) for s in span_in(row, clip.duration_s, several=several))
    samples = clip.samples[begin:stop]
    if float(np.abs(samples).max(initial=0.0)) < _LEAST_PEAK:
        raise AudioFileError(f"{file}: is silent")
    samples = trim_and_level(samples, sample_rate)
    if len(samples) < LEAST_S * sample_rate:
        raise AudioFileError(f"{file}: is shorter than {LEAST_S:g} s")
    return samples


def _encoded(vae: Autoencoder, samples: NDArray[np.float32]) -> Encoded:
    posterior = encode_chunked(vae, torch.from_numpy(np.ascontiguousarray(samples))[None, None])
    return Encoded(posterior.mean[0].T.float().cpu(), posterior.std[0].T.float().cpu())
