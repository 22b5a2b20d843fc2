"""What an autoencoder in training is worth: distances, sounds to hear, the cost of a step."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ezaudio.audio_distance import Distances, distances
from ezaudio.training.loop.distributed import Engine
from ezaudio.training.loop.task import Heard
from ezaudio.vae.losses import GeneratorLoss
from ezaudio.vae.model import Autoencoder

_SILENT = 1e-4
_DISTANCES = tuple(field.name for field in fields(Distances))


@torch.no_grad()
def measure(
    model: Autoencoder, waves: Sequence[Tensor], loss: GeneratorLoss, engine: Engine
) -> dict[str, float]:
    """Losses, and distances of `ezaudio.audio_distance`, without noise in the latent.

    Args:
        model: What is measured.
        waves: This process's batches, (B, 1, S); silent rows have no distance.
        loss: What it is trained with.
        engine: Of all processes, which call this together.

    Returns:
        Means over all processes, named `valid_…`; nothing where there are no batches.
    """
    found: dict[str, list[float]] = {}
    for batch in waves:
        wave = batch.to(engine.device)
        posterior, output = reconstruct(model, wave)
        total, terms = loss(output, wave, posterior)
        values = {"loss": total, **terms, "latent_std": posterior.mean.std()}
        for name, value in values.items():
            found.setdefault(name, []).append(float(value))
        for name, rows in _distances(wave, output, model.sample_rate).items():
            found.setdefault(name, []).extend(rows)
    counts = torch.tensor([[sum(values), len(values)] for values in found.values()])
    totals = engine.total(counts.double().to(engine.device, torch.float32)) if found else counts
    return {
        f"valid_{name}": total / count
        for name, (total, count) in zip(found, totals.tolist(), strict=True)
        if count
    }


@torch.no_grad()
def listen(model: Autoencoder, waves: Sequence[Tensor], sounds: int) -> list[Heard]:
    """The first rows of the first batch, each before and after the autoencoder."""
    rows = torch.cat([w[:sounds] for w in waves[:1]]) if waves else torch.zeros(0, 1, 1)
    heard = []
    for number, wave in enumerate(rows):
        device = model.latent_shift.device
        _, output = reconstruct(model, wave[None].to(device))
        for name, sound in (("recording", wave), ("decoded", output[0])):
            samples = sound[0].float().cpu().numpy()
            heard.append(Heard(f"{name}-{number}", samples, model.sample_rate))
    return heard


def reconstruct(model: Autoencoder, wave: Tensor) -> tuple[Any, Tensor]:
    """Posterior, and the output of its mean as long as the input: (B, 1, S) -> (B, 1, S)."""
    posterior = model.encode(wave)
    return posterior, model.decode(posterior.mode)[..., : wave.shape[-1]]


def forward_cost(module: nn.Module, *shapes: tuple[int, ...]) -> tuple[float, int]:
    """Count a forward pass without computing it.

    Args:
        module: Called with tensors of these shapes.
        *shapes: Of float32 inputs.

    Returns:
        Floating-point operations of the matrix products and convolutions, and bytes that the way
        back would need.
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    declared = copy.deepcopy(module).to("meta")
    weights = {p.untyped_storage()._cdata for p in declared.parameters()}
    inputs = [torch.empty(shape, device="meta", requires_grad=True) for shape in shapes]
    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = declared(*inputs)
    del result
    return float(counter.get_total_flops()), sum(n for key, n in kept.items() if key not in weights)


def _distances(wave: Tensor, output: Tensor, sample_rate: int) -> dict[str, list[float]]:
    """Distances of the rows (B, 1, S) that are not silent."""
    rows = [asdict(distances(x, y, sample_rate)) for x, y in _pairs(wave, output)]
    return {name: [row[name] for row in rows] for name in _DISTANCES}


def _pairs(wave: Tensor, output: Tensor) -> Iterator[tuple[Any, Any]]:
    for x, y in zip(wave[:, 0].cpu().numpy(), output[:, 0].float().cpu().numpy(), strict=True):
        if np.abs(x).max() > _SILENT:
            yield x, y
