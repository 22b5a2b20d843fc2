"""How raw latents become what a network learns from: shifted and scaled, channel by channel.

There is one set of these numbers per model. A run measures them once, over the training split of
its first stage, and writes them into its weights; later stages, the listening during a run,
bundles, sweeps and generation read them from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ezaudio.checkpoints import load_tensors, read_module_info
from ezaudio.errors import CheckpointError

KEY = "latents"
"""Name of the facts in the metadata of a network's weights."""

_VAE = "vae.safetensors"


class Normalisation(NamedTuple):
    """Mean and standard deviation of each raw channel.

    Attributes:
        shift: Float32 (C,).
        scale: Float32 (C,).
    """

    shift: Tensor
    scale: Tensor

    @classmethod
    def none(cls, channels: int) -> Normalisation:
        """What leaves latents as the autoencoder gives them."""
        return cls(torch.zeros(channels), torch.ones(channels))

    @property
    def is_none(self) -> bool:
        """Whether it changes nothing."""
        return bool((self.shift == 0).all() and (self.scale == 1).all())

    def facts(self) -> dict[str, list[float]]:
        """What metadata keeps; `of_facts` reads it back to the bit."""
        return {"shift": self.shift.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def of_facts(cls, extra: Mapping[str, Any], path: Path) -> Normalisation | None:
        """Read the facts of a network's weights.

        Args:
            extra: Further facts of the file.
            path: Of the file, for the message.

        Returns:
            None where the weights do not say.

        Raises:
            CheckpointError: They are damaged.
        """
        facts = extra.get(KEY)
        if facts is None:
            return None
        try:
            found = cls(*(torch.tensor(facts[name], dtype=torch.float32) for name in cls._fields))
        except (TypeError, KeyError, ValueError):
            found = cls(torch.zeros(0), torch.zeros(1))
        shapes_fit = found.shift.ndim == 1 and found.shift.shape == found.scale.shape
        if not shapes_fit or not bool((found.scale > 0).all()):
            raise CheckpointError(f"{path}: the statistics of its latents are damaged")
        return found


def normalisation_of(path: Path) -> Normalisation | None:
    """Find out what latents a network was trained on.

    Args:
        path: Of its weights.

    Returns:
        What the file says; else what the autoencoder says that lies beside it, as in model folders
        of earlier versions; else None: not known.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    info = read_module_info(path)
    found = Normalisation.of_facts(info.extra, path)
    if found is not None:
        return found
    if (path.parent / _VAE).is_file():
        tensors = load_tensors(path.parent / _VAE, "latent_")
        if {"latent_shift", "latent_scale"} <= tensors.keys():
            shift, scale = (tensors[f"latent_{name}"][:, 0].float() for name in ("shift", "scale"))
            return Normalisation(shift, scale)
    return None
