"""Fit a low-rank adapter to a folder of one's own sounds.

The sounds are encoded once by the model's autoencoder. The network is loaded, adapters are put on
its layers, everything else is frozen, and the adapters are fitted to the velocity as in the
training of the model: some prompts are dropped for classifier-free guidance, some rows keep a part
of the sound as context for editing, and the loss counts what is made anew.

Every step is a function of the seed and its number: a run that was killed goes on with the same
losses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from ezaudio.config import Config
from ezaudio.data.batches import LatentBatch, LatentBatches
from ezaudio.data.keys import generator_at, permutation_at
from ezaudio.data.plan import BatchConfig
from ezaudio.diffusion import add_noise, velocity_loss, velocity_target
from ezaudio.dit.lora import (
    LoRAConfig,
    adapter_state,
    add_adapter,
    load_adapter_state,
    set_strengths,
    train_only_adapters,
)
from ezaudio.dit.lora_file import Adapter, Base, save_adapter
from ezaudio.dit.masking import sample_regenerate_mask
from ezaudio.errors import InputError
from ezaudio.pipelines import Components
from ezaudio.text import CachedTextEncoder
from ezaudio.training.lora_sounds import SoundStore
from ezaudio.training.optim import OptimConfig, update
from ezaudio.training.run import RunConfig
from ezaudio.types import TextEmbedding

ADAPTER_NAME = "trained"
_PROMPTS_KEPT = 4096
_CAPTIONS_SHOWN = 20
_VALID_BATCHES = 4
_FRESH, _DRAWS, _ORDER, _VALID = range(31, 35)


class LoRARecipe(Config):
    """Everything that the fitting of an adapter depends on, besides the model and the sounds.

    Attributes:
        lora: the adapter.
        batch: what a step sees; rows are never longer than the model's longest sound.
        text_dropout: share of rows with the empty prompt.
        context_share: share of rows that keep part of the latent.
        channel_power: the error of a channel is weighed by its raw standard deviation to this
            power (mean weight 1).
        step_power: a step is N * u ** step_power with u uniform; below 1, noisier steps, where it
            is decided what is heard, come more often.
        valid_share: share of the sounds that is held out for measuring, where a list does not say.
        gradient_checkpointing: less memory, a third more time.
        optim: optimiser of the adapter.
        run: bounds and rhythm.
    """

    lora: LoRAConfig = LoRAConfig()
    batch: BatchConfig = BatchConfig(seconds=32.0)
    text_dropout: float = Field(default=0.1, ge=0, le=1)
    context_share: float = Field(default=0.2, ge=0, le=1)
    channel_power: float = Field(default=0.0, ge=0)
    step_power: float = Field(default=1.0, gt=0)
    valid_share: float = Field(default=0.1, ge=0, lt=1)
    gradient_checkpointing: bool = False
    optim: OptimConfig
    run: RunConfig


@dataclass(frozen=True)
class LoRAPlan:
    """What a run would do.

    Attributes:
        sounds: to learn from.
        held_out: to measure with.
        seconds: of both.
        parameters: of the network.
        trainable: of the adapter.
        state_bytes: weights, gradients and optimiser of the adapter.
        steps: of the run.
    """

    sounds: int
    held_out: int
    seconds: float
    parameters: int
    trainable: int
    state_bytes: int
    steps: int


class AdapterWeights:
    """The weights of an adapter, as a checkpoint keeps them: without the base.

    Args:
        network: with the adapter.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors, by name."""
        return adapter_state(self.network, ADAPTER_NAME)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy tensors into the adapter."""
        load_adapter_state(self.network, state, ADAPTER_NAME)


class Identity:
    """What a run depends on; a checkpoint of another run is refused.

    Args:
        facts: names to values.
    """

    def __init__(self, facts: Mapping[str, str]) -> None:
        self.facts = dict(facts)

    def state_dict(self) -> dict[str, str]:
        """The facts."""
        return dict(self.facts)

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        """Compare.

        Raises:
            InputError: the run that is to go on was another.
        """
        for name, value in self.facts.items():
            if state.get(name) != value:
                allowed = f"what the unfinished run had, {state.get(name)}"
                raise InputError(name, value, allowed)


