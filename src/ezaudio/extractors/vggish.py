"""VGGish: the network of the Fréchet audio distance.

16 kHz; magnitude spectra of 25 ms every 10 ms, 64 HTK mels of 125 to 7500 Hz, log(x + 0.01), cut
into examples of 96 frames (0.96 s) without overlap; four stages of convolutions, three linear
layers, 128 features per example. Source: Hershey et al., arXiv 1609.09430; the features before
whitening and quantisation, as FAD takes them (arXiv 1812.08466).

Deviation: a sound shorter than one example, which has none in the original, is padded with zeros.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ezaudio.checkpoints import load_foreign
from ezaudio.config import Config
from ezaudio.errors import CheckpointError
from ezaudio.files import sha256_file

SAMPLE_RATE = 16_000
WINDOW_SAMPLES, HOP_SAMPLES, N_FFT = 400, 160, 512
MELS, FRAMES = 64, 96
_LOW_HZ, _HIGH_HZ = 125.0, 7500.0
_OFFSET = 0.01
_SOURCE = "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth"


def htk_mel(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """HTK mel of frequencies in Hz."""
    mel: npt.NDArray[np.float64] = 1127.0 * np.log1p(np.asarray(hz, dtype=np.float64) / 700.0)
    return mel


def htk_filterbank(
    sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float
) -> npt.NDArray[np.float32]:
    """Triangles of height 1 that are straight over mel, as HTK and Kaldi have them: (M, F).

    Neither the bin at 0 Hz nor that at half the rate is read.
    """
    bins = htk_mel(np.arange(n_fft // 2 + 1) * sample_rate / n_fft)
    edges = np.linspace(htk_mel(f_min), htk_mel(f_max), n_mels + 2)
    left, centre, right = (edges[i : i + n_mels, None] for i in range(3))
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    triangles[:, [0, -1]] = 0.0
    return np.maximum(0.0, triangles).astype(np.float32)


class VggishConfig(Config):
    """Widths of VGGish; the published network has the defaults.

    Attributes:
        widths: channels of the six convolutions.
        hidden: width of the first two linear layers.
        features: width of the last.
    """

    kind: Literal["vggish"] = "vggish"
    widths: tuple[int, int, int, int, int, int] = (64, 128, 256, 256, 512, 512)
    hidden: int = 4096
    features: int = 128

    def build(self) -> Vggish:
        """Build the network with random weights, ready to listen."""
        return Vggish(self).eval()

    def load(self, path: str | Path) -> Vggish:
        """Build the network with published weights.

        Raises:
            CheckpointError: the file is absent (the message says where to get it), damaged, or of
                another network.
        """
        path = Path(path)
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file. The VGGish weights are at {_SOURCE}")
        network = self.build()
        state = official_vggish_state(load_foreign(path))
        expected = {name: value.shape for name, value in network.state_dict().items()}
        found = {name: value.shape for name, value in state.items()}
        if found != expected:
            odd = sorted(set(found.items()) ^ set(expected.items()))[0][0]
            raise CheckpointError(f"{path}: not VGGish, its tensor `{odd}` does not fit")
        network.load_state_dict(state)
        network.sha256 = sha256_file(path)
        return network.requires_grad_(False)


class Vggish(nn.Module):
    """The network.

    Attributes:
        sha256: of the file that its weights came from; None for random weights.
    """

    window: Tensor
    bank: Tensor

    def __init__(self, config: VggishConfig) -> None:
        super().__init__()
        self.sha256: str | None = None
        bank = htk_filterbank(SAMPLE_RATE, N_FFT, MELS, _LOW_HZ, _HIGH_HZ)
        window = torch.hann_window(WINDOW_SAMPLES)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("bank", torch.from_numpy(bank.T.copy()), persistent=False)
        pairs = zip((1, *config.widths), config.widths, strict=False)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        inputs = config.widths[-1] * (FRAMES // 16) * (MELS // 16)
        sizes = (inputs, config.hidden, config.hidden, config.features)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def examples(self, wave: Tensor) -> Tensor:
        """Log-mel examples of one sound: (S,) at 16 kHz -> (n, 96, 64)."""
        shortest = WINDOW_SAMPLES + (FRAMES - 1) * HOP_SAMPLES
        wave = F.pad(wave, (0, max(0, shortest - len(wave))))
        frames = wave.unfold(0, WINDOW_SAMPLES, HOP_SAMPLES) * self.window
        magnitude = torch.fft.rfft(frames, N_FFT).abs()
        mel: Tensor = (magnitude @ self.bank + _OFFSET).log()
        examples: Tensor = mel[: len(mel) // FRAMES * FRAMES].unflatten(0, (-1, FRAMES))
        return examples

    def forward(self, wave: Tensor) -> Tensor:
        """Features of every example of one sound: (S,) at 16 kHz -> (n, 128)."""
        x = self.examples(wave)[:, None]  # (n, 1, 96, 64)
        for index, convolution in enumerate(self.convolutions):
            x = F.relu(convolution(x))
            if index in (0, 1, 3, 5):
                x = F.max_pool2d(x, 2)
        x = x.permute(0, 2, 3, 1).flatten(1)  # time, band, channel
        for layer in self.layers:
            x = F.relu(layer(x))
        return x


def official_vggish_state(content: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the published tensors; what whitens and quantises is left out."""
    convolutions = {index: f"convolutions.{i}" for i, index in enumerate((0, 3, 6, 8, 11, 13))}
    layers = {index: f"layers.{i}" for i, index in enumerate((0, 2, 4))}
    state: dict[str, Tensor] = {}
    for name, value in content.items():
        room, _, rest = name.partition(".")
        number, _, tail = rest.partition(".")
        places = {"features": convolutions, "embeddings": layers}.get(room, {})
        if number.isdigit() and int(number) in places:
            state[f"{places[int(number)]}.{tail}"] = value
        elif room != "pproc":
            state[name] = value
    return state


def example_count(samples: int) -> int:
    """Number of examples of a sound of so many samples."""
    frames = 1 + max(0, samples - WINDOW_SAMPLES) // HOP_SAMPLES
    return max(1, math.floor(frames / FRAMES))
