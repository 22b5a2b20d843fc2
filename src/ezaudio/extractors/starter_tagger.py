"""The starter tagger: a small network that listens, shipped with the package.

Log-mel spectrogram (64 bands, 80 frames/s, 24 kHz), statistics of it, two linear layers, 128
features; from them the logits of the kinds of sound that it knows, and an embedding in the space
of the starter's text encoder (MiniLM's sentence vectors), so that a sound and a caption can be
compared. It was trained on the recordings that the starter model was trained on
(`python -m benchmarks.starter_tagger`), and on nothing else.

It makes every metric run offline. Its scores are good for comparing settings of one model; they are
not comparable with scores of AudioSet taggers or of CLAP.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ezaudio.audio_features import mel_filterbank
from ezaudio.checkpoints import load_module, save_module
from ezaudio.config import Config, load_config
from ezaudio.errors import CheckpointError
from ezaudio.extractors.sound_statistics import WIDTH as STATISTICS
from ezaudio.extractors.sound_statistics import sound_statistics

SAMPLE_RATE = 24_000
HOP_SAMPLES = 300
N_FFT = 1024
MELS = 64
FRAME_RATE = SAMPLE_RATE / HOP_SAMPLES
FLOOR_DB = -100.0
RANGE_DB = 70.0
SHORTEST_S, LONGEST_S = 1.0, 4.0
WINDOW_S, WINDOW_HOP_S = 1.0, 0.25
KIND = "starter-tagger"
WEIGHTS = Path(__file__).parents[1] / "weights" / "starter-tagger" / "tagger.safetensors"


class StarterTaggerConfig(Config):
    """Sizes of the network, and the kinds of sound in the order of its logits.

    Attributes:
        labels: names of the kinds, K.
        hidden: width of the first layer.
        features: width of the features, J.
        text_width: width of the text encoder's sentence vectors, E.
    """

    kind: Literal["starter-tagger"] = "starter-tagger"
    labels: tuple[str, ...] = Field(min_length=1)
    hidden: int = Field(320, ge=1)
    features: int = Field(128, ge=1)
    text_width: int = Field(384, ge=1)

    def build(self) -> StarterTagger:
        """Build the network with random weights, ready to listen."""
        return StarterTagger(self).eval()


class LevelledLogMel(nn.Module):
    """Waveform to what the network sees: dB below the loudest band of the clip, near unit scale."""

    bank: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        bank = torch.from_numpy(mel_filterbank(SAMPLE_RATE, N_FFT, MELS, 40.0, SAMPLE_RATE / 2))
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)

    def log_mel(self, wave: Tensor) -> Tensor:
        """Mel power in dB, at least -100: (B, S) at 24 kHz -> (B, M, T)."""
        padded = F.pad(wave.float(), (N_FFT // 2, N_FFT // 2))
        spectrum = torch.stft(
            padded, N_FFT, HOP_SAMPLES, window=self.window, center=False, return_complex=True
        )
        power = (spectrum.real.square() + spectrum.imag.square()) / self.window.square().sum()
        return 10.0 * torch.log10(self.bank @ power + 10 ** (FLOOR_DB / 10))

    def forward(self, wave: Tensor) -> Tensor:
        """(B, S) at 24 kHz -> (B, M, T) between -1.75 and 1.75."""
        return levelled(self.log_mel(wave))


def levelled(mel_db: Tensor) -> Tensor:
    """Bring log-mels (B, M, T) in dB to -1.75 .. 1.75, the loudest band of each at the top."""
    relative = mel_db - mel_db.amax(dim=(1, 2), keepdim=True)
    return (relative.clamp(min=-RANGE_DB) + RANGE_DB / 2) / (RANGE_DB / 3.5)


class StarterTagger(nn.Module):
    """The tagger.

    Args:
        config: its sizes and its kinds of sound.

    Attributes:
        sha256: of the file that its weights came from; None for random weights.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, config: StarterTaggerConfig) -> None:
        super().__init__()
        self.config = config
        self.sha256: str | None = None
        self.front_end = LevelledLogMel()
        self.register_buffer("centre", torch.zeros(STATISTICS))
        self.register_buffer("spread", torch.ones(STATISTICS))
        self.body = nn.Sequential(
            nn.Dropout(0.2),
            nn.Linear(STATISTICS, config.hidden),
            nn.BatchNorm1d(config.hidden),
            nn.ReLU(),
            nn.Dropout(0.4),
            nn.Linear(config.hidden, config.features),
            nn.ReLU(),
        )
        self.to_logits = nn.Linear(config.features, len(config.labels))
        self.to_text_space = nn.Linear(config.features, config.text_width)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the kinds, in the order of the logits."""
        return self.config.labels

    def understand(self, described: Tensor) -> Tensor:
        """Features (B, J) of statistics (B, 736)."""
        features: Tensor = self.body((described - self.centre) / self.spread)
        return features

    def listen(self, shown: Tensor) -> Tensor:
        """Features (B, J) of levelled log-mels (B, M, T): the mean over windows of 4 s."""
        size = round(LONGEST_S * FRAME_RATE)
        starts = range(0, max(1, shown.shape[2] - size // 2), size // 2)
        heard = [self.understand(sound_statistics(shown[:, :, at : at + size])) for at in starts]
        return torch.stack(heard).mean(0)

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Listen to (B, S) at 24 kHz, any level; what is shorter than 1 s is repeated.

        Returns:
            Features (B, J), logits (B, K), and embeddings in the text space (B, E).
        """
        features = self.listen(self.front_end(repeated(wave)))
        return features, self.to_logits(features), self.to_text_space(features)

    def timeline(self, wave: Tensor) -> Tensor:
        """Probabilities of the kinds in windows of 1 s, a quarter second apart: (B, W, K)."""
        shown = self.front_end(repeated(wave))
        size, hop = round(WINDOW_S * FRAME_RATE), round(WINDOW_HOP_S * FRAME_RATE)
        windows = shown.unfold(2, size, hop).movedim(2, 1)  # (B, W, M, size)
        logits = self.to_logits(self.listen(windows.flatten(0, 1)))
        shares: Tensor = logits.softmax(1).unflatten(0, windows.shape[:2])
        return shares

    def save(self, path: Path, *, facts: dict[str, object]) -> None:
        """Write one file that `load_starter_tagger` reads; weights are kept in half precision."""
        tensors = {k: v.half() for k, v in self.state_dict().items() if v.is_floating_point()}
        save_module(path, tensors, kind=KIND, config=self.config, extra={"facts": facts})


def repeated(wave: Tensor) -> Tensor:
    """Repeat (B, S) until it lasts one second."""
    shortest = round(SHORTEST_S * SAMPLE_RATE)
    if wave.shape[1] >= shortest:
        return wave
    return wave.repeat(1, -(-shortest // wave.shape[1]))[:, :shortest]


@functools.lru_cache(maxsize=2)
def load_starter_tagger(path: Path = WEIGHTS) -> StarterTagger:
    """Read a tagger, by default the shipped one.

    Raises:
        CheckpointError: the file is missing, damaged or not a tagger.
    """
    loaded = load_module(path, kind=KIND)
    tagger = load_config(StarterTaggerConfig, loaded.config).build()
    state = {name: value.float() for name, value in loaded.tensors.items()}
    missing, unexpected = tagger.load_state_dict(state, strict=False)
    if unexpected or any("num_batches_tracked" not in name for name in missing):
        raise CheckpointError(f"{path}: its weights do not fit its configuration")
    tagger.sha256 = loaded.sha256
    return tagger.eval().requires_grad_(False)
