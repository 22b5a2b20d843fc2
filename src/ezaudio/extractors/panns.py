"""PANNs Cnn14: an AudioSet tagger whose features and logits FD, KL and IS are computed from.

Log-mel spectrogram, batch norm per mel band, six blocks of two 3x3 convolutions, mean over mel,
maximum plus mean over time, ReLU(linear) to the 2048 features, linear to 527 AudioSet logits.
Source: Kong et al., arXiv 1912.10211.

Deviation: only the listening network is here, so dropout and augmentation are absent, and a sound
shorter than 32 spectrogram frames, which five halvings would leave nothing of, is padded with
zeros at its end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ezaudio.audio_features import mel_filterbank
from ezaudio.checkpoints import load_foreign
from ezaudio.config import Config
from ezaudio.errors import CheckpointError
from ezaudio.files import sha256_file

_WIDTHS = (64, 128, 256, 512, 1024, 2048)
_CLASSES = 527
_MELS = 64
_POWER_FLOOR = 1e-10
_SHORTEST_FRAMES = 2 ** (len(_WIDTHS) - 1)
_SOURCE = "https://zenodo.org/records/3987831"
_FRONT_END = ("spectrogram_extractor.", "logmel_extractor.")
_WINDOW_TENSOR = "spectrogram_extractor.stft.conv_real.weight"


@dataclass(frozen=True)
class Heard:
    """What an extractor says about a batch of sounds.

    Attributes:
        features: (B, J).
        logits: (B, K), before any squashing.
    """

    features: Tensor
    logits: Tensor


class Cnn14Config(Config):
    """Front end of a Cnn14; the network behind it is always the same.

    Attributes:
        sample_rate: in Hz.
        n_fft: window in samples.
        hop: samples between frames.
        f_min: lower edge of the mel bands in Hz.
        f_max: upper edge of the mel bands in Hz.
        filename: of the published weights.
    """

    kind: Literal["cnn14"] = "cnn14"
    sample_rate: int
    n_fft: int
    hop: int
    f_min: float
    f_max: float
    filename: str

    def build(self) -> Cnn14:
        """Build the network with random weights, ready to listen."""
        return Cnn14(self).eval()

    def load(self, path: str | Path, *, sha256: str | None = None) -> Cnn14:
        """Build the network with the published weights.

        Args:
            path: the published `.pt` file, or its tensors as safetensors.
            sha256: what the file must hash to; None accepts any file of the right structure.

        Raises:
            CheckpointError: the file is absent (the message says where to get it), damaged, of
                another network, of another sample rate, or has another hash.
        """
        path = Path(path)
        if not path.is_file():
            raise CheckpointError(
                f"{path}: no such file. The PANNs weights for {self.sample_rate} Hz are "
                f"`{self.filename}` (CC BY 4.0) at {_SOURCE}: download that file, pass its path."
            )
        found = sha256_file(path)
        if sha256 is not None and found != sha256.lower():
            raise CheckpointError(f"{path}: sha256 is {found}, expected {sha256.lower()}.")
        # The published files also hold the state of a sampler, as NumPy arrays.
        with torch.serialization.safe_globals(_numpy_globals()):
            content = load_foreign(path)
        state = _renamed(path, content.get("model", content), self)
        with torch.device("meta"):
            network = Cnn14(self)
        _require_same_shapes(path, state, network.state_dict())
        network.load_state_dict(state, assign=True)
        network.sha256 = found
        return network.eval().requires_grad_(False)


CNN14_16K = Cnn14Config(
    sample_rate=16_000, n_fft=512, hop=160, f_min=50, f_max=8000, filename="Cnn14_16k_mAP=0.438.pth"
)
"""The paper's protocol listens with this one."""

CNN14_32K = Cnn14Config(
    sample_rate=32_000, n_fft=1024, hop=320, f_min=50, f_max=14_000, filename="Cnn14_mAP=0.431.pth"
)


