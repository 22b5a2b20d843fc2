"""CLAP: sounds and sentences in one space, where what belongs together lies together.

The networks are those of transformers. The spectrogram is computed here, on the device and for the
whole batch at once: the published front end works clip by clip in NumPy on the CPU. A sound shorter
than the window of 10 s is repeated as often as it fits and padded with zeros, as in training.
Source: Wu et al. 2023, arXiv:2211.06687; weights `laion/larger_clap_general` (Apache-2.0).

Deviation: of a sound longer than the window the published front end takes a random piece, so that
    two readings differ; here the vectors of up to six windows, spread evenly, are averaged.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from ezaudio.audio import resample
from ezaudio.audio_features import mel_filterbank
from ezaudio.config import Config
from ezaudio.errors import CheckpointError, InputError
from ezaudio.files import sha256_file
from ezaudio.hub import fetch
from ezaudio.types import Clip

REVISIONS: dict[str, str] = {
    "laion/larger_clap_general": "ada0c23a36c4e8582805bb38fec3905903f18b41",
    "laion/clap-htsat-unfused": "8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a",
}
"""Models that can be fetched, each at one commit."""

_SMALL_FILES = (
    "config.json",
    "preprocessor_config.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_POWER_FLOOR = 1e-10
_MOST_WINDOWS = 6


class ClapConfig(Config):
    """A published CLAP model.

    Attributes:
        name: fetched from the hub when it is not in its cache; the default has heard general
            sounds, music and speech.
        path: folder with the published files; the hub is then never asked.
    """

    kind: Literal["clap"] = "clap"
    name: str = "laion/larger_clap_general"
    path: str | None = None

    def build(self) -> Clap:
        """Load the model.

        Raises:
            CheckpointError: a file is missing or damaged, or it is a model with feature fusion.
            DownloadError: the model is neither in the cache nor can it be fetched.
            InputError: the name is not a model that can be fetched.
        """
        return load_clap(self.name, path=None if self.path is None else Path(self.path))


def load_clap(name: str = "laion/larger_clap_general", *, path: Path | None = None) -> Clap:
    """Load a published model; errors as `ClapConfig.build`."""
    return Clap(fetch_clap(name) if path is None else path)


def fetch_clap(name: str) -> Path:
    """Give the folder of a published model, fetching what is not there."""
    if name not in REVISIONS:
        raise InputError("clap", name, f"one of {', '.join(REVISIONS)}, or a path to its files")
    instead = "set the path of CLAP to a folder with its files"
    for filename in (*_SMALL_FILES, _WEIGHTS[1]):
        place = fetch(name, filename, REVISIONS[name], instead=instead)
    return place.parent


@dataclass(frozen=True)
class FrontEnd:
    """What `preprocessor_config.json` says about the spectrogram.

    Attributes:
        sample_rate: in Hz.
        n_fft, hop: window and step in samples.
        mels: bands.
        f_min, f_max: edges of the bands in Hz.
        window_samples: of one hearing.
        padding: of shorter sounds: `repeatpad`, `repeat` or `pad`.
    """

    sample_rate: int
    n_fft: int
    hop: int
    mels: int
    f_min: float
    f_max: float
    window_samples: int
    padding: str

    @staticmethod
    def read(folder: Path) -> FrontEnd:
        """Read the file.

        Raises:
            CheckpointError: it is missing or damaged, or the model has feature fusion.
        """
        path = folder / "preprocessor_config.json"
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            rate = int(values.get("sampling_rate", 48_000))
            fusion = values.get("truncation", "fusion") == "fusion"
            end = FrontEnd(
                rate,
                int(values.get("fft_window_size", 1024)),
                int(values.get("hop_length", 480)),
                int(values.get("feature_size", 64)),
                float(values.get("frequency_min", 0)),
                float(values.get("frequency_max", 14_000)),
                round(float(values.get("max_length_s", 10)) * rate),
                str(values.get("padding", "repeatpad")),
            )
        except (OSError, ValueError, TypeError, AttributeError):
            raise CheckpointError(f"{path}: missing, or damaged") from None
        if fusion:
            raise CheckpointError(
                f"{folder}: a model with feature fusion; one without is needed "
                f"({', '.join(REVISIONS)})"
            )
        return end


class LogMel(nn.Module):
    """Log-mel power spectrogram in dB: (N, S) -> (N, 1, T', mels)."""

    window: Tensor
    bank: Tensor

    def __init__(self, end: FrontEnd) -> None:
        super().__init__()
        self.n_fft, self.hop = end.n_fft, end.hop
        bank = mel_filterbank(end.sample_rate, end.n_fft, end.mels, end.f_min, end.f_max)
        self.register_buffer("window", torch.hann_window(end.n_fft), persistent=False)
        self.register_buffer("bank", torch.tensor(bank.T), persistent=False)  # (F, mels)

    def forward(self, wave: Tensor) -> Tensor:
        """(N, S) -> (N, 1, T', mels), always in float32: dB do not fit into halves."""
        spectrum = torch.stft(
            wave.float(), self.n_fft, self.hop, window=self.window, return_complex=True
        )
        power = rearrange(spectrum.real.square() + spectrum.imag.square(), "n f t -> n 1 t f")
        return 10 * (power @ self.bank).clamp_min(_POWER_FLOOR).log10()


class Clap:
    """A CLAP model that listens and reads.

    Args:
        folder: holds `config.json`, `preprocessor_config.json`, the tokenizer's files and the
            weights as safetensors or a pickle of tensors, which is read without running code.

    Attributes:
        sample_rate: that sounds are resampled to, in Hz.
        sha256: of the weights.
        width: J of the common space.

    Raises:
        CheckpointError: a file is missing or damaged, or it is a model with feature fusion.
    """

    def __init__(self, folder: Path) -> None:
        self._end = FrontEnd.read(folder)
        self.sample_rate = self._end.sample_rate
        self.sha256 = sha256_file(_weights_of(folder))
        self._network, self._tokenizer = _load(folder)
        self.width = int(self._network.config.projection_dim)
        self._log_mel = LogMel(self._end)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Clap:
        """Move the model, and give it back; the spectrogram stays in float32."""
        nn.Module.to(self._network, device=device, dtype=dtype)
        self._log_mel.to(device=device)
        return self

    @torch.inference_mode()
    def embed_audio(self, clips: Sequence[Clip], *, batch_size: int = 32) -> Tensor:
        """Listen.

        Args:
            clips: mono; they are resampled where their rate is another.
            batch_size: windows that are heard at once.

        Returns:
            (N, J) float32, unit length, on the model's device; zeros for a clip without samples.
        """
        pieces = [self._windows(clip) for clip in clips]
        owners = [index for index, own in enumerate(pieces) for _ in own]
        flat = [window for own in pieces for window in own]
        device = self._log_mel.bank.device
        total = torch.zeros(len(clips), self.width, device=device)
        for begin in range(0, len(flat), batch_size):
            waves = torch.from_numpy(np.stack(flat[begin : begin + batch_size])).to(device)
            mel = self._log_mel(waves).to(self._network.dtype)
            longer = torch.zeros(len(mel), 1, dtype=torch.bool, device=device)
            heard = self._network.get_audio_features(input_features=mel, is_longer=longer)
            vectors = F.normalize(_vectors(heard).float(), dim=1)
            rows = torch.tensor(owners[begin : begin + batch_size], device=device)
            total.index_add_(0, rows, vectors)
        return F.normalize(total, dim=1)

    @torch.inference_mode()
    def embed_text(self, sentences: Sequence[str], *, batch_size: int = 64) -> Tensor:
        """Read.

        Returns:
            (N, J) float32, unit length, on the model's device.
        """
        device = self._log_mel.bank.device
        rows = [torch.zeros(0, self.width, device=device)]
        for begin in range(0, len(sentences), batch_size):
            tokens = self._tokenizer(
                list(sentences[begin : begin + batch_size]),
                padding=True,
                truncation=True,
                max_length=512,
                return_tensors="pt",
            ).to(device)
            read = self._network.get_text_features(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            )
            rows.append(F.normalize(_vectors(read).float(), dim=1))
        return torch.cat(rows)

    def _windows(self, clip: Clip) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
        """Cut a clip into windows of equal length, one for a short clip."""
        samples = resample(clip.samples, clip.sample_rate, self.sample_rate)
        size = self._end.window_samples
        if len(samples) == 0:
            return []
        if len(samples) <= size:
            return [_filled(samples, size, self._end.padding)]
        count = min(_MOST_WINDOWS, -(-len(samples) // size))
        starts = np.linspace(0, len(samples) - size, count).round().astype(int)
        return [samples[start : start + size] for start in starts]


def _filled(
    samples: np.ndarray[Any, np.dtype[np.float32]], size: int, padding: str
) -> np.ndarray[Any, np.dtype[np.float32]]:
    times = {"repeatpad": size // len(samples), "repeat": -(-size // len(samples))}.get(padding, 1)
    whole = repeat(samples, "s -> (n s)", n=times)[:size]
    return np.pad(whole, (0, size - len(whole))).astype(np.float32)


def _vectors(found: Any) -> Tensor:
    """Newer transformers wrap the vectors."""
    vectors: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return vectors


def _weights_of(folder: Path) -> Path:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"{folder}: holds no {' and no '.join(_WEIGHTS)}")


def _load(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoTokenizer, ClapModel
    from transformers.utils import logging

    showing = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        network = ClapModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    except Exception as error:  # its readers raise whatever their formats do
        first = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder}: not a CLAP model, or damaged ({first})") from None
    finally:
        if showing:
            logging.enable_progress_bar()
    return network.eval().requires_grad_(False), tokenizer
