"""Fit a low-rank adapter to a folder of one's own sounds.

It is the training of the model (`ezaudio.training.tasks.diffusion`) with two differences: the
sounds are encoded once by the model's autoencoder and stay in memory, and `adapt` puts adapters on
the layers of the network and freezes everything else. Some prompts are dropped for classifier-free
guidance, some rows keep a part of the sound as context for editing, and the loss counts what is
made anew.

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

from pydantic import Field
from torch import Tensor, nn

from ezaudio.data.batches import BatchConfig
from ezaudio.data.keys import generator_at
from ezaudio.data.texts import EncodedPrompts
from ezaudio.dit import EzAudioDiT
from ezaudio.dit.lora import (
    LoRAConfig,
    adapter_state,
    add_adapter,
    load_adapter_state,
    set_strengths,
    train_only_adapters,
)
from ezaudio.dit.lora_file import Adapter, Base, save_adapter
from ezaudio.pipelines import Components
from ezaudio.text import CachedTextEncoder
from ezaudio.training.loop.checkpointing import Identity
from ezaudio.training.loop.distributed import Engine, EngineConfig
from ezaudio.training.loop.ema import PRESENT
from ezaudio.training.loop.task import Plan
from ezaudio.training.lora_sounds import SoundStore
from ezaudio.training.tasks.diffusion import DiffusionTask, Material
from ezaudio.training.tasks.samples import SampleMaker
from ezaudio.training.tasks.stages import FitConfig, PlayConfig

ADAPTER_NAME = "trained"
_PROMPTS_KEPT = 4096
_CAPTIONS_SHOWN = 20
_CAPTIONS_HEARD = 3
_COPIES = 4
"""Of the adapter's weights, in float32: weights, gradients, two moments; averages come on top."""

_FRESH = 31


class HeardConfig(PlayConfig):
    """What is played while an adapter is trained, at `run.listen_every`.

    Attributes:
        prompts: What is to be heard; the first captions of the sounds when left out.
    """

    prompts: tuple[str, ...] = ()


class LoRARecipe(FitConfig):
    """Everything that the fitting of an adapter depends on, besides the model and the sounds.

    Attributes:
        lora: The adapter.
        batch: What a step sees; rows are never longer than the model's longest sound.
        valid_share: Share of the sounds that is held out for measuring, where a list does not say.
        rate_width: Width of the network that the learning rate is meant for; one of width D gets
            `rate * rate_width / D`. None takes the rate as it is.
        listen: What is played.
        engine: Precision of products and threads; the device is that of the model.
    """

    lora: LoRAConfig = LoRAConfig()
    batch: BatchConfig = BatchConfig(seconds=32.0)
    valid_share: float = Field(default=0.1, ge=0, lt=1)
    rate_width: int | None = Field(default=None, ge=1)
    listen: HeardConfig = HeardConfig()
    engine: EngineConfig = EngineConfig()

    def at_width(self, width: int) -> LoRARecipe:
        """The recipe with the learning rate that a network of that width gets."""
        if self.rate_width is None:
            return self
        rate = self.optim.rate * self.rate_width / width
        return self.model_copy(update={"optim": self.optim.model_copy(update={"rate": rate})})


@dataclass(frozen=True)
class LoRAPlan(Plan):
    """What a run would do; `parameters` are those of the frozen network.

    Attributes:
        sounds: To learn from.
        held_out: To measure with.
        seconds: Of both.
    """

    sounds: int = 0
    held_out: int = 0
    seconds: float = 0.0


