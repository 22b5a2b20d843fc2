"""A model of random weights, small enough for tests, with a text encoder that needs no files.

The fake encoder enters through the public registry, as any other would.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ezaudio.checkpoints import save_module
from ezaudio.config import Config
from ezaudio.dit import DiTConfig
from ezaudio.types import TextEmbedding
from ezaudio.vae import OobleckConfig

WIDTH = 24
HOP = 480
SAMPLE_RATE = 24_000


class FakeText:
    """One vector per word, drawn from the word's hash; counts what it is asked."""

    name = "fake"
    width = WIDTH
    max_tokens = 32

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, prompts: Sequence[str]) -> TextEmbedding:
        self.asked += prompts
        return TextEmbedding.cat([self._one(prompt) for prompt in prompts])

    def to(self, device: Any = None, dtype: Any = None) -> FakeText:
        return self

    def _one(self, prompt: str) -> TextEmbedding:
        words = ["<s>", *prompt.split()][: self.max_tokens]
        rows = []
        for word in words:
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
            rows.append(torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed)))
        return TextEmbedding(torch.stack(rows)[None], torch.ones(1, len(words), dtype=torch.bool))


class FakeTextConfig(Config):
    kind: Literal["fake"] = "fake"

    def build(self) -> FakeText:
        return FakeText()


def shake(module: nn.Module, std: float) -> None:
    """Give every parameter random values, so that no branch is zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(std * torch.randn(parameter.shape, generator=generator))


def write_tiny_model(folder: Path, *, reads_text: bool = True, **card: Any) -> Path:
    """Write a model folder: 4 latent channels, 24 kHz, at most 4 s."""
    folder.mkdir(parents=True, exist_ok=True)
    dit_config = DiTConfig(
        latent_channels=4,
        width=32,
        depth=2,
        heads=2,
        mlp_ratio=2.0,
        text_width=WIDTH if reads_text else None,
    )
    vae_config = OobleckConfig(latent_channels=4, base_width=2)
    torch.manual_seed(0)
    dit, vae = dit_config.build(), vae_config.build()
    shake(dit, 0.1)
    save_module(folder / "dit.safetensors", dit.state_dict(), kind="dit", config=dit_config)
    save_module(folder / "vae.safetensors", vae.state_dict(), kind="vae", config=vae_config)
    values = {
        "format": 1,
        "name": "tiny",
        "licence": "CC0-1.0",
        "text": {"kind": "fake"},
        "max_duration_s": 4.0,
        "defaults": {"steps": 2, "duration_s": 0.5, "guidance_scale": 3.0},
        **card,
    }
    (folder / "model.json").write_text(json.dumps(values))
    return folder
