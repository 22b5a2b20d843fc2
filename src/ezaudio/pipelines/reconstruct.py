"""Through the autoencoder and back: what it keeps of a sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ezaudio import __version__
from ezaudio.audio_distance import Distances, distances
from ezaudio.audio_levels import peak_guard
from ezaudio.pipelines.catalogue import find_model
from ezaudio.pipelines.components import file_hash, resolve_device, weight_files
from ezaudio.pipelines.edit import SoundLike, load_clip
from ezaudio.pipelines.results import CEILING, Sound
from ezaudio.types import Clip
from ezaudio.vae.chunked import decode_chunked, encode_chunked
from ezaudio.vae.load import load_vae

if TYPE_CHECKING:
    from ezaudio.vae import Autoencoder


@dataclass(frozen=True)
class Reconstruction:
    """A sound and what came back.

    Attributes:
        original: at the model's rate, one channel.
        sound: what came back, of the same length, its peak guarded.
        distances: between the two, before the guard.
    """

    original: Clip
    sound: Sound
    distances: Distances


def load_autoencoder(
    model: str | Path, *, device: str | None = None
) -> tuple[Autoencoder, dict[str, Any]]:
    """Load the autoencoder of a model alone, and what metadata says of it.

    Raises:
        InputError: unknown model or device.
        CheckpointError: a file is missing or damaged.
        DownloadError: a file can neither be found nor fetched.
    """
    found = find_model(model)
    place = resolve_device(device)
    path = weight_files(found, parts=("vae",))["vae"]
    facts = {"model": found.card.name, "vae_sha256": file_hash(path)}
    return load_vae(path, device=place, official=found.official is not None), facts


def reconstruct(
    vae: Autoencoder, sound: SoundLike, *, facts: dict[str, Any] | None = None
) -> Reconstruction:
    """Encode (posterior mean) and decode a sound, in pieces.

    Args:
        vae: the autoencoder.
        sound: a file, a clip or a result; it is brought to the model's rate and one channel.
        facts: of the model, for the metadata.

    Raises:
        AudioFileError: the file cannot be read.
    """
    original = load_clip(sound, vae.sample_rate)
    wave = torch.from_numpy(np.ascontiguousarray(original.samples))[None, None]
    with torch.inference_mode():
        latent = encode_chunked(vae, wave).mode
        decoded = decode_chunked(vae, latent)[0, 0, : wave.shape[-1]]
    samples = decoded.float().cpu().numpy().copy()
    source: dict[str, str] = {}
    if isinstance(sound, str | Path):
        source = {"reconstructed_from": Path(sound).name}
    metadata = {**source, **(facts or {}), "software": f"ezaudio {__version__}"}
    return Reconstruction(
        original,
        Sound(Clip(peak_guard(samples, CEILING), vae.sample_rate), metadata),
        distances(original.samples, samples, vae.sample_rate),
    )
