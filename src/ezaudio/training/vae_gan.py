"""Train an autoencoder against a discriminator (paper, section 2.1).

The generator (the autoencoder) is paid for the distance of its output from the recording, for the
information in its latent and, from `adversary_from` on, for what the discriminator says: the
adversarial loss and the distance of the discriminator's inner maps. Before, the discriminator does
not exist for it, since an output that is still noise teaches neither of them anything.

With a frozen encoder the decoder alone is trained: latents that were cached and diffusion models
that were trained on them stay valid. Sound comes first, detail second: a spectral stage for both
ends, then an adversarial one for the decoder (RAVE, arXiv:2111.05011, section 3.2).

Everything random in a step follows from (seed, step, row of the global batch).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ezaudio.checkpoints import load_module, save_module
from ezaudio.config import Config
from ezaudio.data.crops import CropConfig, WaveformBatches
from ezaudio.data.keys import generator_at
from ezaudio.data.waveforms import WaveformStore
from ezaudio.errors import InputError
from ezaudio.training.engine import Engine
from ezaudio.training.opponent import Opponent, descend
from ezaudio.training.optim import OptimConfig, WeightAverage
from ezaudio.training.reconstruction import forward_cost, listen, measure
from ezaudio.training.run import RunConfig
from ezaudio.training.task import Heard, Measured, Plan
from ezaudio.vae import Posterior, VaeConfig
from ezaudio.vae.discriminators import DiscriminatorConfig, MultiStftDiscriminatorConfig
from ezaudio.vae.losses import GeneratorLoss, LossConfig
from ezaudio.vae.model import Autoencoder

_NOISE = 31
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


class VaeGanConfig(Config):
    """Everything that the training of an autoencoder depends on, but the sounds.

    Attributes:
        model: Autoencoder.
        discriminator: Discriminator.
        losses: What the generator is paid for.
        adversary_from: First step with a discriminator.
        divergence_warmup_steps: Steps over which the weight of the divergence rises from 0.
        turns: Name in `TURNS`.
        frozen_encoder: Train the decoder alone.
        ema: Decay of the weight average that is measured and exported.
        generator, discriminator_optim: Optimisers.
    """

    model: VaeConfig
    discriminator: DiscriminatorConfig = MultiStftDiscriminatorConfig()
    losses: LossConfig = LossConfig()
    adversary_from: int = Field(0, ge=0)
    divergence_warmup_steps: int = Field(0, ge=0)
    turns: Literal["alternate", "both"] = "alternate"
    frozen_encoder: bool = False
    ema: float = Field(0.999, ge=0, lt=1)
    generator_optim: OptimConfig
    discriminator_optim: OptimConfig


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

    def forward(self, wave: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Waveform (B, 1, S) and noise (B, C, T) -> output (B, 1, S), mean and std (B, C, T)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_encoder):
            posterior = self.vae.encode(wave)
        latent = posterior.mean + posterior.std * noise
        output = self.vae.decode(latent)[..., : wave.shape[-1]]
        return output, posterior.mean, posterior.std


def row_noise(shape: tuple[int, int], rows: range, *, seed: int, index: int) -> Tensor:
    """Standard normal noise, (rows, *shape), that follows from seed, step and row alone."""
    keys = [(seed, _NOISE, index, row) for row in rows]
    return torch.stack([torch.randn(shape, generator=generator_at(*key)) for key in keys])


class VaeGanTask:
    """Alternating updates of an autoencoder and its discriminator.

    Args:
        config: Settings.
        crops: Waveforms to train on.
        engine: Where it runs.
        seed: Of the noise in the latent.
        validation: This rank's waveforms to measure on, (B, 1, S) each.

    Attributes:
        vae, opponent: The two players.
        average: Weight average of the autoencoder, which is measured and exported.
    """

    def __init__(
        self,
        config: VaeGanConfig,
        crops: Crops,
        *,
        engine: Engine,
        seed: int,
        validation: Sequence[Tensor] = (),
    ) -> None:
        if engine.sharded:
            allowed = "none: an autoencoder fits every process whole"
            raise InputError("engine.sharding", engine.config.sharding, allowed)
        self.config, self.crops, self.engine, self.seed = config, crops, engine, seed
        self.validation = validation
        self.vae = config.model.build().to(engine.device)
        coder = Coder(self.vae, frozen_encoder=config.frozen_encoder)
        self._coder = engine.prepare(coder)
        self.opponent = Opponent(
            config.discriminator.build(), config.losses, config.discriminator_optim, engine
        )
        self.average = WeightAverage(self.vae, config.ema)
        self.optimizer = config.generator_optim.build(self.vae)
        self._loss = GeneratorLoss(config.losses, self.vae.sample_rate).to(engine.device)

    def start(self, tensors: Mapping[str, Tensor]) -> None:
        """Begin from the weights of an autoencoder, those of the average too."""
        for model in (self.vae, self.average.model):
            model.load_state_dict(tensors)

    def parts(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "autoencoder": self.vae,
            "average": self.average,
            "discriminator": self.opponent.network,
            "autoencoder_optimizer": self.optimizer,
            "discriminator_optimizer": self.opponent.optimizer,
        }

    def turn(self, index: int) -> Turn:
        """Who learns in a step."""
        start = self.config.adversary_from
        return TURNS[self.config.turns](index - start) if index >= start else Turn(True, False)

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
        measured: Measured = {"sound_s": wave.shape[0] * wave.shape[-1] / self.vae.sample_rate}
        if turn.discriminator:
            measured |= self.opponent.learn(wave, output.detach(), rate)
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
            recipe = self.config.model_dump(mode="json", include=set(VaeGanConfig.model_fields))
            facts = {"step": step, "recipe": recipe}  # and not where things lay on this machine
            tensors = self.average.model.state_dict()
            save_module(path, tensors, kind="vae", config=self.config.model, extra=facts)
        return [path]

    def plan(self) -> Plan:
        """Count weights, and estimate the cost of a step by one row that is not computed."""
        rows, _, samples = self.crops.batch(0).shape
        latent = (1, self.vae.latent_channels, self.vae.frames(samples))
        coder = Coder(self.vae, frozen_encoder=self.config.frozen_encoder)
        made, kept = forward_cost(coder, (1, 1, samples), latent)
        judged, kept_to_judge = forward_cost(self.opponent.network, (1, 1, samples))
        learning = 3 * made + 3 * judged  # forward, and twice that on the way back
        judging = made + 6 * judged  # recordings and outputs
        both = 3 * made + 9 * judged
        step = both if self.config.turns == "both" else (learning + judging) / 2
        networks = self.vae, self.opponent.network
        counts = [sum(p.numel() for p in network.parameters()) for network in networks]
        trained = sum(p.numel() for n in networks for p in n.parameters() if p.requires_grad)
        weights = 2 * counts[0] + counts[1] + 3 * trained  # average; gradients and two moments
        return Plan(
            parameters=sum(counts),
            trainable=trained,
            state_bytes=4 * weights * self.engine.world,
            activation_bytes=rows * (kept + kept_to_judge),
            step_flops=rows * self.engine.world * step,
            notes={"batch": f"{rows * self.engine.world} x {samples / self.vae.sample_rate:g} s"},
        )

    def describe(self, index: int) -> str:
        """Which clips a step saw."""
        return ", ".join(self.crops.ids(index))

    def _reconstruct(self, wave: Tensor, index: int) -> tuple[Tensor, Posterior]:
        rows = wave.shape[0]
        first = self.engine.rank * rows
        shape = (self.vae.latent_channels, self.vae.frames(wave.shape[-1]))
        noise = row_noise(shape, range(first, first + rows), seed=self.seed, index=index)
        output, mean, std = self._coder(wave, noise.to(wave.device))
        return output, Posterior(mean, std)

    def _learn(
        self, wave: Tensor, output: Tensor, posterior: Posterior, *, index: int, rate: float
    ) -> Measured:
        warm = min(1.0, (index + 1) / max(1, self.config.divergence_warmup_steps))
        loss, terms = self._loss(output, wave, posterior, divergence_share=warm)
        if index >= self.config.adversary_from:
            opinion, parts = self.opponent.opinion(wave, output)
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


class VaeGanRecipe(VaeGanConfig):
    """A run: what is trained, on what, from where.

    Attributes:
        waveforms: Folder of a `WaveformStore`.
        crops: What a batch is made of.
        validation_batches: Batches of the split `valid` that are measured; 0 measures nothing.
        start: Autoencoder to begin from; a frozen encoder is worth nothing without one.
        output: Folder of the run.
        run: Its bounds and rhythm.
    """

    waveforms: Path
    crops: CropConfig = CropConfig()
    validation_batches: int = Field(8, ge=0)
    start: Path | None = None
    output: Path
    run: RunConfig

    @model_validator(mode="after")
    def _windows_fit(self) -> VaeGanRecipe:
        longest = max(*self.discriminator.n_ffts, *self.losses.reconstruction.n_ffts)
        if self.crops.crop_s * self.model.sample_rate < longest:
            raise ValueError(f"crops at least as long as the longest window, {longest} samples")
        return self

    def build(self, engine: Engine) -> VaeGanTask:
        """Open the sounds and build both players.

        Raises:
            InputError: The sounds have another rate than the autoencoder, or a split is empty.
            CheckpointError: `start` cannot be read, or is no autoencoder.
        """
        store, seed = WaveformStore(self.waveforms), self.run.seed
        if store.sample_rate != self.model.sample_rate:
            allowed = f"sounds at the autoencoder's {self.model.sample_rate} Hz"
            raise InputError("waveforms", store.sample_rate, allowed)
        rank, world = engine.rank, engine.world
        crops = WaveformBatches(store, self.crops, seed=seed, rank=rank, world=world)
        validation: list[Tensor] = []
        if self.validation_batches:
            plain = self.crops.model_copy(update=_PLAIN)
            valid = WaveformBatches(store, plain, seed=0, rank=rank, world=world, split="valid")
            validation = [valid.batch(index) for index in range(self.validation_batches)]
        torch.manual_seed(seed)
        task = VaeGanTask(self, crops, engine=engine, seed=seed, validation=validation)
        if self.start is not None:
            task.start(load_module(self.start, kind="vae").tensors)
        return task
