"""Train an autoencoder on crops of recordings: spectral losses and a small KL term."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from ezaudio.checkpoints import load_module, save_module
from ezaudio.config import Config
from ezaudio.data.waveforms import WaveformStore
from ezaudio.training.optim import OptimConfig, WeightAverage, update
from ezaudio.training.run import Run, RunConfig, use_threads
from ezaudio.vae import OobleckConfig, SpectralConfig
from ezaudio.vae.losses import SpectralLoss

PLACES = {"waveforms", "output", "start"}
"""Fields of a recipe that say where things lie on one machine: not kept with weights."""


class AutoencoderRecipe(Config):
    """Everything that an autoencoder run depends on.

    Attributes:
        model: Network.
        waveforms: Folder of a `WaveformStore`.
        output: Folder for the run and for `vae.safetensors`.
        start: Checkpoint to begin from.
        batch, crop_s: Crops per step and their length in seconds.
        gain_db: Range of the random gain.
        kl_weight, kl_warmup_steps: Weight of the KL term and the steps over which it is raised from
            0.
        ema: Decay of the weight average that is saved.
    """

    model: Annotated[SpectralConfig | OobleckConfig, Field(discriminator="kind")]
    waveforms: Path
    output: Path
    start: Path | None = None
    batch: int = 8
    crop_s: float = 1.0
    gain_db: tuple[float, float] = (-12.0, 6.0)
    kl_weight: float = 1e-4
    kl_warmup_steps: int = 1000
    ema: float = 0.999
    optim: OptimConfig
    run: RunConfig


class CropSampler:
    """Random crops of one split with a random gain, zero-padded where a clip is shorter."""

    def __init__(self, store: WaveformStore, recipe: AutoencoderRecipe) -> None:
        self.store, self.recipe = store, recipe
        self.samples = round(recipe.crop_s * store.sample_rate)
        self.train = [i for i, row in enumerate(store.rows) if row.split == "train"]
        self.valid = [i for i, row in enumerate(store.rows) if row.split == "valid"]

    def crop(self, index: int, generator: torch.Generator) -> NDArray[np.float32]:
        """One crop, (S,)."""
        spare = self.store.length(index) - self.samples
        start = int(torch.randint(max(spare, 0) + 1, (), generator=generator))
        crop = self.store.read(index, start, self.samples)
        before = int(torch.randint(self.samples - len(crop) + 1, (), generator=generator))
        return np.pad(crop, (before, self.samples - len(crop) - before))

    def batch(self, generator: torch.Generator) -> Tensor:
        """A training batch, (B, 1, S), peak at most 1."""
        picks = torch.randint(len(self.train), (self.recipe.batch,), generator=generator).tolist()
        wave = torch.from_numpy(np.stack([self.crop(self.train[i], generator) for i in picks]))
        low, high = self.recipe.gain_db
        db = low + (high - low) * torch.rand(len(picks), 1, generator=generator)
        peak = wave.abs().amax(1, keepdim=True).clamp_min(1e-4)
        wave = wave * torch.minimum(10 ** (db / 20), 1 / peak)
        return wave.unsqueeze(1)

    def validation(self, clips: int = 64) -> Tensor:
        """The same crops of the validation split at every call, (B, 1, S)."""
        generator = torch.Generator().manual_seed(1)
        indices = self.valid[:: max(1, len(self.valid) // clips)][:clips]
        return torch.from_numpy(np.stack([self.crop(i, generator) for i in indices])).unsqueeze(1)


def train_autoencoder(recipe: AutoencoderRecipe) -> Path:
    """Run a recipe, or continue it where its folder left off.

    Returns:
        Path of the averaged weights, `vae.safetensors`.
    """
    use_threads(recipe.run)
    torch.manual_seed(recipe.run.seed)
    model = recipe.model.build()
    if recipe.start is not None:
        model.load_state_dict(load_module(recipe.start).tensors)
    average = WeightAverage(model, recipe.ema)
    optimizer = recipe.optim.build(model)
    sampler = CropSampler(WaveformStore(recipe.waveforms), recipe)
    loss = SpectralLoss(sample_rate=model.sample_rate)
    validation = sampler.validation()
    run = Run(
        recipe.output, recipe.run, {"model": model, "average": average, "optimizer": optimizer}
    )

    def step(run: Run) -> dict[str, float]:
        wave = sampler.batch(run.generator)
        posterior = model.encode(wave)
        terms = loss(model.decode(posterior.sample(run.generator)), wave)
        kl = posterior.kl()
        weight = recipe.kl_weight * min(1.0, run.step / max(1, recipe.kl_warmup_steps))
        total = terms["total"] + weight * kl
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.optim.clip_norm)
        update(optimizer, rate=recipe.optim.rate_at(run.progress, run.step))
        average.update(model)
        measured = {name: float(value.detach()) for name, value in terms.items()}
        spread = {
            "latent_std": float(posterior.mean.detach().std()),
            "posterior_std": float(posterior.std.detach().mean()),
        }
        return measured | spread | {"kl": float(kl.detach()), "gradient_norm": float(norm)}

    def at_save(run: Run) -> dict[str, float]:
        with torch.inference_mode():
            posterior = average.model.encode(validation)
            terms = loss(average.model.decode(posterior.mode), validation)
        extra = {"recipe": recipe.model_dump(mode="json", exclude=PLACES), "step": run.step}
        save_module(
            recipe.output / "vae.safetensors",
            average.model.state_dict(),
            kind="vae",
            config=recipe.model,
            extra=extra,
        )
        return {f"valid_{name}": float(value) for name, value in terms.items()}

    run.loop(step, at_save)
    return recipe.output / "vae.safetensors"
