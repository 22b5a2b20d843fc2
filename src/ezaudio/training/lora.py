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
from ezaudio.training.engine import EngineConfig
from ezaudio.training.lora_sounds import SoundStore
from ezaudio.training.optim import OptimConfig, update
from ezaudio.training.task import Measured, Plan
from ezaudio.training.trainer import RunConfig
from ezaudio.types import TextEmbedding

ADAPTER_NAME = "trained"
_PROMPTS_KEPT = 4096
_CAPTIONS_SHOWN = 20
_VALID_BATCHES = 4
_STATE_BYTES = 16
"""Per parameter: weight, gradient and the two moments of AdamW, in float32."""

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
        rate_width: width of the network that the learning rate is meant for; one of width D gets
            `rate * rate_width / D`. None takes the rate as it is.
        optim: optimiser of the adapter.
        engine: threads; device and precision are those of the model.
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
    rate_width: int | None = Field(default=None, ge=1)
    optim: OptimConfig
    engine: EngineConfig = EngineConfig()
    run: RunConfig


@dataclass(frozen=True)
class LoRAPlan(Plan):
    """What a run would do; `parameters` are those of the frozen network.

    Attributes:
        sounds: to learn from.
        held_out: to measure with.
        seconds: of both.
    """

    sounds: int = 0
    held_out: int = 0
    seconds: float = 0.0


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


class VelocityError:
    """The velocity error of a batch; its draws depend on the seed, the step and the row alone.

    Args:
        parts: the model.
        recipe: shares and weights.
    """

    def __init__(self, parts: Components, recipe: LoRARecipe) -> None:
        self.parts, self.recipe = parts, recipe
        self.encode_text = CachedTextEncoder(parts.text_encoder, capacity=_PROMPTS_KEPT)
        weights = parts.vae.latent_scale.detach()[:, 0] ** recipe.channel_power
        self.channel_root = (weights / weights.mean()).sqrt()[:, None]  # (C, 1)

    def __call__(self, batch: LatentBatch, index: int, seed: int) -> Tensor:
        """Loss of the batch of step `index`, without axes."""
        recipe, schedule = self.recipe, self.parts.schedule
        count, _, frames = batch.x0.shape
        draws = [generator_at(seed, _DRAWS, index, row) for row in range(count)]
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
        regenerate = torch.cat(masks)  # (B, 1, T)
        velocity = self._velocity(x_t, steps, prompts, known=batch.x0, regenerate=regenerate)
        device, root = velocity.device, self.channel_root.to(velocity.device)
        target = velocity_target(batch.x0, noise, steps, schedule).to(device)
        weight = batch.weight.to(device)
        return velocity_loss(
            velocity * root, target * root, regenerate.to(device), frame_weight=weight
        )

    def _velocity(
        self, x_t: Tensor, steps: Tensor, prompts: list[str], *, known: Tensor, regenerate: Tensor
    ) -> Tensor:
        """What the network says, float32 `(B, C, T)` on its device."""
        device, dtype, network = self.parts.device, self.parts.dtype, self.parts.dit
        text = self.encode_text(prompts)
        # clones, which gradients may pass by: the encoders work in inference mode
        text = TextEmbedding(text.tokens.clone(), text.attend.clone())
        velocity: Tensor = network(
            x_t.to(device, dtype),
            steps.to(device),
            network.prepare(text),
            known=known.to(device, dtype),
            regenerate=regenerate.to(device),
        )
        return velocity.float()