class AdapterWeights:
    """The weights of an adapter, as a checkpoint keeps them: without the base.

    Args:
        network: With the adapter.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors, by name."""
        return adapter_state(self.network, ADAPTER_NAME)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy tensors into the adapter."""
        load_adapter_state(self.network, state, ADAPTER_NAME)


class LoRATask(DiffusionTask):
    """One adapter, fitted step by step.

    Args:
        parts: The model; its network gets the adapter, in place, and is frozen otherwise.
        base: What the model is.
        sounds: To learn from.
        recipe: How.
        engine: Where it runs; the model lies on its device.
        file_name: Of the adapter.

    Attributes:
        measured: What `validate` measured last.

    Raises:
        InputError: The network has no such layers.
    """

    def __init__(
        self,
        parts: Components,
        base: Base,
        sounds: SoundStore,
        recipe: LoRARecipe,
        engine: Engine,
        *,
        file_name: str = "lora.safetensors",
    ) -> None:
        self.file_name, self.measured = file_name, dict[str, float]()
        self.base, self.sounds, self.recipe = base, sounds, recipe

        def adapt(network: EzAudioDiT) -> None:
            fresh = generator_at(recipe.run.seed, _FRESH)
            add_adapter(network, recipe.lora, name=ADAPTER_NAME, generator=fresh)
            train_only_adapters(network)

        material = _material(parts, sounds, recipe)
        stage = recipe.at_width(parts.dit.config.width)
        super().__init__(material, stage, engine, adapt=adapt)
        self._base_loss: float | None = None

    def parts(self) -> dict[str, Any]:
        """What a checkpoint keeps, by name: of the network, the adapter alone."""
        identity = Identity(_identity(self.base, self.sounds, self.recipe))
        adapter = {"network": AdapterWeights(self.network)}
        return {"identity": identity, **super().parts(), **adapter}  # the first is compared first

    def validate(self) -> dict[str, float]:
        """Losses as of any stage, and `base_loss`, that of the network without the adapter."""
        found = super().validate()
        if self.valid is not None:
            if self._base_loss is None:
                self._base_loss = self._without_adapter()
            found["base_loss"] = self._base_loss
            self.measured = {name: found[name] for name in ("valid_loss", "base_loss")}
        return found

    def weights(self) -> dict[str, Tensor]:
        """The adapter's tensors."""
        return adapter_state(self.network, ADAPTER_NAME)

    def save(self, path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Write an adapter's file, with what was measured last."""
        told = {
            "steps": facts["step"],
            "average": facts["average"],
            **{name: round(value, 5) for name, value in self.measured.items()},
            **_facts(self.sounds),
            "recipe": self.recipe.model_dump(mode="json", exclude={"lora", "engine", "listen"}),
        }
        save_adapter(path, Adapter(self.recipe.lora, tensors, self.base, {"training": told}))

    def plan(self) -> LoRAPlan:
        """What a run would do."""
        trainable = sum(p.numel() for p in self.network.parameters() if p.requires_grad)
        held_out = sum(row.split == "valid" for row in self.sounds.rows)
        copies = _COPIES + len(self.recipe.averages.half_lives)
        return LoRAPlan(
            sounds=len(self.sounds.rows) - held_out,
            held_out=held_out,
            seconds=self.sounds.seconds,
            parameters=sum(p.numel() for p in self.network.parameters()) - trainable,
            trainable=trainable,
            state_bytes=4 * copies * trainable,
            steps=self.recipe.run.steps,
        )

    def _without_adapter(self) -> float:
        set_strengths(self.network, {ADAPTER_NAME: 0.0})
        try:
            return self.loss_of(PRESENT)
        finally:
            set_strengths(self.network, {ADAPTER_NAME: 1.0})


def _material(parts: Components, sounds: SoundStore, recipe: LoRARecipe) -> Material:
    """The model and the sounds, as the task wants them."""
    played = recipe.listen
    prompts = played.prompts or tuple(_captions(sounds)[:_CAPTIONS_HEARD])
    seconds = min(played.duration_s, parts.card.max_duration_s)
    played = played.model_copy(update={"prompts": prompts, "duration_s": seconds})
    return Material(
        network=parts.dit,
        store=sounds,
        batch=_fitted(recipe.batch, parts.card.max_duration_s),
        scale=parts.vae.latent_scale.detach()[:, 0].cpu(),
        encoder=EncodedPrompts(None, CachedTextEncoder(parts.text_encoder, _PROMPTS_KEPT)),
        listener=SampleMaker(played, parts.vae, parts.text_encoder, parts.schedule),
        held_out="valid" if any(sounds.takes("valid").values()) else "train",
    )


def _identity(base: Base, store: SoundStore, recipe: LoRARecipe) -> dict[str, Any]:
    """What a run depends on."""
    sounds = [(r.file, r.split, r.caption, r.captions, r.duration) for r in store.rows]
    digest = hashlib.sha256(json.dumps(sounds).encode()).hexdigest()
    return {
        "model": base.sha256,
        "sounds": f"{len(sounds)} sounds, {digest[:12]}",
        **recipe.model_dump(mode="json"),
    }


def _captions(store: SoundStore) -> list[str]:
    """Different captions of the sounds that are learnt from, sorted."""
    return sorted({row.caption for row in store.rows if row.split == "train"})


def _facts(store: SoundStore) -> dict[str, Any]:
    return {
        "sounds": len(store.rows),
        "seconds": round(store.seconds, 2),
        "captions": _captions(store)[:_CAPTIONS_SHOWN],
    }


def _fitted(config: BatchConfig, max_duration_s: float) -> BatchConfig:
    low, high = (min(seconds, max_duration_s) for seconds in config.duration_s)
    return config.model_copy(update={"duration_s": (low, high)})
