"""Sounds of fixed prompts, made with the present weights of a run."""

from __future__ import annotations

import torch
from torch import Tensor

from ezaudio.audio import peak_guard
from ezaudio.checkpoints import load_module
from ezaudio.config import load_config
from ezaudio.diffusion import SAMPLERS, TIME_GRIDS, Schedule, SeededNoise, Velocity, guide
from ezaudio.dit import Condition, EzAudioDiT
from ezaudio.errors import InputError
from ezaudio.training.stages import ListenConfig
from ezaudio.training.task import Heard
from ezaudio.types import TextEmbedding
from ezaudio.vae import VAE_FAMILIES, Autoencoder
from ezaudio.vae.chunked import decode_chunked

_CEILING = 0.99


def load_vae(config: ListenConfig, *, shift: Tensor, scale: Tensor) -> Autoencoder:
    """Load the autoencoder that decodes normalised latents.

    Args:
        config: Says where it lies.
        shift: Mean of each raw channel that the network learns from, (C,).
        scale: Its standard deviation, (C,).

    Raises:
        CheckpointError: The file is missing or damaged.
        InputError: It has another number of channels.
    """
    loaded = load_module(config.vae, kind="vae")
    vae: Autoencoder = load_config(VAE_FAMILIES[loaded.config["kind"]], loaded.config).build()
    vae.load_state_dict({name: x.float() for name, x in loaded.tensors.items()})
    if vae.latent_channels != len(shift):
        allowed = f"an autoencoder of {len(shift)} channels, as the latents have"
        raise InputError("listen.vae", str(config.vae), allowed)
    vae.latent_shift.copy_(shift[:, None])
    vae.latent_scale.copy_(scale[:, None])
    return vae.eval().requires_grad_(False)


class Listener:
    """Makes the same sounds at every call, as far as the weights allow.

    Args:
        config: What is played.
        vae: Autoencoder.
        text: Embeddings of the prompts and, after them, of the empty prompt; None for a network
            that reads no text.
        schedule: Noise schedule.
    """

    def __init__(
        self,
        config: ListenConfig,
        vae: Autoencoder,
        text: TextEmbedding | None,
        schedule: Schedule,
    ) -> None:
        self.config, self.vae, self.text, self.schedule = config, vae, text, schedule

    @torch.no_grad()
    def __call__(self, network: EzAudioDiT, device: torch.device) -> list[Heard]:
        """Make the sounds on a device."""
        config, count = self.config, len(self.config.prompts)
        frames = self.vae.frames(round(config.duration_s * self.vae.sample_rate))
        seeds = range(config.seed, config.seed + count)
        noise = SeededNoise(seeds, self.vae.latent_channels, frames, device=device)
        timesteps = TIME_GRIDS["log-snr"](self.schedule, config.steps)
        latent = SAMPLERS["dpmpp-2m"](
            self._velocity(network, count), noise(), schedule=self.schedule, timesteps=timesteps
        )
        self.vae.to(device)
        waves = decode_chunked(self.vae, latent).float().cpu()  # (B, 1, S)
        rate = self.vae.sample_rate
        return [
            Heard(prompt, peak_guard(wave[0].numpy().copy(), _CEILING), rate)
            for prompt, wave in zip(config.prompts, waves, strict=True)
        ]

    def _velocity(self, network: EzAudioDiT, count: int) -> Velocity:
        """The guided velocity; unguided without text."""
        if self.text is None:
            alone = network.prepare()
            return lambda x_t, t: network(x_t, t, alone).float()
        known = network.prepare(self.text)  # the prompts, then the empty one
        positive = known.select(range(count))
        both = Condition.cat([positive, known.select([count] * count)])

        def pair(x_t: Tensor, t: float) -> tuple[Tensor, Tensor]:
            v_pos, v_neg = network(torch.cat([x_t, x_t]), t, both).float().chunk(2)
            return v_pos, v_neg

        return guide(
            pair,
            lambda x_t, t: network(x_t, t, positive).float(),
            scale=self.config.guidance_scale,
            rescale=self.config.guidance_rescale,
            schedule=self.schedule,
        )