class LoRATask:
    """One adapter, fitted step by step.

    Args:
        parts: the model; its network gets the adapter, in place, and is frozen otherwise.
        base: what the model is.
        store: the sounds.
        recipe: how.

    Raises:
        InputError: the network has no such layers.
    """

    def __init__(
        self, parts: Components, base: Base, store: SoundStore, recipe: LoRARecipe
    ) -> None:
        self.parts, self.base, self.store, self.recipe = parts, base, store, recipe
        network, seed = parts.dit, recipe.run.seed
        add_adapter(network, recipe.lora, name=ADAPTER_NAME, generator=generator_at(seed, _FRESH))
        self.parameters = train_only_adapters(network)
        network.gradient_checkpointing = recipe.gradient_checkpointing
        self.optimizer = recipe.optim.build(network)
        config = _fitted(recipe.batch, parts.card.max_duration_s)
        self.batches = LatentBatches(store, config, seed=seed)
        held_out = "valid" if any(store.takes("valid").values()) else "train"
        self.validation = LatentBatches(store, config, seed=_VALID, split=held_out)
        self.encode_text = CachedTextEncoder(parts.text_encoder, capacity=_PROMPTS_KEPT)
        weights = parts.vae.latent_scale.detach()[:, 0] ** recipe.channel_power
        self.channel_root = (weights / weights.mean()).sqrt()[:, None]  # (C, 1)
        self._base_loss: float | None = None

    def parts_to_keep(self) -> dict[str, Any]:
        """What a checkpoint keeps, by name."""
        return {
            "identity": Identity(self._identity()),
            "adapter": AdapterWeights(self.parts.dit),
            "optimizer": self.optimizer,
        }

    def step(self, index: int, rate: float) -> dict[str, float]:
        """One optimiser step.

        Args:
            index: number of the step, from 0.
            rate: learning rate as a share of the plateau's.
        """
        self.parts.dit.train()
        loss = self._loss(self.batches.batch(index), index, self.recipe.run.seed)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.recipe.optim.clip_norm)
        update(self.optimizer, rate=self.recipe.optim.rate * rate)
        return {"loss": float(loss.detach()), "gradient_norm": float(norm)}

    def validate(self) -> dict[str, float]:
        """Losses on the same held-out batches, with the adapter and without it."""
        if self._base_loss is None:
            self._base_loss = self._measured(0.0)
        return {"valid_loss": self._measured(1.0), "base_loss": self._base_loss}

    def export(self, path: Path, *, step: int, measured: Mapping[str, float]) -> None:
        """Write the adapter's file."""
        rows = self.store.rows
        captions = sorted({row.caption for row in rows if row.split == "train"})
        training = {
            "sounds": len(rows),
            "seconds": round(self.store.seconds, 2),
            "captions": captions[:_CAPTIONS_SHOWN],
            "steps": step,
            **{name: round(value, 5) for name, value in measured.items()},
            "recipe": self.recipe.model_dump(mode="json", exclude={"lora"}),
        }
        tensors = adapter_state(self.parts.dit, ADAPTER_NAME)
        save_adapter(path, Adapter(self.recipe.lora, tensors, self.base, {"training": training}))

    def plan(self) -> LoRAPlan:
        """What a run would do."""
        trainable = sum(p.numel() for p in self.parameters)
        held_out = sum(row.split == "valid" for row in self.store.rows)
        total = sum(p.numel() for p in self.parts.dit.parameters())
        return LoRAPlan(
            sounds=sum(row.split == "train" for row in self.store.rows),
            held_out=held_out,
            seconds=self.store.seconds,
            parameters=total - trainable,
            trainable=trainable,
            state_bytes=16 * trainable,
            steps=self.recipe.run.steps,
        )

    def describe(self, index: int) -> str:
        """Which sounds a step saw."""
        batch = self.batches.batch(index)
        return ", ".join(sorted(set(batch.ids)))

    def _identity(self) -> dict[str, str]:
        """Everything but the length and the rhythm of the run."""
        recipe = self.recipe.model_dump(mode="json", exclude={"run"})
        sounds = [(r.file, r.split, r.caption, r.captions, r.duration) for r in self.store.rows]
        digest = hashlib.sha256(json.dumps(sounds).encode()).hexdigest()
        return {
            "model": self.base.sha256,
            "sounds": f"{len(sounds)} sounds, {digest[:12]}",
            "seed": str(self.recipe.run.seed),
            **{name: json.dumps(value) for name, value in recipe.items()},
        }

    @torch.no_grad()
    def _measured(self, strength: float) -> float:
        network = self.parts.dit.eval()
        set_strengths(network, {ADAPTER_NAME: strength})
        batches = [self.validation.batch(i) for i in range(_VALID_BATCHES)]
        losses = [float(self._loss(batch, i, _VALID)) for i, batch in enumerate(batches)]
        set_strengths(network, {ADAPTER_NAME: 1.0})
        return sum(losses) / len(losses)

    def _loss(self, batch: LatentBatch, index: int, seed: int) -> Tensor:
        """Velocity error of a batch; its draws depend on the seed, the step and the row alone."""
        recipe, schedule = self.recipe, self.parts.schedule
        rows, (count, _, frames) = range(len(batch.x0)), batch.x0.shape
        draws = [generator_at(seed, _DRAWS, index, row) for row in rows]
        noise = torch.stack([torch.randn(batch.x0.shape[1:], generator=g) for g in draws])
        uniform = torch.stack([torch.rand(2, generator=g) for g in draws])  # (B, 2)
        full = 1 - recipe.context_share
        masks = [
            sample_regenerate_mask(1, frames, full_probability=full, generator=g) for g in draws
        ]
        # one step in each of B equally likely parts of the range, in random order
        slots = torch.from_numpy(permutation_at(count, seed, _ORDER, index)) + uniform[:, 0]
        share = (slots / count) ** recipe.step_power
        steps = (share * schedule.num_steps).long().clamp(max=schedule.num_steps - 1)
        dropped = (uniform[:, 1] < recipe.text_dropout).tolist()
        prompts = ["" if drop else p for drop, p in zip(dropped, batch.prompts, strict=True)]
        x_t = add_noise(batch.x0, noise, steps, schedule)
        target = velocity_target(batch.x0, noise, steps, schedule)
        return self._error(x_t, steps, prompts, batch, target, torch.cat(masks))

    def _error(
        self, x_t: Tensor, steps: Tensor, prompts: list[str], batch: LatentBatch, target: Tensor,
        regenerate: Tensor,
    ) -> Tensor:  # fmt: skip
        device, dtype, network = self.parts.device, self.parts.dtype, self.parts.dit
        regenerate = regenerate.to(device)
        velocity = network(
            x_t.to(device, dtype),
            steps.to(device),
            network.prepare(self._text(prompts)),
            known=batch.x0.to(device, dtype),
            regenerate=regenerate,
        )
        root = self.channel_root.to(device)
        return velocity_loss(
            velocity.float() * root,
            target.to(device) * root,
            regenerate,
            frame_weight=batch.weight.to(device),
        )

    def _text(self, prompts: list[str]) -> TextEmbedding:
        """Encoded prompts that gradients may pass by: the encoders work in inference mode."""
        text = self.encode_text(prompts)
        return TextEmbedding(text.tokens.clone(), text.attend.clone())


def _fitted(config: BatchConfig, max_duration_s: float) -> BatchConfig:
    low, high = (min(seconds, max_duration_s) for seconds in config.duration_s)
    return config.model_copy(update={"duration_s": (low, high)})