class LogMel(nn.Module):
    """Log-mel power spectrogram in dB: (B, S) -> (B, T', 64), T' = S // hop + 1."""

    window: Tensor
    bank: Tensor

    def __init__(self, config: Cnn14Config) -> None:
        super().__init__()
        self.n_fft, self.hop = config.n_fft, config.hop
        bank = mel_filterbank(config.sample_rate, config.n_fft, _MELS, config.f_min, config.f_max)
        with torch.device("cpu"):  # computed, not loaded: also where weights are made on meta
            self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
            self.register_buffer("bank", torch.tensor(bank.T), persistent=False)  # (F, 64)

    def forward(self, wave: Tensor) -> Tensor:
        """(B, S) -> (B, T', 64) in dB, at least -100."""
        missing = (_SHORTEST_FRAMES - 1) * self.hop - wave.shape[-1]
        wave = F.pad(wave, (0, max(0, missing)))
        spectrum = torch.stft(
            wave, self.n_fft, self.hop, window=self.window, pad_mode="reflect", return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()  # (B, F, T')
        return 10 * (power.transpose(1, 2) @ self.bank).clamp_min(_POWER_FLOOR).log10()


class ConvBlock(nn.Module):
    """Two 3x3 convolutions, each with batch norm and ReLU: (B, in, T, M) -> (B, out, T, M)."""

    def __init__(self, width: int, width_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width_out, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width_out)
        self.bn2 = nn.BatchNorm2d(width_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, T, M) -> (B, out, T, M)."""
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)))


class Cnn14(nn.Module):
    """The tagger.

    Attributes:
        config: its front end.
        sha256: of the file that its weights came from; None for random weights.
    """

    def __init__(self, config: Cnn14Config) -> None:
        super().__init__()
        self.config = config
        self.sha256: str | None = None
        self.front_end = LogMel(config)
        self.norm = nn.BatchNorm1d(_MELS)
        pairs = zip((1, *_WIDTHS), _WIDTHS, strict=False)
        self.blocks = nn.ModuleList(ConvBlock(width, out) for width, out in pairs)
        self.to_features = nn.Linear(_WIDTHS[-1], _WIDTHS[-1])
        self.to_logits = nn.Linear(_WIDTHS[-1], _CLASSES)

    def forward(self, wave: Tensor) -> Heard:
        """Listen to (B, S) at `config.sample_rate`, S > 0: features (B, 2048), logits (B, 527)."""
        bands = self.norm(rearrange(self.front_end(wave), "b t m -> b m t"))
        x = rearrange(bands, "b m t -> b 1 t m")
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index + 1 < len(self.blocks):
                x = F.avg_pool2d(x, 2)
        x = x.mean(3)  # (B, 2048, T'')
        features = F.relu(self.to_features(x.amax(2) + x.mean(2)))
        return Heard(features, self.to_logits(features))


def official_cnn14_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename published tensors to ours; the fixed spectrogram tensors are left out.

    Names that are not Cnn14's are kept as they are. Absent batch counters are made: they only
    matter to training.
    """
    renamed = {_our_name(k): v for k, v in state.items() if not k.startswith(_FRONT_END)}
    counters = {
        name.replace("running_mean", "num_batches_tracked"): torch.tensor(0)
        for name in renamed
        if name.endswith("running_mean")
    }
    return counters | renamed


def _our_name(name: str) -> str:
    block = re.match(r"conv_block(\d+)\.(.+)", name)
    if block:
        return f"blocks.{int(block[1]) - 1}.{block[2]}"
    head, dot, tail = name.partition(".")
    heads = {"bn0": "norm", "fc1": "to_features", "fc_audioset": "to_logits"}
    return heads.get(head, head) + dot + tail


def _renamed(path: Path, state: object, config: Cnn14Config) -> dict[str, Tensor]:
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path}: not a PANNs checkpoint, it holds no named tensors.")
    n_fft = state[_WINDOW_TENSOR].shape[-1] if _WINDOW_TENSOR in state else config.n_fft
    if n_fft != config.n_fft:
        raise CheckpointError(
            f"{path}: made for windows of {n_fft} samples, but {config.sample_rate} Hz needs "
            f"{config.n_fft}; `{config.filename}` is meant."
        )
    return official_cnn14_state(state)


def _require_same_shapes(
    path: Path, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    for name in sorted(state.keys() | expected.keys()):
        got = tuple(state[name].shape) if name in state else "absent"
        wanted = tuple(expected[name].shape) if name in expected else "absent"
        if got != wanted:
            raise CheckpointError(
                f"{path}: not a Cnn14, tensor `{name}` is {got} and should be {wanted}."
            )


def _numpy_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """List what pickled NumPy arrays are made of, under the old and the new module name."""
    reconstruct: Any = np.empty(0).__reduce__()[0]
    scalar: Any = np.int64(0).__reduce__()[0]
    dtypes = {type(np.dtype(kind)) for kind in ("i4", "i8", "f4", "f8", "b1")}
    named: list[tuple[Callable[..., Any], str]] = [
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for function, name in ((reconstruct, "_reconstruct"), (scalar, "scalar"))
    ]
    return [np.ndarray, np.dtype, *dtypes, *named]
