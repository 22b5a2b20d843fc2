"""The autoencoder that the other rooms know: waveform, normalised latent, waveform.

A family of autoencoders is a subclass with two methods, `_encode` and `_decode`, in its own raw
units. The base class pads, and shifts and scales each latent channel so that the diffusion model
sees values near unit variance.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ezaudio.vae.bottleneck import Posterior


class Autoencoder(nn.Module):
    """Base of all autoencoders of mono waveforms.

    Args:
        sample_rate: in Hz.
        hop_samples: samples per latent frame.
        latent_channels: C.

    Attributes:
        latent_shift: raw mean of each channel, (C, 1); 0 until measured.
        latent_scale: raw standard deviation of each channel, (C, 1); 1 until measured.
    """

    excited = False
    """Whether the decoder is handed white noise, as well as a latent."""

    latent_shift: Tensor
    latent_scale: Tensor

    def __init__(self, *, sample_rate: int, hop_samples: int, latent_channels: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.hop_samples = hop_samples
        self.latent_channels = latent_channels
        self.register_buffer("latent_shift", torch.zeros(latent_channels, 1))
        self.register_buffer("latent_scale", torch.ones(latent_channels, 1))

    @property
    def receptive_frames(self) -> int:
        """Latent frames of context on each side that make a chunk equal the whole.

        Covers both directions: `_encode` of samples, `_decode` of frames.
        """
        raise NotImplementedError

    def frames(self, samples: int) -> int:
        """Latent frames of a sound of `samples` samples."""
        return -(-samples // self.hop_samples)

    def encode(self, wave: Tensor) -> Posterior:
        """Describe a waveform as Gaussians over normalised latents.

        Args:
            wave: (B, 1, S); padded on the right with zeros to a multiple of `hop_samples`.

        Returns:
            Posterior of (B, C, T) in normalised units, (raw - latent_shift) / latent_scale.

        Raises:
            ValueError: the shape is not (B, 1, S) with S > 0.
        """
        if wave.ndim != 3 or wave.shape[1] != 1 or wave.shape[2] == 0:
            raise ValueError(f"wave must be (B, 1, S) with S > 0, got {tuple(wave.shape)}")
        mean, std = self._encode(F.pad(wave, (0, -wave.shape[-1] % self.hop_samples)))
        return Posterior((mean - self.latent_shift) / self.latent_scale, std / self.latent_scale)

    def decode(self, latent: Tensor, noise: Tensor | None = None) -> Tensor:
        """Turn normalised latents into a waveform.

        Args:
            latent: (B, C, T) in normalised units.
            noise: standard normal, (B, 1, T * hop_samples), for a decoder that is `excited`; others
                ignore it. The same in every row and at every call when left out.

        Returns:
            (B, 1, T * hop_samples).

        Raises:
            ValueError: the shape is not (B, C, T) with T > 0, or the noise has another length.
        """
        channels = self.latent_channels
        if latent.ndim != 3 or latent.shape[1] != channels or latent.shape[2] == 0:
            raise ValueError(
                f"latent must be (B, {channels}, T) with T > 0, got {tuple(latent.shape)}"
            )
        raw = latent * self.latent_scale + self.latent_shift
        samples = latent.shape[2] * self.hop_samples
        if not self.excited:
            return self._decode(raw, raw.new_zeros(()))
        if noise is None:
            noise = default_noise(samples).to(latent.device).expand(len(latent), 1, -1)
        if noise.shape != (len(latent), 1, samples):
            raise ValueError(
                f"noise must be ({len(latent)}, 1, {samples}), got {tuple(noise.shape)}"
            )
        return self._decode(raw, noise)

    def freeze_encoder(self) -> None:
        """Train the decoder alone from here on, so that latents that exist stay valid.

        Does nothing where the encoder has no weights.
        """

    def fold_weight_norm(self) -> None:
        """Make weight-normalised layers plain, in place; the output stays the same."""

    def _encode(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        """Raw mean and deviation, (B, C, T) each, of (B, 1, S), S a multiple of the hop."""
        raise NotImplementedError

    def _decode(self, latent: Tensor, noise: Tensor) -> Tensor:
        """Waveform (B, 1, T * hop_samples) of a raw latent (B, C, T) and, if `excited`, noise."""
        raise NotImplementedError


def default_noise(samples: int) -> Tensor:
    """The noise that excites a decoder which was given none: (1, 1, samples), always the same."""
    generator = torch.Generator().manual_seed(0)
    whole = -(-samples // 16) * 16  # the generator fills whole blocks alike
    return torch.randn(whole, generator=generator)[None, None, :samples]
