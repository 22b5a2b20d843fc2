"""Latents of all clips in shards: posterior mean and standard deviation, so that training can
sample them.

A member of a shard is a NumPy array of float16, (T, 2 C): the mean of a frame, then its standard
deviation, so any stretch of frames is one piece of the file. `index.json` holds the statistics of
each channel, `silence.npy` the latent of silence, for the gaps between takes, and `vae.safetensors`
the autoencoder that made them.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ezaudio.data.normalisation import Normalisation
from ezaudio.data.shards import TABLE, TarFiles, read_head
from ezaudio.data.tables import RowTable, numbers, read_table
from ezaudio.errors import AudioFileError, CheckpointError

KIND = "latents"
SILENCE = "silence.npy"
AUTOENCODER = "vae.safetensors"
_BYTES = 2


class LatentStore:
    """Random access to normalised latents.

    Args:
        folder: As `ezaudio.training.encode` writes it.
        spread: Share of the posterior's standard deviation that draws have; 0 means its mean.
        normalisation: Of the model that is trained; what was measured here when left out.

    Attributes:
        normalisation: What draws are normalised by. Measured, it is the mean and standard deviation
            of draws over the training split: the variance of the means, and the mean variance of
            the posteriors times the square of `spread`.
        settings: How the clips were encoded, fields of `ezaudio.training.encode.EncodeConfig`.

    Raises:
        InputError: The folder is no complete store.
        CheckpointError: Its table or its silence cannot be read.
    """

    def __init__(
        self, folder: Path, *, spread: float = 1.0, normalisation: Normalisation | None = None
    ) -> None:
        head = read_head(folder, KIND)
        self.folder, self.spread = folder, spread
        self.frame_rate: float = head["frame_rate"]
        self.channels: int = head["channels"]
        self.has_std: bool = head["std"]
        self.settings: dict[str, Any] = head.get("settings", {})
        self.autoencoder_sha256: str = head["autoencoder"]
        self.normalisation = normalisation or _measured(head, spread)
        table = read_table(folder / TABLE)
        self.rows = RowTable(table)
        self._shards, self._offsets, self._frames = (
            numbers(table, name) for name in ("shard", "offset", "frames")
        )
        self._files = TarFiles(folder, head["shards"])
        try:
            self._silence = torch.from_numpy(np.load(folder / SILENCE))  # (T, 2 C)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder / SILENCE}: cannot be read ({error})") from None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shift(self) -> Tensor:
        """What is taken off each raw channel, (C,)."""
        return self.normalisation.shift

    @property
    def scale(self) -> Tensor:
        """What each raw channel is divided by, (C,)."""
        return self.normalisation.scale

    def frames(self, index: int) -> int:
        """Length of a clip, T."""
        return int(self._frames[index])

    def takes(self, split: str, *, mixed: bool = False) -> Mapping[str, Sequence[int]]:
        """Clips (numbers) of each label of a split; those mixed from several, or the others."""
        return self.rows.takes(split, mixed=mixed)  # type: ignore[return-value]

    def sample(
        self, index: int, generator: torch.Generator, start: int = 0, frames: int | None = None
    ) -> Tensor:
        """Draw a part of a clip from its posterior, normalised: (T, C).

        Raises:
            AudioFileError: The shard is missing or damaged.
        """
        count = self.frames(index) - start if frames is None else frames
        width = self.channels * (2 if self.has_std else 1)
        offset = int(self._offsets[index]) + start * width * _BYTES
        content = self._files.read(int(self._shards[index]), offset, count * width * _BYTES)
        values = torch.frombuffer(bytearray(content), dtype=torch.float16).view(count, width)
        draw = self._draw(values, generator)
        if not torch.isfinite(draw.sum()):
            raise AudioFileError(f"{self.rows[index].file}: its latent holds NaN or infinity")
        return draw

    def silence(self, frames: int, generator: torch.Generator) -> Tensor:
        """Draw silence, normalised: (T, C)."""
        middle = torch.arange(frames) % max(1, len(self._silence) - 2) + 1
        return self._draw(self._silence[middle.clamp(max=len(self._silence) - 1)], generator)

    def _draw(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Sample (T, C) from (T, 2 C), or (T, C) where only means are kept, and normalise."""
        draw = values[:, : self.channels].float()
        if self.has_std and self.spread:
            noise = torch.randn(draw.shape, generator=generator)
            draw.addcmul_(values[:, self.channels :].float(), noise, value=self.spread)
        return draw.sub_(self.shift).div_(self.scale)


def _measured(head: Mapping[str, Any], spread: float) -> Normalisation:
    """Mean and standard deviation of draws, from those of the means and of the posteriors."""
    shift, of_means = torch.tensor(head["shift"]), torch.tensor(head["scale"])
    posterior = head.get("deviation")  # none in a store of means alone
    if posterior is None:
        return Normalisation(shift, of_means)
    return Normalisation(shift, torch.hypot(of_means, spread * torch.tensor(posterior)))


def npy(values: NDArray[np.float16]) -> tuple[bytes, int]:
    """The bytes of a `.npy` file, and where in them the values begin."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(values))
    content = buffer.getvalue()
    return content, len(content) - values.nbytes