class LoRATask:
    """One adapter, fitted step by step.

    Args:
        parts: the model; its network gets the adapter, in place, and is frozen otherwise.
        base: what the model is.
        store: the sounds.
        recipe: how.
        file_name: of the adapter.

    Attributes:
        measured: what `validate` measured last.
        rate: learning rate on the plateau.

    Raises:
        InputError: the network has no such layers.
    """

    def __init__(
        self,
        parts: Components,
        base: Base,
        store: SoundStore,
        recipe: LoRARecipe,
        *,
        file_name: str = "lora.safetensors",
    ) -> None:
        self.file_name, self.measured = file_name, dict[str, float]()
        self.network, self.base, self.store, self.recipe = parts.dit, base, store, recipe
        fresh = generator_at(recipe.run.seed, _FRESH)
        add_adapter(self.network, recipe.lora, name=ADAPTER_NAME, generator=fresh)
        self.parameters = train_only_adapters(self.network)
        self.network.gradient_checkpointing = recipe.gradient_checkpointing
        self.optimizer = recipe.optim.build(self.network)
        wide = 1.0 if recipe.rate_width is None else recipe.rate_width / parts.dit.config.width
        self.rate = recipe.optim.rate * wide
        config = _fitted(recipe.batch, parts.card.max_duration_s)
        self.batches = LatentBatches(store, config, seed=recipe.run.seed)
        held_out = "valid" if any(store.takes("valid").values()) else "train"
        self.validation = LatentBatches(store, config, seed=_VALID, split=held_out)
        self.error = VelocityError(parts, recipe)
        self._base_loss: float | None = None

    def parts(self) -> dict[str, Any]:
        """What a checkpoint keeps, by name."""
        return {
            "identity": Identity(_identity(self.base, self.store, self.recipe)),
            "adapter": AdapterWeights(self.network),
            "optimizer": self.optimizer,
        }

    def step(self, index: int, rate: float) -> Measured:
        """One optimiser step.

        Args:
            index: number of the step, from 0.
            rate: learning rate as a share of the plateau's.
        """
        self.network.train()
        batch = self.batches.batch(index)
        loss = self.error(batch, index, self.recipe.run.seed)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.recipe.optim.clip_norm)
        if torch.isfinite(norm):  # else no weight changes, and the loop says what was seen
            update(self.optimizer, rate=self.rate * rate)
        sound_s = batch.x0.shape[0] * batch.x0.shape[2] / self.store.frame_rate
        return {"loss": loss.detach(), "gradient_norm": float(norm), "sound_s": sound_s}

    def validate(self) -> dict[str, float]:
        """Losses on the same held-out batches, with the adapter and without it."""
        if self._base_loss is None:
            self._base_loss = self._measured(0.0)
        self.measured = {"valid_loss": self._measured(1.0), "base_loss": self._base_loss}
        return dict(self.measured)

    def export(self, folder: Path, *, step: int) -> list[Path]:
        """Write the adapter's file, with what was measured last."""
        facts = {
            "steps": step,
            **{name: round(value, 5) for name, value in self.measured.items()},
            **_facts(self.store),
            "recipe": self.recipe.model_dump(mode="json", exclude={"lora", "engine"}),
        }
        tensors = adapter_state(self.network, ADAPTER_NAME)
        path = folder / self.file_name
        save_adapter(path, Adapter(self.recipe.lora, tensors, self.base, {"training": facts}))
        return [path]

    def plan(self) -> LoRAPlan:
        """What a run would do."""
        trainable = sum(p.numel() for p in self.parameters)
        held_out = sum(row.split == "valid" for row in self.store.rows)
        return LoRAPlan(
            sounds=len(self.store.rows) - held_out,
            held_out=held_out,
            seconds=self.store.seconds,
            parameters=sum(p.numel() for p in self.network.parameters()) - trainable,
            trainable=trainable,
            state_bytes=_STATE_BYTES * trainable,
            steps=self.recipe.run.steps,
        )

    def describe(self, index: int) -> str:
        """Which sounds a step saw."""
        return ", ".join(sorted(set(self.batches.batch(index).ids)))

    @torch.no_grad()
    def _measured(self, strength: float) -> float:
        self.network.eval()
        set_strengths(self.network, {ADAPTER_NAME: strength})
        batches = [self.validation.batch(i) for i in range(_VALID_BATCHES)]
        losses = [float(self.error(batch, i, _VALID)) for i, batch in enumerate(batches)]
        set_strengths(self.network, {ADAPTER_NAME: 1.0})
        return sum(losses) / len(losses)


def _identity(base: Base, store: SoundStore, recipe: LoRARecipe) -> dict[str, str]:
    """What a run depends on; its length and rhythm are left out."""
    values = recipe.model_dump(mode="json", exclude={"run", "engine"})
    sounds = [(r.file, r.split, r.caption, r.captions, r.duration) for r in store.rows]
    digest = hashlib.sha256(json.dumps(sounds).encode()).hexdigest()
    return {
        "model": base.sha256,
        "sounds": f"{len(sounds)} sounds, {digest[:12]}",
        "seed": str(recipe.run.seed),
        **{name: json.dumps(value) for name, value in values.items()},
    }


def _facts(store: SoundStore) -> dict[str, Any]:
    captions = sorted({row.caption for row in store.rows if row.split == "train"})
    return {
        "sounds": len(store.rows),
        "seconds": round(store.seconds, 2),
        "captions": captions[:_CAPTIONS_SHOWN],
    }


def _fitted(config: BatchConfig, max_duration_s: float) -> BatchConfig:
    low, high = (min(seconds, max_duration_s) for seconds in config.duration_s)
    return config.model_copy(update={"duration_s": (low, high)})
