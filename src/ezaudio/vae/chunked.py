"""Encode and decode long sounds in pieces, in bounded memory, with the result of doing it at once.

Each piece is processed together with `overlap_frames` of real context on either side, which is then
cut away. A convolutional network looks a bounded distance (`Autoencoder.receptive_frames`), so with
that much context nothing differs, at the ends of the sound neither: there a piece ends where the
sound does and meets the same zero padding.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ezaudio.errors import InputError
from ezaudio.vae.bottleneck import Posterior
from ezaudio.vae.model import Autoencoder, default_noise

DEFAULT_CHUNK_FRAMES = 250
"""5 s at 50 frames/s: about 70 MB per activation of the released autoencoder."""


def encode_chunked(
    vae: Autoencoder,
    wave: Tensor,
    *,
    chunk_frames: int = DEFAULT_CHUNK_FRAMES,
    overlap_frames: int | None = None,
) -> Posterior:
    """Encode piece by piece, on the network's device; the result lies on the wave's.

    Args:
        vae: any autoencoder.
        wave: (B, 1, S).
        chunk_frames: latent frames per piece, without context.
        overlap_frames: context on each side; `vae.receptive_frames` by default, less is an
            approximation.

    Returns:
        Posterior of (B, C, T), T = ceil(S / hop_samples), without gradients.

    Raises:
        InputError: `chunk_frames` < 1 or `overlap_frames` < 0.
    """
    hop, device = vae.hop_samples, vae.latent_shift.device
    means, stds = [], []
    spans = _spans(vae, vae.frames(wave.shape[-1]), chunk_frames, overlap_frames)
    for lead, keep, span in spans:
        piece = wave[..., span.start * hop : span.stop * hop].to(device)
        with torch.no_grad():
            posterior = vae.encode(piece)
        means.append(posterior.mean[..., lead : lead + keep].to(wave.device))
        stds.append(posterior.std[..., lead : lead + keep].to(wave.device))
    return Posterior(torch.cat(means, -1), torch.cat(stds, -1))


def decode_chunked(
    vae: Autoencoder,
    latent: Tensor,
    noise: Tensor | None = None,
    *,
    chunk_frames: int = DEFAULT_CHUNK_FRAMES,
    overlap_frames: int | None = None,
) -> Tensor:
    """Decode (B, C, T) piece by piece; arguments and errors as in `encode_chunked`.

    Noise is that of `Autoencoder.decode`; each piece hears its own part of it.

    Returns:
        (B, 1, T * hop_samples) on the latent's device, without gradients.
    """
    pieces = decode_pieces(
        vae, latent, noise, chunk_frames=chunk_frames, overlap_frames=overlap_frames
    )
    return torch.cat([piece.to(latent.device) for piece in pieces], -1)


def decode_pieces(
    vae: Autoencoder,
    latent: Tensor,
    noise: Tensor | None = None,
    *,
    chunk_frames: int = DEFAULT_CHUNK_FRAMES,
    overlap_frames: int | None = None,
) -> Iterator[Tensor]:
    """Yield the waveform of (B, C, T) piece by piece, in order.

    Yields:
        (B, 1, chunk_frames * hop_samples) on the network's device; the last one may be shorter.
    """
    hop, device = vae.hop_samples, vae.latent_shift.device
    if vae.excited and noise is None:
        noise = default_noise(latent.shape[-1] * hop).expand(len(latent), 1, -1)
    for lead, keep, span in _spans(vae, latent.shape[-1], chunk_frames, overlap_frames):
        piece = latent[..., span.start : span.stop].to(device)
        own = None if noise is None else noise[..., span.start * hop : span.stop * hop].to(device)
        with torch.no_grad():
            wave = vae.decode(piece, own)
        yield wave[..., lead * hop : (lead + keep) * hop]


def _spans(
    vae: Autoencoder, frames: int, chunk_frames: int, overlap_frames: int | None
) -> list[tuple[int, int, range]]:
    """Per piece: context before it, its own length, and the frames to process; all in frames."""
    overlap = vae.receptive_frames if overlap_frames is None else overlap_frames
    if chunk_frames < 1:
        raise InputError("chunk_frames", chunk_frames, "at least 1")
    if overlap < 0:
        raise InputError("overlap_frames", overlap, "at least 0")
    spans = []
    for start in range(0, frames, chunk_frames):
        stop = min(start + chunk_frames, frames)
        first, last = max(0, start - overlap), min(frames, stop + overlap)
        spans.append((start - first, stop - start, range(first, last)))
    return spans
