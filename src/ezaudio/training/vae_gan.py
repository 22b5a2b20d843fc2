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

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from ezaudio.audio_distance import distances
from ezaudio.checkpoints import save_module
from ezaudio.config import Config
from ezaudio.training.optim import OptimConfig, WeightAverage, update
from ezaudio.vae import Posterior, VaeConfig
from ezaudio.vae.discriminators import DiscriminatorConfig, MultiStftDiscriminatorConfig
from ezaudio.vae.losses import (
    ADVERSARIES,
    GeneratorLoss,
    LossConfig,
    feature_matching,
)
from ezaudio.vae.model import Autoencoder

Measured: TypeAlias = dict[str, Tensor | float]
"""What a step found out, by name."""

_SILENT = 1e-4


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


class Engine(Protocol):
    """Where a task runs: one process or many."""

    @property
    def rank(self) -> int:
        """Which process this is."""

    @property
    def device(self) -> torch.device:
        """Where its tensors lie."""

    def prepare(self, module: nn.Module) -> nn.Module:
        """Wrap a module so that its gradients are averaged over processes."""

    def backward(self, loss: Tensor) -> None:
        """Compute gradients."""

    def clip(self, module: nn.Module, norm: float) -> float:
        """Bound the norm of the gradients; give what it was."""

    def mean(self, values: dict[str, Tensor | float]) -> dict[str, float]:
        """Average over processes."""


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


@contextmanager
def held(module: nn.Module) -> Iterator[None]:
    """Let gradients pass through a module and leave none in its weights."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def row_noise(shape: tuple[int, int], rows: range, *, seed: int, index: int) -> Tensor:
    """Standard normal noise, (rows, *shape), that follows from seed, step and row alone."""
    drawn = []
    for row in rows:
        (word,) = np.random.SeedSequence([seed, index, row]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(word) >> 1)
        drawn.append(torch.randn(shape, generator=generator))
    return torch.stack(drawn)


class Opponent:
    """The discriminator with its optimiser.

    Args:
        config: Settings.
        engine: Where it runs.
    """

    def __init__(self, config: VaeGanConfig, engine: Engine) -> None:
        self.weights, self.optim, self.engine = (
            config.losses.weights,
            config.discriminator_optim,
            engine,
        )
        self.game = ADVERSARIES[config.losses.adversary]
        self.network = config.discriminator.build().to(engine.device)
        self._judge = engine.prepare(self.network)
        self.optimizer = self.optim.build(self.network)

    def learn(self, wave: Tensor, output: Tensor, rate: float) -> Measured:
        """One step towards telling recordings (B, 1, S) from outputs (B, 1, S)."""
        logits, _ = self._judge(torch.cat([wave, output]))
        real, fake = ([x.float() for x in part] for part in zip(*map(_halves, logits), strict=True))
        loss = self.game.discriminator(real, fake)
        self.engine.backward(loss)
        norm = self.engine.clip(self.network, self.optim.clip_norm)
        update(self.optimizer, rate=self.optim.rate * rate)
        return {
            "loss": loss.detach(),
            "discriminator": loss.detach(),
            "logit_real": torch.stack([x.detach().mean() for x in real]).mean(),
            "logit_output": torch.stack([y.detach().mean() for y in fake]).mean(),
            "discriminator_gradient_norm": norm,
        }

    def opinion(self, wave: Tensor, output: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum of what the generator is paid for by the discriminator, and its parts."""
        with held(self.network):
            with torch.no_grad():
                _, real_maps = self.network(wave)
            logits, maps = self.network(output)
            terms = {
                "adversarial": self.game.generator([x.float() for x in logits]),
                "feature": feature_matching(real_maps, maps).float(),
            }
        weights = self.weights
        total = weights.adversarial * terms["adversarial"] + weights.feature * terms["feature"]
        return total, terms


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
        self.config, self.crops, self.engine, self.seed = config, crops, engine, seed
        self.validation = validation
        self.vae = config.model.build().to(engine.device)
        coder = Coder(self.vae, frozen_encoder=config.frozen_encoder)
        self._coder = engine.prepare(coder)
        self.opponent = Opponent(config, engine)
        self.average = WeightAverage(self.vae, config.ema)
        self.optimizer = config.generator_optim.build(self.vae)
        self._loss = GeneratorLoss(config.losses, self.vae.sample_rate).to(engine.device)

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
        measured: Measured = {}
        if turn.discriminator:
            measured |= self.opponent.learn(wave, output.detach(), rate)
        if turn.generator:
            measured |= self._learn(wave, output, posterior, index=index, rate=rate)
        return measured

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Losses and distances of the averaged autoencoder, without noise in the latent."""
        found: dict[str, list[float]] = defaultdict(list)
        for batch in self.validation:
            wave = batch.to(self.engine.device)
            posterior = self.average.model.encode(wave)
            output = self.average.model.decode(posterior.mode)[..., : wave.shape[-1]]
            loss, terms = self._loss(output, wave, posterior)
            terms |= {"loss": loss, "latent_std": posterior.mean.std()}
            for name, value in terms.items():
                found[name].append(float(value))
            for name, values in _distances(wave, output, self.vae.sample_rate).items():
                found[name].extend(values)
        return self.engine.mean({name: float(np.mean(values)) for name, values in found.items()})

    def export(self, folder: Path, *, step: int) -> list[Path]:
        """Write the averaged autoencoder as `vae.safetensors`."""
        path = folder / "vae.safetensors"
        facts = {"step": step, "recipe": self.config.model_dump(mode="json")}
        tensors = self.average.model.state_dict()
        save_module(path, tensors, kind="vae", config=self.config.model, extra=facts)
        return [path]

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
        update(self.optimizer, rate=optim.rate * rate)
        self.average.update(self.vae)
        return {
            "loss": loss.detach(),
            **{name: value.detach() for name, value in terms.items()},
            "latent_std": posterior.mean.detach().std(),
            "posterior_std": posterior.std.detach().mean(),
            "gradient_norm": norm,
        }


def _halves(both: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of recordings and of outputs, which were judged together."""
    real, fake = both.chunk(2)
    return real, fake


def _distances(wave: Tensor, output: Tensor, sample_rate: int) -> dict[str, list[float]]:
    """Distances of the rows (B, 1, S) that are not silent."""
    pairs = zip(wave[:, 0].cpu().numpy(), output[:, 0].float().cpu().numpy(), strict=True)
    rows = [asdict(distances(x, y, sample_rate)) for x, y in pairs if np.abs(x).max() > _SILENT]
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
