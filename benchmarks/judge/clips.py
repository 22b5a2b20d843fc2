"""Clips to be judged: generated through the package, read from a folder, or degraded recordings."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from ezaudio.audio import read_audio, resample
from ezaudio.checkpoints import load_module
from ezaudio.config import load_config
from ezaudio.vae import SpectralConfig
from judge.events import WORDINGS, Pair
from judge.features import SAMPLE_RATE
from judge.kinds import Kind

Sound = NDArray[np.float32]


@dataclass(frozen=True)
class Asked:
    """What is asked of the model for each prompt.

    Attributes:
        takes: how many clips.
        duration_s: length of each.
        seed: of the first.
        settings: further arguments of `EzAudio.generate`.
    """

    takes: int = 4
    duration_s: float = 4.0
    seed: int = 0
    settings: dict[str, object] = field(default_factory=dict)


def generated(
    model: str, kinds: Sequence[Kind], asked: Asked, wording: str = "{}"
) -> Iterator[tuple[Kind, Tensor]]:
    """Takes (N, S) at 24 kHz of each kind's prompt, put into a wording."""
    prompts = [wording.format(kind.prompt) for kind in kinds]
    yield from zip(kinds, _takes(model, prompts, asked), strict=True)


def generated_pairs(
    model: str, pairs: Sequence[Pair], asked: Asked, wordings: Sequence[str] = WORDINGS
) -> Iterator[tuple[Pair, Tensor]]:
    """Takes (N, S) at 24 kHz of each pair's prompt; the wordings take turns."""
    prompts = [pair.prompt(turn, wordings) for turn, pair in enumerate(pairs)]
    yield from zip(pairs, _takes(model, prompts, asked), strict=True)


def _takes(model: str, prompts: Sequence[str], asked: Asked) -> Iterator[Tensor]:
    """Takes (N, S) at 24 kHz of each prompt, through the package's public interface."""
    from ezaudio import EzAudio

    ezaudio = EzAudio.from_pretrained(model)
    for prompt in prompts:
        result = ezaudio.generate(
            [prompt],
            duration_s=asked.duration_s,
            seed=asked.seed,
            num=asked.takes,
            **asked.settings,
        )
        audios = torch.as_tensor(result.audios).float().cpu()  # (N, 1, S)
        waves = [
            torch.from_numpy(resample(audio[0].numpy(), result.sample_rate, SAMPLE_RATE))
            for audio in audios
        ]
        yield torch.stack(waves)


def from_folder(folder: Path, kinds: Sequence[Kind]) -> Iterator[tuple[Kind, Tensor]]:
    """Takes (N, S) at 24 kHz from files `<label-slug>_<k>.<suffix>`; shorter ones are padded.

    Raises:
        FileNotFoundError: no file belongs to any kind.
    """
    found = False
    for kind in kinds:
        files = sorted(folder.glob(f"{kind.slug}_*.*"))
        if not files:
            continue
        found = True
        waves = [torch.from_numpy(read_audio(file, SAMPLE_RATE).samples) for file in files]
        yield kind, torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    if not found:
        raise FileNotFoundError(f"{folder}: no file named like {kinds[0].slug}_0.wav")


def through_opus(sound: Sound, kbps: float) -> tuple[Sound, float]:
    """A sound after Ogg Opus, and its bitrate in kbit/s.

    libsndfile takes a compression level of 0 to 1 for a mono bitrate of 256 to 6 kbit/s.

    Args:
        sound: float32 (S,) at 24 kHz.
        kbps: wanted bitrate.

    Returns:
        The sound (S,) and the size of the file's audio over its duration.
    """
    level = min(1.0, max(0.0, (256.0 - kbps) / 250.0))
    buffer = io.BytesIO()
    soundfile.write(
        buffer, sound, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=level
    )
    size = buffer.tell()
    buffer.seek(0)
    decoded, rate = soundfile.read(buffer, dtype="float32")
    if rate != SAMPLE_RATE:
        decoded = resample(decoded, rate, SAMPLE_RATE)
    padded = np.zeros_like(sound)
    padded[: min(len(sound), len(decoded))] = decoded[: len(sound)]
    return padded, size * 8 / 1000 / (len(sound) / SAMPLE_RATE)


def opus_way(kbps: float, rates: list[float]) -> Callable[[Sound], Sound]:
    """`through_opus` at one bitrate; what each sound really took is added to `rates`."""

    def way(sound: Sound) -> Sound:
        decoded, rate = through_opus(sound, kbps)
        rates.append(rate)
        return decoded

    return way


class Reconstruction:
    """Sounds through a spectral autoencoder and back.

    Args:
        path: the autoencoder's file.
    """

    def __init__(self, path: Path) -> None:
        loaded = load_module(path, kind="vae")
        self.vae = load_config(SpectralConfig, loaded.config).build().eval()
        self.vae.load_state_dict(loaded.tensors)

    @torch.inference_mode()
    def __call__(self, sound: Sound) -> Sound:
        """A sound (S,) decoded from the mean of its posterior: (S,)."""
        latent = self.vae.encode(torch.from_numpy(sound)[None, None]).mean
        decoded: Sound = self.vae.decode(latent)[0, 0, : len(sound)].numpy()
        return decoded
