"""Latents of a few clips and recipes of a network so small that a step takes milliseconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch
from tests.tiny_model import WIDTH, FakeTextConfig
from torch import nn

from ezaudio.config import load_config
from ezaudio.data.manifest import ClipRow
from ezaudio.data.waveforms import WaveformStore
from ezaudio.text import TEXT_ENCODERS
from ezaudio.training.encode import EncodeConfig, LatentEncoder, encode_latents
from ezaudio.training.loop.distributed import Engine, EngineConfig
from ezaudio.training.lora_run import RECIPE, LoRAJob, fit, prepare
from ezaudio.training.recipe import DiffusionRecipe
from ezaudio.training.runner import run_recipe
from ezaudio.training.tasks.lora import LoRARecipe
from ezaudio.vae import Autoencoder

RATE, HOP, CHANNELS = 8000, 160, 4


class Bands(Autoencoder):
    """Latent frame: mean and mean square of both halves of its samples."""

    def __init__(self):
        super().__init__(sample_rate=RATE, hop_samples=HOP, latent_channels=CHANNELS)
        self.unused = nn.Parameter(torch.zeros(1))

    def _encode(self, wave):
        halves = wave.unflatten(-1, (-1, 2, HOP // 2))[:, 0]
        parts = [halves.mean(-1), halves.square().mean(-1)]
        mean = torch.cat([part.transpose(1, 2) for part in parts], 1)
        return mean, torch.full_like(mean, 0.01)


def write_latents(folder: Path) -> Path:
    """Ten clips of four kinds, two of them for validation."""
    generator, rows = np.random.default_rng(0), []
    for i in range(10):
        label = ("rain", "dog", "bell", "wind")[i % 4]
        level = 0.2 + 0.1 * (i % 4)
        samples = generator.uniform(-level, level, 4000 + 800 * i)
        soundfile.write(folder / f"{i}.wav", samples, RATE)
        split = "valid" if i >= 8 else "train"
        rows.append(ClipRow(file=f"{i}.wav", split=split, label=label, caption=f"A {label}."))
    store = WaveformStore.pack(rows, folder, folder / "packed", RATE)
    encoder = LatentEncoder(store, Bands(), EncodeConfig(trim=False))
    encode_latents(encoder, folder / "latents")
    return folder / "latents"


MODEL = {
    "latent_channels": CHANNELS, "width": 16, "depth": 2, "heads": 2, "mlp_ratio": 2.0,
    "text_width": WIDTH, "adaln": {"kind": "sola", "rank": 2},
}  # fmt: skip

STAGE = {
    "optim": {"rate": 1e-3, "warmup_steps": 2},
    "valid": {"batches": 2, "levels": 2},
    "averages": {"half_lives": [3, 10]},
    "run": {"steps": 6, "save_every": 3, "log_every": 1, "tensorboard": False},
}


def recipe_of(latents, output, *overrides, stages=None):
    """A diffusion recipe over small latents; one stage with text unless others are given."""
    values = {
        "output": str(output),
        "engine": {"device": "cpu"},
        "model": MODEL,
        "text": {"kind": "fake"},
        "each": {
            **STAGE,
            "data": {"latents": str(latents), "batch": {"rows": 4, "duration_s": [0.3, 0.6]}},
        },
        "stages": stages or {"align": {}},
    }
    TEXT_ENCODERS.setdefault("fake", FakeTextConfig)
    return load_config(DiffusionRecipe, values, overrides)


def run_small(latents, output, *overrides, resume=False, stages=None):
    """Train on this process (or as one of several)."""
    recipe = recipe_of(latents, output, *overrides, stages=stages)
    return run_recipe(recipe, Engine(recipe.engine), resume=resume)


def run_adapter(model, sounds, output, *overrides):
    """Fit an adapter on this process (or as one of several)."""
    TEXT_ENCODERS.setdefault("fake", FakeTextConfig)
    torch.set_num_threads(1)
    job = LoRAJob(sounds, output, str(model), "cpu", "float32")
    fit(prepare(job, load_config(LoRARecipe, RECIPE, overrides)), job)


def task_of(latents, output, *overrides, engine=None):
    """The task of a recipe with one stage."""
    recipe = recipe_of(latents, output, *overrides)
    (job,) = recipe.jobs()
    return job.make(engine or Engine(EngineConfig(device="cpu")))
