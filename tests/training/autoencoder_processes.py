"""A few steps of a small adversarial run on any number of processes."""

from __future__ import annotations

import json

import torch

from ezaudio.config import load_config
from ezaudio.training.loop.distributed import Engine, EngineConfig
from ezaudio.training.tasks.autoencoder import AutoencoderConfig, AutoencoderTask

SAMPLES = 960
OOBLECK = {
    "kind": "oobleck",
    "latent_channels": 4,
    "base_width": 4,
    "multipliers": (1, 2),
    "strides": (4, 6),
}
SETTINGS = {
    "model": OOBLECK,
    "discriminator": {"kind": "multi-stft", "width": 4, "n_ffts": (160, 40)},
    "losses": {"reconstruction": {"kind": "multi-stft", "n_ffts": (160, 40)}},
    "generator_optim": {"rate": 3e-3, "betas": (0.8, 0.99), "clip_norm": 10.0},
    "discriminator_optim": {"rate": 3e-3, "betas": (0.8, 0.99), "clip_norm": 10.0},
}


class Noise:
    """Four rows of noise a step, shared by the processes."""

    def __init__(self, engine):
        self.engine = engine

    def batch(self, index):
        generator = torch.Generator().manual_seed(index)
        rows = 4 // self.engine.world
        whole = 0.3 * torch.randn(4, 1, SAMPLES, generator=generator)
        return whole[self.engine.rank * rows :][:rows]

    def ids(self, index):
        return ()


def losses(engine):
    """Of the two players in turn, and of the validation."""
    torch.manual_seed(engine.rank)  # every process begins with the weights of the first
    by_row = {"reconstruction": {"kind": "multi-stft", "n_ffts": (160, 40), "per_row": True}}
    config = load_config(AutoencoderConfig, SETTINGS | {"losses": by_row})
    crops = Noise(engine)
    task = AutoencoderTask(config, crops, engine=engine, seed=3, validation=[crops.batch(99)])
    found = [engine.mean(task.step(index, 1.0))["loss"] for index in range(4)]
    return [*found, task.validate()["valid_loss"]]


def write_losses(path):
    """From each of the processes; the first one writes."""
    engine = Engine(EngineConfig(device="cpu", threads=1))
    found = losses(engine)
    if engine.main:
        path.write_text(json.dumps(found))
    engine.close()
