"""The parts of a model, loaded and ready: text encoder, network, schedule, autoencoder."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ezaudio.checkpoints import config_of, load_foreign, load_module, read_module_info
from ezaudio.config import load_config
from ezaudio.data.normalisation import Normalisation
from ezaudio.diffusion import Schedule, zero_snr_schedule
from ezaudio.dit import DIT_PRESETS, DiTConfig, EzAudioDiT
from ezaudio.dit.lora_file import Base
from ezaudio.dit.official import official_dit_state
from ezaudio.errors import CheckpointError, InputError
from ezaudio.files import sha256_file
from ezaudio.hub import fetch_official
from ezaudio.nn.loading import load_state
from ezaudio.nn.precision import fast_in_bfloat16
from ezaudio.pipelines.catalogue import Model, ModelCard, find_model
from ezaudio.pipelines.choices import allowed_names
from ezaudio.pipelines.lora import AdapterChoice, adapter_facts, check_adapters, merge_choices
from ezaudio.pipelines.options import DTYPES, GenerateOptions, resolve_options
from ezaudio.text import NO_TEXT, TEXT_ENCODERS, CachedTextEncoder, NoText
from ezaudio.vae import Autoencoder
from ezaudio.vae.load import load_vae

if TYPE_CHECKING:
    from ezaudio.text import TextEncoder
    from ezaudio.types import TextEmbedding


@dataclass(frozen=True, kw_only=True)
class Networks:
    """What makes a sound, whether it is a model or still in training.

    Attributes:
        dit: the network, in its precision.
        vae: the autoencoder, in float32.
        text_encoder: gives token vectors and remembers them; None for a network without text.
        schedule: how much noise a diffusion step holds.
        device: where the network runs.
        dtype: its precision.
    """

    dit: EzAudioDiT
    vae: Autoencoder
    text_encoder: Callable[[Sequence[str]], TextEmbedding] | None
    schedule: Schedule
    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True, kw_only=True)
class Components(Networks):
    """A model in memory.

    Attributes:
        card: what it is.
        text_encoder: gives token vectors and remembers them; `NoText` for a network without text.
        files: the weight files, by part.
        loras: what metadata says of the adapters that are merged into the network.
    """

    card: ModelCard
    text_encoder: TextEncoder
    files: Mapping[str, Path]
    loras: Sequence[Mapping[str, Any]] = ()

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What a sound's metadata says of the model; hashes the files when first asked."""
        hashes = {f"{part}_sha256": file_hash(path) for part, path in self.files.items()}
        loras = {"loras": [dict(facts) for facts in self.loras]} if self.loras else {}
        return {"model": self.card.name, **hashes, "text_encoder": self.text_encoder.name, **loras}

    @property
    def reads_text(self) -> bool:
        """Whether the network has a text input; that of the first training stage has none."""
        return self.dit.config.text_width is not None

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Refuse what a network without text cannot follow.

        Raises:
            InputError: the network has no text input, and a prompt is not empty.
        """
        said = [prompt for prompt in prompts if prompt.strip()]
        if said and not self.reads_text:
            raise InputError("prompt", said[0], NO_TEXT)


def load_components(
    model: str | Path | Model,
    *,
    device: str | None = None,
    dtype: str | None = None,
    adapters: Sequence[AdapterChoice] = (),
) -> Components:
    """Load a model.

    Args:
        model: a name of the catalogue, a folder, or what `find_model` gave.
        device: None or `auto` takes CUDA, then MPS, then the CPU.
        dtype: None or `auto` takes the model's own; where it has none, bfloat16 if the device is
            fast with it, else float32.
        adapters: are merged into the network.

    Raises:
        InputError: unknown model, device or dtype.
        CheckpointError: a file is missing or damaged, or the parts do not fit together; an adapter
            was fitted to another model.
        DownloadError: a file can neither be found nor fetched.
    """
    found = model if isinstance(model, Model) else find_model(model)
    place = resolve_device(device)
    precision = resolve_dtype(found.card.dtype if dtype in (None, "auto") else dtype, place)
    check_defaults(found)
    files = weight_files(found)
    if adapters:
        check_adapters(adapters, base := base_of_model(found, files["dit"]))
    network = _load_dit(found, files["dit"])
    if adapters:
        merge_choices(network, adapters, base)
    dit = network.to(place, precision).eval().requires_grad_(False)
    vae = load_vae(files["vae"], device=place, official=found.official is not None)
    normalise(vae, found, files["dit"])
    encoder: TextEncoder = NoText()
    if dit.config.text_width is not None:
        encoder = CachedTextEncoder(_build_text(found).to(place, precision))
    _check_fit(found, dit, vae, encoder)
    return Components(
        card=found.card,
        dit=dit,
        vae=vae,
        text_encoder=encoder,
        schedule=zero_snr_schedule(),
        files=files,
        device=place,
        dtype=precision,
        loras=adapter_facts(adapters),
    )


def base_of_model(model: Model, path: Path) -> Base:
    """What an adapter of a model says of it.

    Args:
        model: that was found.
        path: of its network's weights.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    source = None
    if model.official is None:
        source = read_module_info(path).extra.get("source_sha256")
    return Base(model.card.name, file_hash(path), source)


