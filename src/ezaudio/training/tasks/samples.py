"""Sounds of fixed prompts, made with the present weights of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ezaudio.audio import peak_guard
from ezaudio.diffusion import Schedule
from ezaudio.dit import EzAudioDiT
from ezaudio.errors import InputError
from ezaudio.pipelines.components import Networks
from ezaudio.pipelines.denoise import Batch, Denoiser, excitation
from ezaudio.training.loop.task import Heard
from ezaudio.training.tasks.stages import ListenConfig, PlayConfig
from ezaudio.types import TextEmbedding
from ezaudio.vae import Autoencoder
from ezaudio.vae.chunked import decode_chunked
from ezaudio.vae.load import load_vae

_CEILING = 0.99


def listening_vae(config: ListenConfig, *, shift: Tensor, scale: Tensor) -> Autoencoder:
    """Load the autoencoder that decodes normalised latents.

    Args:
        config: Says where it lies.
        shift: Mean of each raw channel that the network learns from, (C,).
        scale: Its standard deviation, (C,).

    Raises:
        CheckpointError: The file is missing or damaged.
        InputError: It has another number of channels.
    """
    vae = load_vae(config.vae)
    if vae.latent_channels != len(shift):
        allowed = f"an autoencoder of {len(shift)} channels, as the latents have"
        raise InputError("listen.vae", str(config.vae), allowed)
    vae.latent_shift.copy_(shift[:, None])
    vae.latent_scale.copy_(scale[:, None])
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
