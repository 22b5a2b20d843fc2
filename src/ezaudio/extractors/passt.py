"""PaSST: a transformer over spectrogram patches, the AudioSet tagger behind AudioCraft's KL.

32 kHz; pre-emphasis, power spectra of 800 samples every 320 (symmetric Hann, FFT 1024), 128 Kaldi
mels from 0 Hz to 15 kHz, (log(x + 1e-5) + 4.5) / 5; patches of 16 x 16 every 10 frames and bands,
a class and a distillation token, 12 blocks of width 768; logits from the mean of both tokens.
Source: Koutini et al., arXiv 2110.05069. Weights `passt-s-f128-p16-s10-ap.476-swa.pt`.

A sound longer than 10 s is cut, and the probabilities of its pieces are averaged.

Deviation: AudioCraft counts every piece of 10 s as a pair of its own; here a clip is one pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ezaudio.checkpoints import load_foreign
from ezaudio.config import Config
from ezaudio.errors import CheckpointError
from ezaudio.extractors.panns import Heard
from ezaudio.extractors.vggish import htk_filterbank
from ezaudio.files import sha256_file

SAMPLE_RATE = 32_000
WINDOW_SAMPLES, HOP_SAMPLES, N_FFT = 800, 320, 1024
MELS = 128
PATCH, STRIDE = 16, 10
LONGEST_SAMPLES = 10 * SAMPLE_RATE
SHORTEST_SAMPLES = 5120
_HIGH_HZ = 15_000.0
_PREEMPHASIS = 0.97
_SOURCE = "https://github.com/kkoutini/PaSST/releases/tag/v0.0.1-audioset"


class PasstConfig(Config):
    """Sizes of PaSST; the published network has the defaults.

    Attributes:
        width: of a token.
        depth: number of blocks.
        heads: of the attention.
        classes: K.
        time_patches: places along time that it has seen.
    """

    kind: Literal["passt"] = "passt"
    width: int = 768
    depth: int = 12
    heads: int = 12
    classes: int = 527
    time_patches: int = 99

    def build(self) -> Passt:
        """Build the network with random weights, ready to listen."""
        return Passt(self).eval()

    def load(self, path: str | Path) -> Passt:
        """Build the network with published weights.

        Raises:
            CheckpointError: the file is absent (the message says where to get it), damaged, or of
                another network.
        """
        path = Path(path)
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file. The PaSST weights are at {_SOURCE}")
        network = self.build()
        state = official_passt_state(load_foreign(path))
        missing, unexpected = network.load_state_dict(state, strict=False)
        if missing or unexpected:
            raise CheckpointError(f"{path}: not PaSST, tensor `{[*missing, *unexpected][0]}`")
        network.sha256 = sha256_file(path)
        return network.requires_grad_(False)


class PasstLogMel(nn.Module):
    """Waveform (B, S) at 32 kHz to (B, 128, T')."""

    window: Tensor
    bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        bank = torch.from_numpy(htk_filterbank(SAMPLE_RATE, N_FFT, MELS, 0.0, _HIGH_HZ))
        self.register_buffer("bank", bank, persistent=False)
        window = torch.hann_window(WINDOW_SAMPLES, periodic=False)
        self.register_buffer("window", window, persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        """(B, S) -> (B, 128, T'), T' = (S - 1) // 320 + 1."""
        wave = wave[:, 1:] - _PREEMPHASIS * wave[:, :-1]
        spectrum = torch.stft(
            wave, N_FFT, HOP_SAMPLES, WINDOW_SAMPLES, window=self.window, return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return ((self.bank @ power + 1e-5).log() + 4.5) / 5.0


class PasstBlock(nn.Module):
    """Attention and MLP, each behind a norm: (B, N, D) -> (B, N, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        q, k, v = rearrange(
            self.qkv(self.norm1(x)), "b n (three h p) -> three b h n p", three=3, h=self.heads
        )
        heard = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(rearrange(heard, "b h n p -> b n (h p)"))
        added: Tensor = self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return x + added


class Passt(nn.Module):
    """The tagger.

    Attributes:
        sha256: of the file that its weights came from; None for random weights.
    """

    def __init__(self, config: PasstConfig) -> None:
        super().__init__()
        self.config = config
        self.sha256: str | None = None
        width = config.width
        self.front_end = PasstLogMel()
        self.patches = nn.Conv2d(1, width, PATCH, STRIDE)
        bands = (MELS - PATCH) // STRIDE + 1
        self.tokens = nn.Parameter(torch.zeros(1, 2, width))
        self.token_places = nn.Parameter(torch.zeros(1, 2, width))
        self.band_places = nn.Parameter(torch.zeros(1, width, bands, 1))
        self.time_places = nn.Parameter(torch.zeros(1, width, 1, config.time_patches))
        self.blocks = nn.ModuleList(PasstBlock(width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.classes)

    def forward(self, wave: Tensor) -> Heard:
        """Listen to (B, S) at 32 kHz: features (B, 768), logits (B, 527).

        Logits of a sound of several pieces are the logarithm of its mean probabilities.
        """
        pieces = [self._piece(part) for part in self._cut(wave)]
        if len(pieces) == 1:
            return pieces[0]
        shares = torch.stack([piece.logits.softmax(1) for piece in pieces]).mean(0)
        features = torch.stack([piece.features for piece in pieces]).mean(0)
        return Heard(features, shares.clamp_min(1e-12).log())

    def _cut(self, wave: Tensor) -> list[Tensor]:
        parts = [p for p in wave.split(LONGEST_SAMPLES, 1) if p.shape[1] >= SHORTEST_SAMPLES]
        return parts or [F.pad(wave, (0, max(0, SHORTEST_SAMPLES - wave.shape[1])))]

    def _piece(self, wave: Tensor) -> Heard:
        x = self.patches(self.front_end(wave)[:, None])  # (B, D, bands, times)
        x = x + self.time_places[..., : x.shape[3]] + self.band_places
        x = rearrange(x, "b d f t -> b (f t) d")
        tokens = (self.tokens + self.token_places).expand(len(x), -1, -1)
        x = torch.cat([tokens, x], dim=1)
        for block in self.blocks:
            x = block(x)
        features = self.norm(x)[:, :2].mean(1)
        return Heard(features, self.head(self.head_norm(features)))


def official_passt_state(content: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the published tensors; the head of the distillation token is not used."""
    renamed = {
        "patch_embed.proj": "patches",
        "new_pos_embed": "token_places",
        "freq_new_pos_embed": "band_places",
        "time_new_pos_embed": "time_places",
        "head.0": "head_norm",
        "head.1": "head",
    }
    state: dict[str, Tensor] = {}
    for name, value in content.items():
        if name in ("cls_token", "dist_token") or name.startswith("head_dist"):
            continue
        new = name
        for old, own in renamed.items():
            if name == old or name.startswith(f"{old}."):
                new = own + name[len(old) :]
        inside = {".attn.qkv.": ".qkv.", ".attn.proj.": ".out.", ".mlp.fc": ".fc"}
        for old, own in inside.items():
            new = new.replace(old, own)
        state[new] = value
    if "cls_token" in content and "dist_token" in content:
        state["tokens"] = torch.cat([content["cls_token"], content["dist_token"]], dim=1)
    return state
