"""Train an autoencoder, against a discriminator or without one (paper, section 2.1).

The loss of the generator (the autoencoder) is the distance of its output from the recording, the
information in its latent and, from `adversary_from` on, what the discriminator adds: the
adversarial loss and the distance of the discriminator's inner maps. Before that step the
discriminator takes no part, since an output that is still noise teaches neither of them anything;
with `discriminator: null` it never does.

With a frozen encoder the decoder alone is trained: latents that were cached and diffusion models
that were trained on them stay valid. Sound comes first, detail second: a spectral stage for both
ends, then an adversarial one for the decoder (RAVE, arXiv:2111.05011, section 3.2).

Everything random in a step follows from (seed, step, row of the global batch).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ezaudio.checkpoints import save_module
from ezaudio.config import Config
from ezaudio.data.crops import CropConfig, WaveformBatches
from ezaudio.data.keys import generator_at, seed_at
from ezaudio.data.waveforms import WaveformStore
from ezaudio.errors import InputError
from ezaudio.training.loop.distributed import Engine, EngineConfig
from ezaudio.training.loop.ema import WeightAverage
from ezaudio.training.loop.optim import OptimConfig
from ezaudio.training.loop.task import Heard, Measured, Plan
from ezaudio.training.loop.trainer import Job, RunConfig
from ezaudio.training.tasks.discriminator_step import DiscriminatorStep, descend
from ezaudio.training.tasks.plan import read_waveforms
from ezaudio.training.tasks.reconstruction import forward_cost, listen, measure
from ezaudio.vae import Posterior, VaeConfig
from ezaudio.vae.discriminators import DiscriminatorConfig
from ezaudio.vae.load import load_weights
from ezaudio.vae.losses import GeneratorLoss, LossConfig
from ezaudio.vae.model import Autoencoder

_FRESH, _NOISE, _EXCITATION = 31, 32, 33
_SOUNDS = 2
_PLAIN = {"gain_db": (0.0, 0.0), "polarity": False, "mix_share": 0.0}


class Turn(NamedTuple):
    """Who learns in a step."""

    generator: bool
    discriminator: bool


TURNS: dict[str, Callable[[int], Turn]] = {
    "alternate": lambda index: Turn(index % 2 == 0, index % 2 == 1),
    "both": lambda index: Turn(True, True),
}
"""Who learns when both exist. `alternate` is the authors': every other step is the discriminator's,
so that a million steps are half a million updates of each. `both` makes one output per step and
uses it twice, the discriminator first."""


class AutoencoderConfig(Config):
    """Everything that the training of an autoencoder depends on, but the sounds.

    Attributes:
        model: Autoencoder.
        discriminator: Discriminator; None, the default, trains without one.
        losses: Losses of the generator and their weights.
        adversary_from: First step with a discriminator.
        divergence_warmup_steps: Steps over which the weight of the divergence rises from 0.
        turns: Name in `TURNS`.
        frozen_encoder: Train the decoder alone.
        ema: Decay of the weight average that is measured and exported.
        generator_optim: Optimiser of the autoencoder.
        discriminator_optim: Optimiser of the discriminator; there must be one where there is a
            discriminator.
    """

    model: VaeConfig
    discriminator: DiscriminatorConfig | None = None
    losses: LossConfig = LossConfig()
    adversary_from: int = Field(0, ge=0)
    divergence_warmup_steps: int = Field(0, ge=0)
    turns: Literal["alternate", "both"] = "alternate"
    frozen_encoder: bool = False
    ema: float = Field(0.999, ge=0, lt=1)
    generator_optim: OptimConfig
    discriminator_optim: OptimConfig | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if self.discriminator is not None and self.discriminator_optim is None:
            raise ValueError("a `discriminator_optim` beside the discriminator")
        return self


class Crops(Protocol):
    """Batches of waveforms as a function of the step number."""

    def batch(self, index: int) -> Tensor:
        """This rank's rows of global batch `index`: (B, 1, S)."""

    def ids(self, index: int) -> tuple[str, ...]:
        """Names of those rows."""


