"""A model and its adapters, written as a model of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ezaudio.checkpoints import load_module, save_module
from ezaudio.config import Config, load_config
from ezaudio.dit import DiTConfig
from ezaudio.errors import CheckpointError, InputError
from ezaudio.files import write_bytes
from ezaudio.pipelines.catalogue import CARD_NAME, Model, ModelCard, find_model
from ezaudio.pipelines.components import base_of_model, weight_files
from ezaudio.pipelines.convert import Settings, convert_file
from ezaudio.pipelines.lora import (
    AdapterChoice,
    adapter_facts,
    check_adapters,
    merge_choices,
)
from ezaudio.pipelines.outputs import Files

_OF_ANOTHER_FILE = ("source", "source_sha256")
"""Facts that say that a file holds the weights of another one."""


@dataclass(frozen=True)
class _Part:
    tensors: dict[str, Tensor]
    config: Config | Mapping[str, Any]
    extra: Mapping[str, Any]


def merge_model(
    model: str | Path,
    adapters: Sequence[AdapterChoice],
    folder: str | Path,
    *,
    name: str | None = None,
) -> list[Path]:
    """Write a model folder whose network has the adapters in its weights.

    Layers that an adapter changes are written in float32, the others as they are stored, so that
    the folder gives the sounds that the model and the adapters give.

    Args:
        model: a name of the catalogue, or a folder.
        adapters: at least one.
        folder: is made when it is not there; not the model's own.
        name: of the new model; `MODEL+ADAPTER+…` by default.

    Returns:
        The files that were written.

    Raises:
        InputError: unknown model, no adapter, or the model's own folder.
        CheckpointError: a file is missing or damaged, or an adapter was fitted to another model.
        OutputError: a file cannot be written.
    """
    found, folder = find_model(model), Path(folder)
    if not adapters:
        raise InputError("lora", [], "at least one adapter")
    if found.folder is not None and folder.resolve() == found.folder.resolve():
        raise InputError("output", str(folder), "a folder other than the model's own")
    paths = weight_files(found)
    base = base_of_model(found, paths["dit"])
    check_adapters(adapters, base)
    files = Files(tuple(folder / n for n in ("dit.safetensors", "vae.safetensors", CARD_NAME)))
    with files.prepared():
        dit = _read(found, paths["dit"], "dit")
        network = _network(dit, paths["dit"])
        changed = merge_choices(network, adapters, base)
        tensors = {**dit.tensors, **{f"{n}.weight": _weight(network, n) for n in changed}}
        extra = {k: v for k, v in dit.extra.items() if k not in _OF_ANOTHER_FILE}
        extra["merged"] = {
            "base": base.name,
            "sha256": base.sha256,
            "loras": adapter_facts(adapters),
        }
        save_module(files.paths[0], tensors, kind="dit", config=dit.config, extra=extra)
        vae = _read(found, paths["vae"], "vae")
        save_module(files.paths[1], vae.tensors, kind="vae", config=vae.config, extra=vae.extra)
        card = _card(found, adapters, name)
        write_bytes(files.paths[2], f"{card.model_dump_json(indent=2)}\n".encode())
    return list(files.paths)


def _read(model: Model, path: Path, kind: str) -> _Part:
    if model.official is not None:
        made = convert_file(path, Settings())
        return _Part(made.tensors, made.config, made.extra)
    loaded = load_module(path, kind=kind)
    return _Part(loaded.tensors, loaded.config, loaded.extra)


def _network(dit: _Part, path: Path) -> torch.nn.Module:
    config = dit.config
    if not isinstance(config, DiTConfig):
        config = load_config(DiTConfig, config if isinstance(config, Mapping) else {})
    with torch.device("meta"):
        network = config.build()
    floats = {n: x.float() if x.is_floating_point() else x for n, x in dit.tensors.items()}
    try:
        network.load_state_dict(floats, strict=True, assign=True)
    except RuntimeError:
        raise CheckpointError(f"{path}: its tensors do not fit its configuration") from None
    return network


def _weight(network: torch.nn.Module, layer: str) -> Tensor:
    weight = network.get_submodule(layer).weight
    assert isinstance(weight, Tensor)
    return weight.detach()


def _card(model: Model, adapters: Sequence[AdapterChoice], name: str | None) -> ModelCard:
    text = dict(model.card.text)
    if model.folder is not None and isinstance(text.get("path"), str):
        text["path"] = str((model.folder / text["path"]).resolve())
    changes = {
        "name": name or "+".join([model.card.name, *(choice.name for choice in adapters)]),
        "text": text,
        "dit": "dit.safetensors",
        "vae": "vae.safetensors",
        "summary": "",
    }
    return model.card.model_copy(update=changes)
