"""The price of information in the latent."""

from __future__ import annotations

from torch import Tensor

from ezaudio.vae.bottleneck import Posterior


def divergence(posterior: Posterior) -> Tensor:
    """mean^2 + std^2 - 1 - log std^2, summed over channels, mean over batch and frames.

    Twice the nats of `Posterior.kl`: in the authors' trainer the divergence lacks its factor 1/2,
    and their weight of 1e-4 belongs to this value.
    """
    return 2 * posterior.kl()