class Coder(nn.Module):
    """An autoencoder as one function, which is what data-parallel training wraps.

    Args:
        vae: Autoencoder.
        frozen_encoder: Whether the encoder gets no gradients.
    """

    def __init__(self, vae: Autoencoder, *, frozen_encoder: bool) -> None:
        super().__init__()
        self.vae, self.frozen_encoder = vae, frozen_encoder
        if frozen_encoder:
            vae.freeze_encoder()

    def forward(
        self, wave: Tensor, noise: Tensor, excitation: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruct waveforms from noisy latents.

        Args:
            wave: (B, 1, S).
            noise: In the latent, (B, C, T).
            excitation: For a decoder that is excited by noise, (B, 1, T * hop).

        Returns:
            Output (B, 1, S), mean and standard deviation (B, C, T).
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_encoder):
            posterior = self.vae.encode(wave)
        latent = posterior.mean + posterior.std * noise
        output = self.vae.decode(latent, excitation)[..., : wave.shape[-1]]
        return output, posterior.mean, posterior.std


def row_noise(
    shape: tuple[int, int], rows: range, *, seed: int, index: int, purpose: int = _NOISE
) -> Tensor:
    """Standard normal noise, (rows, *shape), that follows from seed, step and row alone."""
    keys = [(seed, purpose, index, row) for row in rows]
    return torch.stack([torch.randn(shape, generator=generator_at(*key)) for key in keys])


