"""Train a diffusion transformer on cached latents: any stage, by one task.

A step takes a batch of latents, hides frames, adds noise, and fits the velocity where frames are
hidden (paper, section 2.3). What is hidden, whether there is text, and where the weights come from
is the stage's: a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ezaudio.checkpoints import load_module, save_module
from ezaudio.data.batches import BatchConfig, LatentBatch, LatentBatches
from ezaudio.data.keys import seed_at
from ezaudio.data.latents import LatentStore
from ezaudio.data.prefetch import Prefetch
from ezaudio.data.scenes import LatentSource
from ezaudio.data.texts import EncodedPrompts, TextStore
from ezaudio.diffusion import zero_snr_schedule
from ezaudio.dit import DiTConfig, EzAudioDiT
from ezaudio.dit.growth import load_of_fewer_channels, load_without_text
from ezaudio.errors import InputError
from ezaudio.nn.loading import load_state
from ezaudio.text import CachedTextEncoder
from ezaudio.training.loop.distributed import Engine, whole
from ezaudio.training.loop.ema import Averages
from ezaudio.training.loop.optim import update
from ezaudio.training.loop.task import Heard, Measured, Plan
from ezaudio.training.tasks.compiling import compile_blocks
from ezaudio.training.tasks.corruption import Place, draw, level_of
from ezaudio.training.tasks.plan import plan_stage
from ezaudio.training.tasks.samples import SampleMaker, listening_vae
from ezaudio.training.tasks.stages import DataConfig, FitConfig, StageConfig, TextConfig
from ezaudio.training.tasks.velocity import Rows, VelocityError, noised

Adapt = Callable[[EzAudioDiT], None]
"""Changes a network in place before its optimiser is built: adapters, frozen parts."""

_FRESH, _STEP = 51, 52
_VALID_SEED = 53
_PROMPTS_KEPT = 65536


@dataclass(frozen=True)
class Material:
    """What a network is fitted with, in memory.

    Attributes:
        network: To be trained, in place.
        store: Latents to learn from.
        batch: What a batch of them is made of.
        scale: Standard deviation of each raw channel, (C,).
        encoder: Of the prompts; None for a network that reads none.
        listener: Plays fixed prompts; None where nothing is to be heard.
        held_out: Split that is measured, where it has clips.
    """

    network: EzAudioDiT
    store: LatentSource
    batch: BatchConfig
    scale: Tensor
    encoder: EncodedPrompts | None = None
    listener: SampleMaker | None = None
    held_out: str = "valid"


class Sounds:
    """Batches of a stage, ready for the network.

    Args:
        material: Latents and prompts.
        stage: What is drawn.
        engine: Which rows are this process's.
        measuring: Draw the held-out clips, alike in every run.
    """

    def __init__(
        self, material: Material, stage: FitConfig, engine: Engine, *, measuring: bool
    ) -> None:
        self.measuring = measuring
        self.seed = _VALID_SEED if measuring else stage.run.seed
        self.store, self.encoder = material.store, material.encoder
        self.stage, self.engine = stage, engine
        self.schedule = zero_snr_schedule()
        split, config = material.held_out if measuring else "train", material.batch
        if measuring and not any(map(len, self.store.takes(split, mixed=True).values())):
            config = config.model_copy(update={"mixed_share": 0.0})
        self.batches = LatentBatches(
            self.store, config, seed=self.seed, rank=engine.rank, world=engine.world, split=split
        )

    def rows(self, index: int) -> Rows:
        """This process's rows of batch `index`, on the CPU."""
        batch: LatentBatch = self.batches.batch(index)
        drawn = draw(
            batch, self.stage.draws, self.place(index),
            num_steps=self.schedule.num_steps, frame_rate=self.store.frame_rate,
        )  # fmt: skip
        rows = noised(
            batch.x0, drawn.noise, drawn.steps, self.schedule,
            weight=batch.weight, hide=drawn.regenerate,
        )  # fmt: skip
        if self.encoder is None:
            return rows
        text = self.encoder(drawn.prompts)
        return rows._replace(tokens=text.tokens, attend=text.attend)

    def place(self, index: int) -> Place:
        """Which rows they are."""
        levels = self.stage.valid.levels if self.measuring else None
        return Place(self.seed, index, self.engine.rank, self.engine.world, levels)

    def levels(self, index: int) -> Tensor:
        """Noise level of each of this process's rows of a batch that is measured, (B,)."""
        place, size = self.place(index), self.batches.shape(index)[0]
        own = size // place.world
        rows = range(place.rank * own, (place.rank + 1) * own)
        return torch.tensor([level_of(row, size, place) for row in rows])


