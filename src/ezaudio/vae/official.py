"""Adapter for the authors' autoencoder checkpoints: settings and tensor names, both ways.

Their file is `{"state_dict": {"autoencoder.<name>": tensor}}`, where a name counts layers instead
of naming them. Other entries of the dictionary (discriminators, loss weights) are left out. Their
latents are not normalised, so `latent_shift` is 0 and `latent_scale` is 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ezaudio.errors import CheckpointError
from ezaudio.vae.oobleck import OobleckConfig

_PREFIX = "autoencoder."
_UNIT_LAYERS = ("snake_wide", "wide", "snake_point", "point")
_UNITS = ("units.0", "units.1", "units.2")
_LEVEL_LAYERS = {
    "encoder": (*_UNITS, "snake", "down"),
    "decoder": ("snake", "up", *_UNITS),
}


def official_vae_config(config: Mapping[str, Any]) -> OobleckConfig:
    """Translate the authors' autoencoder settings.

    Args:
        config: their JSON as a mapping, with `sample_rate` and `model`.

    Raises:
        CheckpointError: a field is absent, or asks for what a mono Snake Oobleck VAE does not have.
    """
    try:
        model = config["model"]
        encoder, decoder = model["encoder"]["config"], model["decoder"]["config"]
        expected = {
            "encoder type": (model["encoder"]["type"], "oobleck"),
            "decoder type": (model["decoder"]["type"], "oobleck"),
            "bottleneck type": (model["bottleneck"]["type"], "vae"),
            "encoder in_channels": (encoder["in_channels"], 1),
            "decoder out_channels": (decoder["out_channels"], 1),
            "encoder use_snake": (encoder["use_snake"], True),
            "decoder use_snake": (decoder["use_snake"], True),
            "decoder final_tanh": (decoder.get("final_tanh", False), False),
            "encoder latent_dim": (encoder["latent_dim"], 2 * model["latent_dim"]),
            "decoder latent_dim": (decoder["latent_dim"], model["latent_dim"]),
            "decoder channels": (decoder["channels"], encoder["channels"]),
            "decoder c_mults": (decoder["c_mults"], encoder["c_mults"]),
            "decoder strides": (decoder["strides"], encoder["strides"]),
        }
        for field, (got, allowed) in expected.items():
            if got != allowed:
                raise CheckpointError(
                    f"VAE configuration: {field} is {got!r}; supported: {allowed!r}."
                )
        return OobleckConfig(
            sample_rate=config["sample_rate"],
            latent_channels=model["latent_dim"],
            base_width=encoder["channels"],
            multipliers=tuple(encoder["c_mults"]),
            strides=tuple(encoder["strides"]),
        )
    except KeyError as missing:
        raise CheckpointError(f"VAE configuration: {missing} is absent.") from None


def official_vae_state(
    checkpoint: Mapping[str, Any], config: OobleckConfig | None = None
) -> dict[str, Tensor]:
    """Rename the tensors of the authors' checkpoint to a state that loads strictly.

    Args:
        checkpoint: their file, `{"state_dict": {...}}`, or the inner dictionary.
        config: what it was made with; the released settings by default.

    Raises:
        CheckpointError: a tensor is missing, or one of the autoencoder's is unknown.
    """
    config = config or OobleckConfig()
    state = checkpoint.get("state_dict", checkpoint)
    theirs = {k.removeprefix(_PREFIX): v for k, v in state.items() if k.startswith(_PREFIX)}
    names = dict(_official_names(config))
    missing, unknown = names.keys() - theirs.keys(), theirs.keys() - names.keys()
    if missing or unknown:
        kind, example = ("lacks", min(missing)) if missing else ("has an unknown", min(unknown))
        raise CheckpointError(
            f"Not an Oobleck VAE checkpoint of these settings: it {kind} tensor "
            f"`{_PREFIX}{example}` ({len(missing)} missing, {len(unknown)} unknown)."
        )
    channels = config.latent_channels
    return {
        "latent_shift": torch.zeros(channels, 1),
        "latent_scale": torch.ones(channels, 1),
        **{ours: theirs[name] for name, ours in names.items()},
    }


def to_official_vae_state(
    state: Mapping[str, Tensor], config: OobleckConfig | None = None
) -> dict[str, dict[str, Tensor]]:
    """Lay out the state of an unfolded `OobleckAutoencoder` as the authors' file.

    Raises:
        CheckpointError: the latents are normalised or the weight norm is folded; their file has
            room for neither.
    """
    names = dict(_official_names(config or OobleckConfig()))
    if (state["latent_shift"] != 0).any() or (state["latent_scale"] != 1).any():
        raise CheckpointError("The authors' VAE layout has no room for normalised latents.")
    if not set(names.values()) <= state.keys():
        raise CheckpointError("The authors' VAE layout needs weight-normalised tensors.")
    return {"state_dict": {_PREFIX + name: state[ours] for name, ours in names.items()}}


def _official_names(config: OobleckConfig) -> Iterator[tuple[str, str]]:
    """Pairs of their tensor name, without the prefix, and ours."""
    last = len(config.strides) + 2
    for side, layers in _LEVEL_LAYERS.items():
        yield from _tensors(f"{side}.layers.0", f"{side}.enter")
        for level in range(len(config.strides)):
            for index, layer in enumerate(layers):
                theirs = f"{side}.layers.{level + 1}.layers.{index}"
                yield from _layer(theirs, f"{side}.levels.{level}.{layer}")
        yield from _tensors(f"{side}.layers.{last - 1}", f"{side}.snake")
        yield from _tensors(f"{side}.layers.{last}", f"{side}.leave", bias=side == "encoder")


def _layer(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    if ours.rpartition(".")[2].isdigit():  # a residual unit
        for index, part in enumerate(_UNIT_LAYERS):
            yield from _tensors(f"{theirs}.layers.{index}", f"{ours}.{part}")
    else:
        yield from _tensors(theirs, ours)


def _tensors(theirs: str, ours: str, *, bias: bool = True) -> Iterator[tuple[str, str]]:
    if ours.rpartition(".")[2].startswith("snake"):
        leaves = ["alpha", "beta"]
    else:
        leaves = ["weight_g", "weight_v", *(["bias"] if bias else [])]
    for leaf in leaves:
        yield f"{theirs}.{leaf}", f"{ours}.{leaf}"