class AutoencoderTask:
    """Updates of an autoencoder and, where there is one, of its discriminator.

    Args:
        config: Settings.
        crops: Waveforms to train on.
        engine: Where it runs.
        seed: Of the noise in the latent.
        validation: This rank's waveforms to measure on, (B, 1, S) each.

    Attributes:
        vae: The autoencoder.
        discriminator: The discriminator and its optimiser; None without one.
        average: Weight average of the autoencoder, which is measured and exported.
    """

    def __init__(
        self,
        config: AutoencoderConfig,
        crops: Crops,
        *,
        engine: Engine,
        seed: int,
        validation: Sequence[Tensor] = (),
    ) -> None:
        _refuse_sharding(engine)
        self.config, self.crops, self.engine, self.seed = config, crops, engine, seed
        self.validation = validation
        self.vae = config.model.build().to(engine.device)
        coder = Coder(self.vae, frozen_encoder=config.frozen_encoder)
        self._coder = engine.prepare(coder)
        self.discriminator = None
        if config.discriminator is not None and config.discriminator_optim is not None:
            self.discriminator = DiscriminatorStep(
                config.discriminator.build(), config.losses, config.discriminator_optim, engine
            )
        self.average = WeightAverage(self.vae, config.ema)
        self.optimizer = config.generator_optim.build(self.vae)
        self._loss = GeneratorLoss(config.losses, self.vae.sample_rate).to(engine.device)

    def start(self, path: Path) -> None:
        """Begin from the weights of an autoencoder, those of the average too.

        Raises:
            CheckpointError: The file is missing, damaged, or holds another autoencoder.
        """
        for model in (self.vae, self.average.model):
            load_weights(model, path)

    def parts(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        own = {
            "autoencoder": self.vae,
            "average": self.average,
            "autoencoder_optimizer": self.optimizer,
        }
        if self.discriminator is None:
            return own
        return own | {
            "discriminator": self.discriminator.network,
            "discriminator_optimizer": self.discriminator.optimizer,
        }

    def turn(self, index: int) -> Turn:
        """Who learns in a step."""
        start = self.config.adversary_from
        if self.discriminator is None or index < start:
            return Turn(True, False)
        return TURNS[self.config.turns](index - start)

    def step(self, index: int, rate: float) -> Measured:
        """Train for one step.

        Args:
            index: Global step, from 0.
            rate: Share of both learning rates.

        Returns:
            `loss` of the player that learns (the generator's where both do), and its parts.
        """
        turn, wave = self.turn(index), self.crops.batch(index).to(self.engine.device)
        with torch.set_grad_enabled(turn.generator):
            output, posterior = self._reconstruct(wave, index)
        measured: Measured = {"sound_s": wave.numel() / self.vae.sample_rate}
        if turn.discriminator and self.discriminator is not None:
            measured |= self.discriminator.learn(wave, output.detach(), rate)
        if turn.generator:
            measured |= self._learn(wave, output, posterior, index=index, rate=rate)
        return measured

    def validate(self) -> dict[str, float]:
        """Losses and distances of the averaged autoencoder, without noise in the latent."""
        return measure(self.average.model, self.validation, self._loss, self.engine)

    def listen(self) -> list[Heard]:
        """The first sounds of the validation, before and after the averaged autoencoder."""
        return listen(self.average.model, self.validation, _SOUNDS)

    def export(self, folder: Path, *, step: int) -> list[Path]:
        """Write the averaged autoencoder as `vae.safetensors`."""
        path = folder / "vae.safetensors"
        if self.engine.main:
            facts = {"step": step, "recipe": _settings(self.config)}
            tensors = self.average.model.state_dict()
            save_module(path, tensors, kind="vae", config=self.config.model, extra=facts)
        return [path]

    def plan(self) -> Plan:
        """Say what the training takes."""
        rows, _, samples = self.crops.batch(0).shape
        return plan_players(self.config, rows=rows, samples=samples, world=self.engine.world)

    def describe(self, index: int) -> str:
        """Which clips a step saw."""
        return ", ".join(self.crops.ids(index))

    def _reconstruct(self, wave: Tensor, index: int) -> tuple[Tensor, Posterior]:
        first, frames = self.engine.rank * len(wave), self.vae.frames(wave.shape[-1])
        rows = range(first, first + len(wave))
        noise = row_noise((self.vae.latent_channels, frames), rows, seed=self.seed, index=index)
        excitation = None
        if self.vae.excited:
            shape = (1, frames * self.vae.hop_samples)
            excitation = row_noise(
                shape, rows, seed=self.seed, index=index, purpose=_EXCITATION
            ).to(wave.device)
        output, mean, std = self._coder(wave, noise.to(wave.device), excitation)
        return output, Posterior(mean, std)

    def _learn(
        self, wave: Tensor, output: Tensor, posterior: Posterior, *, index: int, rate: float
    ) -> Measured:
        warm = min(1.0, (index + 1) / max(1, self.config.divergence_warmup_steps))
        loss, terms = self._loss(output, wave, posterior, divergence_share=warm)
        if self.discriminator is not None and index >= self.config.adversary_from:
            opinion, parts = self.discriminator.opinion(wave, output)
            loss, terms = loss + opinion, terms | parts
        self.engine.backward(loss)
        optim = self.config.generator_optim
        norm = self.engine.clip(self.vae, optim.clip_norm)
        if descend(self.optimizer, rate=optim.rate * rate, norm=norm):
            self.average.update(self.vae)
        return {
            "loss": loss.detach(),
            **{name: value.detach() for name, value in terms.items()},
            "latent_std": posterior.mean.detach().std(),
            "posterior_std": posterior.std.detach().mean(),
            "gradient_norm": norm,
        }


def _refuse_sharding(engine: Engine) -> None:
    if engine.sharded:
        allowed = "none: an autoencoder fits every process whole"
        raise InputError("engine.sharding", engine.config.sharding, allowed)


def _settings(config: AutoencoderConfig) -> dict[str, Any]:
    """What the weights depend on, and not where things lay on one machine."""
    return config.model_dump(mode="json", include=set(AutoencoderConfig.model_fields))


def plan_players(config: AutoencoderConfig, *, rows: int, samples: int, world: int) -> Plan:
    """Say what a training takes, from its settings alone.

    Args:
        config: Settings.
        rows: Crops of a batch on one process.
        samples: Of a crop.
        world: Processes.
    """
    with torch.device("meta"):
        vae = config.model.build()
        judge = config.discriminator.build() if config.discriminator is not None else None
    coder = Coder(vae, frozen_encoder=config.frozen_encoder)
    latent = (1, vae.latent_channels, vae.frames(samples))
    made, kept = forward_cost(coder, (1, 1, samples), latent)
    judged, kept_to_judge = forward_cost(judge, (1, 1, samples)) if judge is not None else (0.0, 0)
    learning, judging = 3 * made + 3 * judged, 6 * judged  # a way back costs two ways forward
    turns = {"both": learning + judging, "alternate": (learning + made + judging) / 2}
    step_flops = turns[config.turns] if judge is not None else learning
    networks = [vae] if judge is None else [vae, judge]
    sizes = [sum(p.numel() for p in network.parameters()) for network in networks]
    trained = sum(p.numel() for n in networks for p in n.parameters() if p.requires_grad)
    copies = sizes[0] + sum(sizes) + 3 * trained  # the average; gradients and two moments
    return Plan(
        parameters=sum(sizes),
        trainable=trained,
        state_bytes=4 * copies * world,
        activation_bytes=rows * (kept + kept_to_judge),
        step_flops=rows * world * step_flops,
        notes={"batch": f"{rows * world} crops of {samples / config.model.sample_rate:g} s"},
    )


class AutoencoderRecipe(AutoencoderConfig):
    """A run: what is trained, on what, from where.

    Attributes:
        kind: `autoencoder`.
        output: Folder of the run.
        engine: How it computes.
        run: Its bounds and rhythm; the rate follows `generator_optim` for both players.
        waveforms: Folder of a `WaveformStore`.
        crops: What a batch is made of.
        valid_batches: Batches of the split `valid` that are measured.
        start: Autoencoder to begin from; a frozen encoder is worth little without one.
    """

    kind: Literal["autoencoder"] = "autoencoder"
    output: Path
    engine: EngineConfig = EngineConfig()
    run: RunConfig
    waveforms: Path
    crops: CropConfig = CropConfig()
    valid_batches: int = Field(8, ge=0)
    start: Path | None = None

    @property
    def samples(self) -> int:
        """Length of a crop."""
        return round(self.crops.crop_s * self.model.sample_rate)

    @model_validator(mode="after")
    def _windows_fit(self) -> AutoencoderRecipe:
        windows = (self.discriminator, self.losses.reconstruction, self.losses.mel)
        longest = max(size for each in windows if each is not None for size in each.n_ffts)
        if self.samples < longest:
            raise ValueError(f"crops at least as long as the longest window, {longest} samples")
        return self

    def jobs(self) -> list[Job]:
        """One run."""

        def plan(world: int) -> Plan:
            rows = -(-self.crops.rows // world)
            found = plan_players(self, rows=rows, samples=self.samples, world=world)
            notes = {"waveforms": read_waveforms(self.waveforms), **found.notes}
            return replace(found, steps=self.run.steps, notes=notes)

        return [
            Job(
                name="autoencoder",
                folder=self.output,
                config=self,
                run=self.run,
                schedule=self.generator_optim,
                make=self.build,
                plan=plan,
            )
        ]

    def build(self, engine: Engine) -> AutoencoderTask:
        """Open the sounds and build both players.

        Raises:
            InputError: The sounds have another rate than the autoencoder, or there are none.
            CheckpointError: `start` cannot be read, or is no such autoencoder.
        """
        store, seed = WaveformStore(self.waveforms), self.run.seed
        if store.sample_rate != self.model.sample_rate:
            allowed = f"sounds at the autoencoder's {self.model.sample_rate} Hz"
            raise InputError("waveforms", store.sample_rate, allowed)
        rank, world = engine.rank, engine.world
        crops = WaveformBatches(store, self.crops, seed=seed, rank=rank, world=world)
        validation: list[Tensor] = []
        if any(map(len, store.takes("valid").values())):
            plain = self.crops.model_copy(update=_PLAIN)
            valid = WaveformBatches(store, plain, seed=0, rank=rank, world=world, split="valid")
            validation = [valid.batch(index) for index in range(self.valid_batches)]
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed_at(seed, _FRESH))
            task = AutoencoderTask(self, crops, engine=engine, seed=seed, validation=validation)
        if self.start is not None:
            task.start(self.start)
        return task
