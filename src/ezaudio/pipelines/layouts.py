"""Where in a checkpoint the weights lie, whoever wrote it.

A training loop wraps weights: in a dictionary (`model`, `state_dict`, `ema`, ... inside one
another), in names (`module.` of DDP, `_orig_mod.` of torch.compile, `ema_model.` of an average), or
in both. What is looked for is a tensor that only one kind of network has; what stands before its
name is the wrapping.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ezaudio.errors import CheckpointError, InputError

WIDTH_TENSOR = "patch_embed.proj.weight"
"""A tensor of the transformer, whose first axis is its width."""

_SIGNS = {"dit": WIDTH_TENSOR, "vae": "encoder.layers.0.weight_v"}
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_OWN_PREFIX = {"dit": "model.", "vae": "autoencoder."}
"""What the authors' own names may begin with; their adapters expect it."""

_MOST_NESTED = 4


@dataclass(frozen=True)
class Weights:
    """Weights of one network in a checkpoint.

    Attributes:
        kind: `dit` or `vae`.
        place: keys and prefixes that lead there, such as `ema` or `state_dict.ema_model`; empty for
            the file itself.
        tensors: by the authors' names, without wrapping.
    """

    kind: str
    place: str
    tensors: dict[str, Tensor]

    @property
    def averaged(self) -> bool:
        """Whether these are averages of the weights."""
        return "ema" in self.place.lower()


def find_weights(content: Mapping[str, Any], path: Path, wanted: str | None = None) -> Weights:
    """Find the weights of a transformer or an autoencoder.

    Args:
        content: of the file.
        path: of the file, for messages.
        wanted: a key or prefix that leads to them, where there are several; None takes averages
            (EMA) first, which is what a trained model is meant to be used with.

    Raises:
        CheckpointError: there are none.
        InputError: none are at the place that is wanted.
    """
    found = [weights for weights in all_weights(content) if weights.tensors]
    if not found:
        keys = ", ".join(str(key) for key in list(content)[:4])
        raise CheckpointError(
            f"{path}: neither a diffusion transformer nor an autoencoder of EzAudio (it holds "
            f"{keys or 'nothing'}{', …' if len(content) > 4 else ''})"
        )
    if wanted is not None:
        fitting = [weights for weights in found if wanted in weights.place.split(".")]
        if not fitting:
            places = ", ".join(weights.place or "the file itself" for weights in found)
            raise InputError("weights", wanted, f"in {path.name}: {places}")
        return fitting[0]
    return next((weights for weights in found if weights.averaged), found[0])


def all_weights(content: Mapping[str, Any]) -> list[Weights]:
    """All weights of a checkpoint, in the order of the file."""
    found: list[Weights] = []
    for place, mapping in _mappings(content, (), _MOST_NESTED):
        plain = {_unwrapped(str(name)): value for name, value in mapping.items()}
        for kind, sign in _SIGNS.items():
            prefixes = _prefixes(plain, sign, _OWN_PREFIX[kind])
            for prefix in prefixes:
                others = tuple(p for p in prefixes if len(p) > len(prefix))
                tensors = {
                    name.removeprefix(prefix): value
                    for name, value in plain.items()
                    if name.startswith(prefix) and not name.startswith(others or ("\0",))
                }
                where = ".".join([*place, *prefix.split(".")]).strip(".")
                found.append(Weights(kind, where, tensors))
    return found


def _mappings(
    content: Mapping[str, Any], place: tuple[str, ...], depth: int
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Every dictionary of a checkpoint, with the keys that lead to it."""
    yield place, content
    for key, value in content.items() if depth else ():
        if isinstance(value, Mapping):
            yield from _mappings(value, (*place, str(key)), depth - 1)


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _prefixes(plain: Mapping[str, Any], sign: str, own: str) -> list[str]:
    """What stands before the names of each network, the authors' own prefix apart."""
    found = [
        name.removesuffix(sign).removesuffix(own)
        for name, value in plain.items()
        if isinstance(value, Tensor) and (name == sign or name.endswith(f".{sign}"))
    ]
    return list(dict.fromkeys(found))