def weight_files(model: Model, parts: Sequence[str] = ("dit", "vae")) -> dict[str, Path]:
    """Give the files of the network (`dit`) and of the autoencoder (`vae`), fetched if need be."""
    if model.folder is not None:
        names = {"dit": model.card.dit, "vae": model.card.vae}
        return {part: model.folder / names[part] for part in parts}
    published = {"dit": model.official or "", "vae": "vae"}
    return {part: fetch_official(published[part]) for part in parts}


def normalise(vae: Autoencoder, model: Model, network: Path) -> None:
    """Let an autoencoder speak the language of a network: the latents that it was trained on.

    Args:
        vae: is changed in place; keeps its own statistics where the network does not say.
        model: that was found.
        network: its weights.

    Raises:
        CheckpointError: the network's statistics are damaged, or of other channels.
    """
    known = None
    if model.official is None:
        known = Normalisation.of_facts(read_module_info(network).extra, network)
    if known is None:
        return
    if len(known.shift) != vae.latent_channels:
        channels = f"{len(known.shift)} channels, the autoencoder {vae.latent_channels}"
        raise CheckpointError(f"{network}: was trained on latents of {channels}")
    vae.latent_shift.copy_(known.shift[:, None])
    vae.latent_scale.copy_(known.scale[:, None])


def resolve_device(device: str | None) -> torch.device:
    """Choose where to compute.

    Raises:
        InputError: the device is unknown, or not on this machine.
    """
    usable = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    usable = [*(["cuda"] if usable else []), *usable]
    usable += ["mps"] if torch.backends.mps.is_available() else []
    usable += ["cpu"]
    if device is None or device == "auto":
        return torch.device(usable[0])
    if device not in usable:
        raise InputError("device", device, f"on this machine {allowed_names(device, usable)}, auto")
    return torch.device(device)


def resolve_dtype(dtype: str | None, device: torch.device) -> torch.dtype:
    """Choose a precision: what is not named is bfloat16 where the device is fast in it.

    Raises:
        InputError: the name is unknown.
    """
    if dtype is not None and dtype not in DTYPES:
        raise InputError("dtype", dtype, allowed_names(dtype, DTYPES))
    if dtype is not None and dtype != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(dtype, torch.float16)
    return torch.bfloat16 if fast_in_bfloat16(device) else torch.float32


def file_hash(path: Path) -> str:
    """SHA-256 of a file; in the hub's cache a large file's name is its (checked) hash."""
    real = path.resolve()
    if re.fullmatch("[0-9a-f]{64}", real.name):
        return real.name
    return sha256_file(real)


def check_defaults(model: Model) -> GenerateOptions:
    """Give the options that hold when the user sets none.

    Raises:
        CheckpointError: `model.json` holds a default that is not allowed.
    """
    try:
        return resolve_options(GenerateOptions, {}, model.card.defaults)
    except InputError as error:
        raise CheckpointError(f"{model.card.name}: in its defaults, {error}") from None


def _load_dit(model: Model, path: Path) -> EzAudioDiT:
    if model.official is not None:
        config = DIT_PRESETS[model.official]
        content = load_foreign(path)
        tensors = official_dit_state(content.get("model", content))
    else:
        loaded = load_module(path, kind="dit")
        config, tensors = config_of(loaded, DiTConfig), loaded.tensors
    with torch.device("meta"):
        dit = config.build()
    load_state(dit, tensors, path, assign=True)
    return dit


def _build_text(model: Model) -> TextEncoder:
    settings = dict(model.card.text)
    kind = str(settings.get("kind"))
    if kind not in TEXT_ENCODERS:
        raise CheckpointError(
            f"{model.card.name}: its text encoder {kind!r} is not "
            f"{allowed_names(kind, TEXT_ENCODERS)}"
        )
    path = settings.get("path")
    if isinstance(path, str) and model.folder is not None:
        settings["path"] = str(model.folder / path)
    try:
        return load_config(TEXT_ENCODERS[kind], settings).build()
    except InputError as error:
        raise CheckpointError(f"{model.card.name}: in its text encoder, {error}") from None


def _check_fit(model: Model, dit: EzAudioDiT, vae: Autoencoder, text: TextEncoder) -> None:
    pairs = {
        "latent channels of network and autoencoder": (
            dit.config.latent_channels,
            vae.latent_channels,
        ),
        "text widths of network and encoder": (dit.config.text_width or 0, text.width),
    }
    for what, (one, other) in pairs.items():
        if one != other:
            raise CheckpointError(f"{model.card.name}: {what} differ, {one} and {other}")
