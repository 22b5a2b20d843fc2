"""Train an autoencoder on crops of recordings by spectral losses and a small KL term."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ezaudio.checkpoints import load_module, save_module
from ezaudio.config import Config
from ezaudio.data.crops import CropConfig, WaveformBatches
from ezaudio.data.keys import generator_at, seed_at
from ezaudio.data.waveforms import WaveformStore
from ezaudio.training.ema import WeightAverage
from ezaudio.training.engine import Engine
from ezaudio.training.optim import OptimConfig, update
from ezaudio.training.plan import read_waveforms
from ezaudio.training.reconstruction import forward_cost
from ezaudio.training.task import Measured, Plan
from ezaudio.vae import OobleckConfig, Posterior, SpectralConfig
from ezaudio.vae.losses import SpectralLoss, SpectralLossConfig
from ezaudio.vae.model import Autoencoder

_FRESH, _NOISE, _VALID_SEED = 61, 62, 63
_COPIES = 5
"""Of the weights: weights, gradients, two moments, the average."""


class AutoencoderConfig(Config):
    """Everything that the training depends on, but its length.

    Attributes:
        model: Network.
        waveforms: Folder of a `WaveformStore`.
        start: Checkpoint to begin from.
        crops: What a batch is made of.
        kl_weight, kl_warmup_steps: Weight of the KL term and the steps over which it is raised from
            0.
        ema: Decay of the weight average that is measured and exported.
        valid_batches: Batches of the validation split that are measured.
        optim: Optimiser and learning rate.
    """

    model: Annotated[SpectralConfig | OobleckConfig, Field(discriminator="kind")]
    waveforms: Path
    start: Path | None = None
    crops: CropConfig = CropConfig()
    kl_weight: float = Field(1e-4, ge=0)
    kl_warmup_steps: int = Field(1000, ge=0)
    ema: float = Field(0.999, ge=0, lt=1)
    valid_batches: int = Field(8, ge=0)
    optim: OptimConfig

    @model_validator(mode="after")
    def _windows_fit(self) -> AutoencoderConfig:
        longest = max(SpectralLossConfig().n_ffts)
        if round(self.crops.crop_s * self.model.sample_rate) < longest:
            raise ValueError(f"crops at least as long as the longest window, {longest} samples")
        return self

    def plan(self, *, steps: int, world: int = 1) -> Plan:
        """Say what the training takes, from its settings alone."""
        with torch.device("meta"):
            model = self.model.build()
        samples = round(self.crops.crop_s * model.sample_rate)
        latent = (1, model.latent_channels, model.frames(samples))
        flops, kept = forward_cost(Coder(model), (1, 1, samples), latent)
        parameters = sum(p.numel() for p in model.parameters())
        rows = -(-self.crops.rows // world)
        return Plan(
            parameters=parameters,
            trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
            state_bytes=_COPIES * 4 * parameters * world,
            activation_bytes=rows * kept,
            step_flops=3 * flops * self.crops.rows,  # a way back costs two ways forward
            steps=steps,
            notes={
                "waveforms": read_waveforms(self.waveforms),
                "batch": f"{self.crops.rows} crops of {self.crops.crop_s:g} s",
            },
        )


class Coder(nn.Module):
    """An autoencoder as one function, which is what data-parallel training wraps."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, wave: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Waveform (B, 1, S), noise (B, C, T) -> output (B, 1, S), mean and std (B, C, T)."""
        posterior = self.model.encode(wave)
        output = self.model.decode(posterior.mean + posterior.std * noise)
        return output[..., : wave.shape[-1]], posterior.mean, posterior.std