class Choice:
    """Losses of the averages at the last validation, and which one is best."""

    def __init__(self) -> None:
        self.losses: dict[str, float] = {}

    def best(self, names: tuple[str, ...]) -> str:
        """The average that measured best; the first one before anything was measured."""
        known = [name for name in names if name in self.losses]
        return min(known, key=self.losses.__getitem__) if known else names[0]

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return dict(self.losses)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take it back."""
        self.losses = dict(state)


class DiffusionTask:
    """The training of an EzAudio-DiT, or of a part of it.

    Args:
        material: Network, latents, prompts.
        stage: What is trained, and how.
        engine: Where it runs.
        adapt: Changes the network before its optimiser is built.

    Raises:
        InputError: The data cannot be used.
    """

    file_name = "dit.safetensors"
    """Of the average that measured best; the others are named after it."""

    def __init__(
        self, material: Material, stage: FitConfig, engine: Engine, *, adapt: Adapt | None = None
    ) -> None:
        self.stage, self.engine, self.store = stage, engine, material.store
        self.train = Sounds(material, stage, engine, measuring=False)
        self.valid = None
        held_out = self.store.takes(material.held_out)
        if stage.valid.batches and any(map(len, held_out.values())):
            self.valid = Sounds(material, stage, engine, measuring=True)
        self.rows = Prefetch(self.train.rows, stage.compute.prefetch, last=stage.run.steps)
        self.network, self.model = material.network, material.network.config
        if adapt is not None:
            adapt(self.network)
        self.network.gradient_checkpointing = stage.compute.gradient_checkpointing
        weights = material.scale**stage.loss.channel_power
        error = VelocityError(self.network, weights / weights.mean(), min_snr=stage.loss.min_snr)
        compile_blocks(self.network, stage.compute.compile)
        self.error = engine.prepare(error)
        self.averages = Averages(self.error, stage.averages)
        self.optimizer = stage.optim.build(self.error)
        self.choice = Choice()
        self.listener = material.listener

    def parts(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "network": self.network,
            "averages": self.averages,
            "optimizer": self.optimizer,
            "choice": self.choice,
        }

    def step(self, index: int, rate: float) -> Measured:
        """Make one optimiser step."""
        self.error.train()
        if self.model.dropout:
            torch.manual_seed(seed_at(self.stage.run.seed, _STEP, index, self.engine.rank))
        rows = self.rows(index)
        total = float(self.engine.total(rows.weight.sum()))  # of all processes
        frames = rows.x0.shape[0] * rows.x0.shape[2]
        share = self.engine.world / max(total, 1e-6)  # gradients are averaged over processes
        parts = rows.to(self.engine.device).split(self.stage.compute.micro_rows)
        losses = []
        for part in parts:
            with self.engine.accumulating(self.error, last=part is parts[-1]):
                loss = self.error(part).sum() * share
                self.engine.backward(loss)
            losses.append(loss.detach())
        norm = self.engine.clip(self.error, self.stage.optim.clip_norm)
        if math.isfinite(norm):
            update(self.optimizer, rate=self.stage.optim.rate * rate)
            self.averages.update(index)
        else:
            self.optimizer.zero_grad(set_to_none=True)
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        sound_s = frames / self.store.frame_rate
        return {"loss": loss, "gradient_norm": norm, "sound_s": sound_s}

    def validate(self) -> dict[str, float]:
        """Losses of every average, and of the best one by noise level."""
        if self.valid is None:
            return {}
        found = {name: self.levels(name) for name in self.averages.names}
        self.choice.losses = {name: _mean(sums) for name, sums in found.items()}
        best = self.choice.best(self.averages.names)
        span = self.train.schedule.num_steps / self.stage.valid.levels
        by_level = (found[best][0] / found[best][1].clamp_min(1e-6)).tolist()
        return {
            "valid_loss": self.choice.losses[best],
            **{f"valid_loss_{name}": loss for name, loss in self.choice.losses.items()},
            **{f"valid_loss_t{round((i + 0.5) * span):03d}": x for i, x in enumerate(by_level)},
        }

    def listen(self) -> list[Heard]:
        """Sounds of fixed prompts, by the average that measured best."""
        if self.listener is None or not (self.engine.main or self.engine.sharded):
            return []
        with self._as(self.choice.best(self.averages.names)), self.engine.autocast():
            return self.listener(self.network.eval(), self.engine.device)

    def export(self, folder: Path, *, step: int) -> list[Path]:
        """Write every average; the one that measured best gets the plain name."""
        best, plain = self.choice.best(self.averages.names), Path(self.file_name)
        paths = []
        for name in sorted(self.averages.names, key=lambda name: name != best):
            path = folder / (plain.name if name == best else f"{plain.stem}-{name}{plain.suffix}")
            with self._as(name):  # what it puts there is gone afterwards
                tensors = {key: whole(x).clone() for key, x in self.weights().items()}
            if self.engine.main:
                facts: dict[str, Any] = {"step": step, "average": name}
                if name in self.choice.losses:
                    facts["valid_loss"] = round(self.choice.losses[name], 6)
                self.save(path, tensors, facts)
            paths.append(path)
        return paths

    def weights(self) -> dict[str, Tensor]:
        """What is exported, by name."""
        return dict(self.network.state_dict())

    def save(self, path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Write exported weights, with what is known of them."""
        extra = {**facts, "stage": fit_facts(self.stage)}
        save_module(path, tensors, kind="dit", config=self.model, extra=extra)

    def plan(self) -> Plan:
        """Say what the stage takes."""
        assert isinstance(self.stage, StageConfig)
        return plan_stage(self.model, self.stage, self.engine.world)

    def describe(self, index: int) -> str:
        """Which clips this process's rows of a step are."""
        return ", ".join(dict.fromkeys(self.train.batches.batch(index).ids))

    def _as(self, name: str) -> AbstractContextManager[None]:
        return self.averages.applied(name)

    def loss_of(self, name: str) -> float:
        """Loss of an average on the held-out clips."""
        return _mean(self.levels(name))

    @torch.no_grad()
    def levels(self, name: str) -> Tensor:
        """Sums of errors and of weights by noise level, over all processes: (2, levels)."""
        assert self.valid is not None
        self.error.eval()
        sums = torch.zeros(2, self.stage.valid.levels, dtype=torch.float64)
        with self._as(name):
            for index in range(self.stage.valid.batches):
                rows, levels = self.valid.rows(index), self.valid.levels(index)
                parts = rows.to(self.engine.device).split(self.stage.compute.micro_rows)
                errors = torch.cat([self.error(part) for part in parts]).double().cpu()
                sums[0].index_add_(0, levels, errors)
                sums[1].index_add_(0, levels, rows.weight.sum(dim=(1, 2)).double())
        return self.engine.total(sums).cpu()


