"""Adapters of a model: chosen by the user, put on its network, merged into a model of their own.

For generation the adapters are merged into the weights in float32 before the network takes its
precision, so that a sound costs what it costs without them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn

from ezaudio.checkpoints import ModuleInfo, config_of, read_module_info
from ezaudio.dit.lora import LoRAConfig, adapted_layers, merge_adapters, remove_adapters
from ezaudio.dit.lora_file import LORA_KIND, Base, base_of, check_base, put_adapter
from ezaudio.errors import CheckpointError, InputError

MOST_STRENGTH = 10.0
"""Largest magnitude of a strength; beyond about 2 nothing sounds like anything."""


@dataclass(frozen=True)
class AdapterChoice:
    """An adapter that is wanted.

    Attributes:
        path: its file.
        strength: 1 is as it was trained, 0 is without it.
    """

    path: Path
    strength: float = 1.0

    @property
    def name(self) -> str:
        """What it is called in a sound's metadata."""
        return self.path.stem


Choice: TypeAlias = "AdapterChoice | str | Path | tuple[str | Path, float]"
"""A file, `"FILE:STRENGTH"`, or a pair of both."""


def parse_adapter(choice: Choice, field: str = "lora") -> AdapterChoice:
    """Read `PATH` or `PATH:STRENGTH`; a file whose name ends like a strength is taken as it is.

    Raises:
        InputError: no path, or a strength that is not a number from -10 to 10.
    """
    path, strength = _parts(choice)
    allowed = f"PATH or PATH:STRENGTH, the strength from {-MOST_STRENGTH:g} to {MOST_STRENGTH:g}"
    if not str(path).strip() or "\0" in str(path):
        raise InputError(field, str(choice), allowed)
    if isinstance(strength, bool) or not isinstance(strength, int | float):
        raise InputError(field, choice, allowed)
    if not (math.isfinite(strength) and abs(strength) <= MOST_STRENGTH):
        raise InputError(field, choice if isinstance(choice, str) else strength, allowed)
    return AdapterChoice(Path(path), float(strength))


def _parts(choice: Choice) -> tuple[str | Path, float]:
    if isinstance(choice, AdapterChoice):
        return choice.path, choice.strength
    if isinstance(choice, str):
        return _split(choice)
    if isinstance(choice, Path):
        return choice, 1.0
    if isinstance(choice, tuple) and len(choice) == 2:
        return choice
    raise InputError("lora", choice, 'a file, "FILE:STRENGTH", or a pair of both')


def _split(text: str) -> tuple[str, float]:
    path, colon, last = text.rpartition(":")
    if not colon or _is_file(text):
        return text, 1.0
    try:
        return path, float(last)
    except ValueError:
        return text, 1.0


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a zero byte
        return False


def choose_adapters(
    lora: Choice | None = None, loras: Iterable[Choice] = ()
) -> tuple[AdapterChoice, ...]:
    """Read all choices, and the headers of their files.

    Raises:
        InputError: a choice is not allowed, or one file is given twice.
        CheckpointError: a file is missing, damaged, or not an adapter.
    """
    if isinstance(loras, str | Path):
        raise InputError("loras", loras, "a list of adapters; `lora` takes a single one")
    wanted = [] if lora is None else [parse_adapter(lora)]
    wanted += [parse_adapter(choice, "loras") for choice in loras]
    seen: set[Path] = set()
    for choice in wanted:
        read_adapter_info(choice.path)
        if (real := choice.path.resolve()) in seen:
            raise InputError("lora", str(choice.path), "every adapter once")
        seen.add(real)
    return tuple(wanted)


def read_adapter_info(path: Path) -> ModuleInfo:
    """Read what an adapter's file says, without its tensors.

    Raises:
        CheckpointError: the file is missing, damaged, or not an adapter.
    """
    info = read_module_info(path)
    if info.kind != LORA_KIND:
        raise CheckpointError(f"{path}: holds a `{info.kind}`, expected a `{LORA_KIND}`")
    config_of(info, LoRAConfig)
    base_of(info)
    return info


def check_adapters(choices: Sequence[AdapterChoice], base: Base) -> None:
    """Refuse adapters of another model, before anything large is read.

    Raises:
        CheckpointError: names the model of the adapter and this one.
    """
    for choice in choices:
        check_base(choice.path, base_of(read_adapter_info(choice.path)), base)


def merge_choices(network: nn.Module, choices: Sequence[AdapterChoice], base: Base) -> list[str]:
    """Merge adapters into a network in float32, in place, and leave plain layers behind.

    Returns:
        Names of the layers whose weights changed.

    Raises:
        CheckpointError: an adapter was fitted to other weights, is damaged, or does not fit.
    """
    for number, choice in enumerate(choices):
        put_adapter(
            network, choice.path, base=base, name=f"lora-{number}", strength=choice.strength
        )
    merge_adapters(network)
    changed = [name for name, layer in adapted_layers(network).items() if layer.merged]
    remove_adapters(network)
    return changed


def adapter_facts(choices: Sequence[AdapterChoice]) -> list[dict[str, Any]]:
    """What metadata says of adapters: name, hash and strength of each."""
    return [
        {
            "name": choice.name,
            "sha256": read_module_info(choice.path).sha256,
            "strength": choice.strength,
        }
        for choice in choices
    ]
