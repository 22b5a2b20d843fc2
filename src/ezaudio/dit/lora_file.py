"""Files of low-rank adapters: one safetensors file each, which says what it was fitted to.

The metadata holds rank, scaling and targets, and the name and the hash of the base's weights. An
adapter is put on those weights and no others: numbers that were fitted to one network do something
arbitrary in another of the same shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ezaudio.checkpoints import ModuleInfo, config_of, load_module, save_module
from ezaudio.dit.lora import (
    LoRAConfig,
    add_adapter,
    drop_adapter,
    load_adapter_state,
    set_strengths,
)
from ezaudio.errors import CheckpointError, InputError

LORA_KIND = "lora"
_SHOWN_CHARACTERS = 12


@dataclass(frozen=True)
class Base:
    """The weights that an adapter belongs to.

    Attributes:
        name: of the model.
        sha256: of the file with the network's weights.
        source_sha256: of the file that this one was converted from, if any: the same weights.
    """

    name: str
    sha256: str
    source_sha256: str | None = None

    @property
    def hashes(self) -> frozenset[str]:
        """All files that hold these weights."""
        return frozenset(h for h in (self.sha256, self.source_sha256) if h is not None)

    def __str__(self) -> str:
        return f"{self.name} (sha256 {self.sha256[:_SHOWN_CHARACTERS]}…)"


@dataclass(frozen=True)
class Adapter:
    """An adapter in memory.

    Attributes:
        config: rank, scaling and layers.
        tensors: `LAYER.down` and `LAYER.up`, on the CPU.
        base: what it was fitted to.
        facts: what else its file says, such as how it was trained.
    """

    config: LoRAConfig
    tensors: Mapping[str, Tensor]
    base: Base
    facts: Mapping[str, Any] = field(default_factory=dict)


def save_adapter(path: str | Path, adapter: Adapter) -> None:
    """Write an adapter, atomically.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
    """
    base = {k: v for k, v in vars(adapter.base).items() if v is not None}
    save_module(
        path,
        adapter.tensors,
        kind=LORA_KIND,
        config=adapter.config,
        extra={"base": base, **adapter.facts},
    )


def load_adapter(path: str | Path) -> Adapter:
    """Read a file of `save_adapter`.

    Raises:
        CheckpointError: the file is missing, truncated, damaged, or holds something else.
    """
    loaded = load_module(path, kind=LORA_KIND)
    facts = {name: value for name, value in loaded.extra.items() if name != "base"}
    return Adapter(config_of(loaded, LoRAConfig), loaded.tensors, base_of(loaded), facts)


def put_adapter(
    network: nn.Module,
    path: str | Path,
    *,
    base: Base,
    name: str = "adapter",
    strength: float = 1.0,
) -> Adapter:
    """Put an adapter from a file on a network, in place; it is not merged.

    Args:
        network: the base, with its weights.
        path: the adapter's file.
        base: what the network is.
        name: of the adapter in the network.
        strength: 1 is as it was trained.

    Returns:
        What the file holds.

    Raises:
        CheckpointError: the file is damaged, was fitted to other weights, or does not fit the
            network, which then stays as it was.
    """
    adapter = load_adapter(path)
    check_base(path, adapter.base, base)
    misfit = f"{path}: does not fit the network of {base.name}"
    try:
        add_adapter(network, adapter.config, name=name)
    except InputError as error:
        raise CheckpointError(f"{misfit} ({error})") from None
    try:
        load_adapter_state(network, adapter.tensors, name)
    except ValueError as error:
        drop_adapter(network, name)
        raise CheckpointError(f"{misfit} ({error})") from None
    set_strengths(network, {name: strength})
    return adapter


def check_base(path: str | Path, wanted: Base, base: Base) -> None:
    """Refuse an adapter that was fitted to other weights.

    Raises:
        CheckpointError: names both.
    """
    if not wanted.hashes & base.hashes:
        raise CheckpointError(f"{path}: was fitted to {wanted}; the model here is {base}")


def base_of(info: ModuleInfo) -> Base:
    """Read what an adapter's file says of its base.

    Raises:
        CheckpointError: it says nothing, or something else.
    """
    values = info.extra.get("base")
    known = ("name", "sha256", "source_sha256")
    if not isinstance(values, dict) or not {"name", "sha256"} <= set(values) <= set(known):
        raise CheckpointError(f"{info.path}: does not say what it was fitted to")
    return Base(**{name: str(value) for name, value in values.items()})
