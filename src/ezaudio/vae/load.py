"""The one place that reads autoencoders from files: this project's, or the authors'."""

from __future__ import annotations

from pathlib import Path

import torch

from ezaudio.checkpoints import config_of, load_foreign, load_module
from ezaudio.errors import CheckpointError
from ezaudio.nn.loading import load_state
from ezaudio.vae.config import VAE_FAMILIES
from ezaudio.vae.model import Autoencoder
from ezaudio.vae.official import official_vae_state
from ezaudio.vae.oobleck import OobleckConfig


def load_vae(
    path: str | Path, *, device: torch.device | str = "cpu", official: bool = False
) -> Autoencoder:
    """Load an autoencoder for inference: float32, frozen, its weight norm folded.

    Args:
        path: safetensors of this project; or, with `official`, the authors' file.
        device: where it is to lie.
        official: whether the file is the authors'.

    Raises:
        CheckpointError: the file is missing, damaged, no autoencoder, of an unknown family, or its
            tensors do not fit its configuration.
    """
    vae = _official(path) if official else _own(path)
    vae.fold_weight_norm()
    return vae.to(device).eval().requires_grad_(False)


def load_weights(vae: Autoencoder, path: str | Path) -> None:
    """Load weights of this project into an autoencoder that is to be trained further, in place.

    Raises:
        CheckpointError: the file is missing, damaged, no autoencoder, or another one.
    """
    load_state(vae, load_module(path, kind="vae").tensors, path)


def _own(path: str | Path) -> Autoencoder:
    loaded = load_module(path, kind="vae")
    kind = str(loaded.config.get("kind"))
    if kind not in VAE_FAMILIES:
        raise CheckpointError(f"{path}: autoencoder of kind {kind!r} is unknown")
    vae: Autoencoder = config_of(loaded, VAE_FAMILIES[kind]).build()
    load_state(vae, loaded.tensors, path)
    return vae


def _official(path: str | Path) -> Autoencoder:
    config = OobleckConfig()
    vae: Autoencoder = config.build()
    load_state(vae, official_vae_state(load_foreign(path), config), path)
    return vae