class AutoencoderTask:
    """Generator-only training of an autoencoder.

    Args:
        config: Settings.
        engine: Where it runs.
        seed: Of weights, crops and noise.
    """

    def __init__(self, config: AutoencoderConfig, engine: Engine, *, seed: int) -> None:
        self.config, self.engine, self.seed = config, engine, seed
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed_at(seed, _FRESH))
            self.model: Autoencoder = config.model.build()
        if config.start is not None:
            self.model.load_state_dict(load_module(config.start, kind="vae").tensors)
        store = WaveformStore(config.waveforms)
        rank, world = engine.rank, engine.world
        self.crops = WaveformBatches(store, config.crops, seed=seed, rank=rank, world=world)
        self.valid = None
        if config.valid_batches and any(map(len, store.takes("valid").values())):
            plain = config.crops.model_copy(update={"mix_share": 0.0, "gain_db": (0.0, 0.0)})
            self.valid = WaveformBatches(
                store, plain, seed=_VALID_SEED, rank=rank, world=world, split="valid"
            )
        self.coder = engine.prepare(Coder(self.model))
        self.average: WeightAverage[Autoencoder] = WeightAverage(self.model, config.ema)
        self.optimizer = config.optim.build(self.coder)
        self.loss = SpectralLoss(sample_rate=self.model.sample_rate).to(engine.device)

    def parts(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"model": self.model, "average": self.average, "optimizer": self.optimizer}

    def step(self, index: int, rate: float) -> Measured:
        """Make one optimiser step."""
        wave = self.crops.batch(index).to(self.engine.device)
        output, mean, std = self.coder(wave, self._noise(len(wave), wave.shape[-1], index))
        terms: dict[str, Tensor] = self.loss(output, wave)
        kl = Posterior(mean, std).kl()
        warm = min(1.0, index / max(1, self.config.kl_warmup_steps))
        loss = terms["total"] + self.config.kl_weight * warm * kl
        self.engine.backward(loss)
        norm = self.engine.clip(self.coder, self.config.optim.clip_norm)
        if math.isfinite(norm):
            update(self.optimizer, rate=self.config.optim.rate * rate)
            self.average.update(self.model)
        else:
            self.optimizer.zero_grad(set_to_none=True)
        spread = {"latent_std": mean.detach().std(), "posterior_std": std.detach().mean()}
        measured = {name: value.detach() for name, value in (terms | {"kl": kl}).items()}
        sound_s = wave.numel() / self.model.sample_rate
        return {
            "loss": loss.detach(), "gradient_norm": norm, "sound_s": sound_s, **measured, **spread
        }  # fmt: skip

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Spectral distances of the averaged autoencoder, without noise in the latent."""
        if self.valid is None:
            return {}
        found: dict[str, list[float]] = defaultdict(list)
        for index in range(self.config.valid_batches):
            wave = self.valid.batch(index).to(self.engine.device)
            latent = self.average.model.encode(wave).mode
            output = self.average.model.decode(latent)[..., : wave.shape[-1]]
            for name, value in self.loss(output, wave).items():
                found[name].append(float(value))
        means = {f"valid_{name}": sum(values) / len(values) for name, values in found.items()}
        return self.engine.mean({"valid_loss": means["valid_total"], **means})

    def export(self, folder: Path, *, step: int) -> list[Path]:
        """Write the averaged autoencoder as `vae.safetensors`."""
        path = folder / "vae.safetensors"
        if self.engine.main:
            recipe = self.config.model_dump(
                mode="json", exclude={"waveforms", "start", "output", "run", "engine", "kind"}
            )
            save_module(
                path,
                self.average.model.state_dict(),
                kind="vae",
                config=self.config.model,
                extra={"recipe": recipe, "step": step},
            )
        return [path]

    def plan(self) -> Plan:
        """Say what the training takes."""
        return self.config.plan(steps=0, world=self.engine.world)

    def describe(self, index: int) -> str:
        """Which clips this process's rows of a step are."""
        return ", ".join(self.crops.ids(index))

    def _noise(self, rows: int, samples: int, index: int) -> Tensor:
        """Noise in the latent, by row of the global batch: (B, C, T)."""
        shape = (self.model.latent_channels, self.model.frames(samples))
        first = self.engine.rank * rows
        drawn = [
            torch.randn(shape, generator=generator_at(self.seed, _NOISE, index, row))
            for row in range(first, first + rows)
        ]
        return torch.stack(drawn).to(self.engine.device)