def load_material(
    model: DiTConfig,
    text: TextConfig,
    stage: StageConfig,
    engine: Engine,
    *,
    start: Path | None = None,
) -> Material:
    """Open the latents of a stage, and build its network and its text encoder.

    Args:
        model: Network; a stage without text takes it without its cross-attention.
        text: Text encoder, frozen.
        stage: What is trained, and how.
        engine: Where it runs.
        start: Checkpoint to begin from, with or without text.

    Raises:
        InputError: The data cannot be used.
        CheckpointError: The start or the autoencoder is damaged, or does not fit.
    """
    model = model if stage.text else model.model_copy(update={"text_width": None})
    store = open_latents(stage.data, model)
    encoder = prompt_encoder(stage.data, text, model, engine) if stage.text else None
    network = fresh_network(model, seed=stage.run.seed)
    if start is not None:
        load_start(network, start)
    listener = None
    if stage.listen is not None:
        vae = listening_vae(stage.listen, shift=store.shift, scale=store.scale)
        listener = SampleMaker(stage.listen, vae, encoder, zero_snr_schedule())
    return Material(network, store, stage.data.batch, store.scale, encoder, listener)


def open_latents(data: DataConfig, model: DiTConfig) -> LatentStore:
    """Open the latents, and check that the network takes them."""
    store = LatentStore(data.latents, spread=data.spread)
    if store.channels != model.latent_channels:
        allowed = f"{store.channels}, as the latents in {data.latents} have"
        raise InputError("model.latent_channels", model.latent_channels, allowed)
    return store


def prompt_encoder(
    data: DataConfig, text: TextConfig, model: DiTConfig, engine: Engine
) -> EncodedPrompts:
    """What turns prompts into token vectors, each of them once."""
    encoder = text.build().to(engine.device)
    if encoder.width != model.text_width:
        raise InputError("model.text_width", model.text_width, f"{encoder.width}, as the text's")
    known = None if data.texts is None else TextStore(data.texts)
    return EncodedPrompts(known, CachedTextEncoder(encoder, capacity=_PROMPTS_KEPT))


def fresh_network(model: DiTConfig, *, seed: int) -> EzAudioDiT:
    """A network whose weights follow from the seed; the global generator is left as it was."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed_at(seed, _FRESH))
        return model.build()


def load_start(network: EzAudioDiT, path: Path) -> None:
    """Begin from a checkpoint; what it lacks adds nothing at first.

    One without text grows cross-attention, one of fewer latent channels grows the others.

    Raises:
        CheckpointError: It is damaged, or of another network.
    """
    loaded = load_module(path, kind="dit")
    tensors = {name: tensor.float() for name, tensor in loaded.tensors.items()}
    without_text = loaded.config.get("text_width") is None
    if without_text and network.config.text_width is not None:
        load_without_text(network, tensors)
    elif loaded.config.get("latent_channels", 0) < network.config.latent_channels:
        load_of_fewer_channels(network, tensors)
    else:
        load_state(network, tensors, path)


def fit_facts(stage: FitConfig) -> dict[str, Any]:
    """What weights say of the stage they come from: everything but the places on one machine."""
    return stage.model_dump(
        mode="json",
        exclude={"start": True, "listen": True, "data": {"latents", "texts"}},
    )


def _mean(sums: Tensor) -> float:
    return float(sums[0].sum() / sums[1].sum().clamp_min(1e-6))
