"""Sounds of fixed prompts, made with the present weights of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ezaudio.audio import peak_guard
from ezaudio.data.latents import AUTOENCODER, LatentStore
from ezaudio.diffusion import Schedule
from ezaudio.dit import EzAudioDiT
from ezaudio.errors import InputError
from ezaudio.pipelines.components import Networks
from ezaudio.pipelines.denoise import Batch, Denoiser, excitation
from ezaudio.training.encoder_weights import find_autoencoder
from ezaudio.training.loop.task import Heard
from ezaudio.training.tasks.stages import ListenConfig, PlayConfig
from ezaudio.types import TextEmbedding
from ezaudio.vae import Autoencoder
from ezaudio.vae.chunked import decode_chunked
from ezaudio.vae.load import load_vae

_CEILING = 0.99


def listening_vae(config: ListenConfig, store: LatentStore) -> Autoencoder:
    """Load the autoencoder that decodes what the network learns from.

    Args:
        config: Says where it lies; beside the latents when it does not.
        store: The latents, as the network sees them.

    Raises:
        CheckpointError: The file is missing or damaged.
        InputError: No such model, or it has another number of channels.
    """
    path = store.folder / AUTOENCODER if config.vae is None else find_autoencoder(config.vae)
    vae = load_vae(path)
    if vae.latent_channels != store.channels:
        allowed = f"an autoencoder of {store.channels} channels, as the latents have"
        raise InputError("listen.vae", str(path), allowed)
    vae.latent_shift.copy_(store.shift[:, None])
    vae.latent_scale.copy_(store.scale[:, None])
    return vae


class SampleMaker:
    """Makes the same sounds at every call, as far as the weights allow.

    Args:
        config: What is played.
        vae: Autoencoder.
        text_encoder: None for a network that reads no text.
        schedule: Noise schedule.
    """

    def __init__(
        self,
        config: PlayConfig,
        vae: Autoencoder,
        text_encoder: Callable[[Sequence[str]], TextEmbedding] | None,
        schedule: Schedule,
    ) -> None:
        self.config, self.vae, self.schedule = config, vae, schedule
        self.text_encoder = text_encoder

    def __call__(self, network: EzAudioDiT, device: torch.device) -> list[Heard]:
        """Make the sounds on a device."""
        config, count = self.config, len(self.config.prompts)
        networks = Networks(
            dit=network,
            vae=self.vae.to(device),
            text_encoder=self.text_encoder,
            schedule=self.schedule,
            device=device,
            dtype=network.unknown.dtype,
        )
        batch = Batch(
            prompts=config.prompts,
            negative_prompts=[""] * count,
            seeds=range(config.seed, config.seed + count),
            frames=self.vae.frames(round(config.duration_s * self.vae.sample_rate)),
            options=config.sampling(),
        )
        latent = Denoiser(networks)(batch)
        noise = excitation(self.vae, batch.seeds, batch.frames)
        waves = decode_chunked(self.vae, latent, noise).float().cpu()  # (B, 1, S)
        rate = self.vae.sample_rate
        return [
            Heard(prompt, peak_guard(wave[0].numpy().copy(), _CEILING), rate)
            for prompt, wave in zip(config.prompts, waves, strict=True)
        ]
