"""What a stage of diffusion training begins with: latents as its model sees them, prompts as
vectors, and a fresh network.
"""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from ezaudio.data.keys import seed_at
from ezaudio.data.latents import LatentStore
from ezaudio.data.normalisation import Normalisation, normalisation_of
from ezaudio.data.texts import EncodedPrompts, TextStore
from ezaudio.dit import DiTConfig, EzAudioDiT
from ezaudio.dit.initialisation import INITIALISATIONS
from ezaudio.errors import InputError
from ezaudio.text import CachedTextEncoder
from ezaudio.training.loop.distributed import Engine
from ezaudio.training.tasks.stages import DataConfig, TextConfig

_FRESH = 51
_PROMPTS_KEPT = 65536


def open_latents(data: DataConfig, model: DiTConfig, start: Path | None = None) -> LatentStore:
    """Open the latents as the model sees them, and check that the network takes them.

    Args:
        data: Where they are, and how they are normalised.
        model: Network.
        start: Weights that it begins from.

    Raises:
        InputError: They have other channels, or were encoded in another way than `data` says; or
            nobody knows what `start` was trained on.
        CheckpointError: `start` or the store is damaged.
    """
    normalisation = chosen_normalisation(data, model.latent_channels, start)
    store = LatentStore(data.latents, spread=data.spread, normalisation=normalisation)
    if store.channels != model.latent_channels:
        allowed = f"{store.channels}, as the latents in {data.latents} have"
        raise InputError("model.latent_channels", model.latent_channels, allowed)
    wanted = data.encoded or {}
    for name, value in wanted.items():
        if store.settings.get(name) != value:
            settings = " ".join(f"{n}={yaml.safe_dump(v).split()[0]}" for n, v in wanted.items())
            allowed = f"{value}: latents of `ezaudio data encode ... {settings}`"
            raise InputError(f"data.encoded.{name}", store.settings.get(name), allowed)
    return store


def chosen_normalisation(
    data: DataConfig, channels: int, start: Path | None
) -> Normalisation | None:
    """What the latents of a stage are normalised by; None where the store's own is to be measured.

    Raises:
        InputError: The weights that the stage begins from do not say, and neither does `data`.
    """
    if data.normalise == "none":
        return Normalisation.none(channels)
    if start is None:
        return None
    known = normalisation_of(start)
    if known is not None and len(known.shift) != channels:
        return None  # it has fewer channels, and grows
    if data.normalise == "channels":
        return None if known is None or known.is_none else known
    if known is None:
        allowed = f"channels or none, since {start} does not say what it was trained on"
        raise InputError("data.normalise", None, allowed)
    return known


def prompt_encoder(
    data: DataConfig, text: TextConfig, model: DiTConfig, engine: Engine
) -> EncodedPrompts:
    """What turns prompts into token vectors, each of them once."""
    encoder = text.build().to(engine.device)
    if encoder.width != model.text_width:
        raise InputError("model.text_width", model.text_width, f"{encoder.width}, as the text's")
    known = None if data.texts is None else TextStore(data.texts)
    return EncodedPrompts(known, CachedTextEncoder(encoder, capacity=_PROMPTS_KEPT))


def fresh_network(
    model: DiTConfig, *, seed: int, initialisation: str = "zero-output"
) -> EzAudioDiT:
    """A network whose weights follow from the seed; the global generator is left as it was.

    Args:
        model: What it is made of.
        seed: Of its weights.
        initialisation: Name in `INITIALISATIONS`.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed_at(seed, _FRESH))
        network = model.build()
        INITIALISATIONS[initialisation](network)
        return network
