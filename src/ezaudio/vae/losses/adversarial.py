"""What discriminator and generator want from each other, as pairs of functions of the logits.

A discriminator gives one map of logits per scale. Each loss is a mean over a map and a sum over the
scales, as in the trainer that the authors' weights come from; a weight therefore means more where
there are more scales.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Logits: TypeAlias = Sequence[Tensor]
"""One tensor per scale, of any shape that begins with the batch."""


@dataclass(frozen=True)
class Adversary:
    """A two-player game.

    Attributes:
        discriminator: (logits of recordings, logits of outputs) -> the discriminator's loss.
        generator: logits of outputs -> the generator's loss.
    """

    discriminator: Callable[[Logits, Logits], Tensor]
    generator: Callable[[Logits], Tensor]


def hinge_discriminator(real: Logits, fake: Logits) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(y)): 2 per scale at the start, 0 when both are told apart.

    Source: Lim & Ye 2017, arXiv:1705.02894.
    """
    pairs = zip(real, fake, strict=True)
    return torch.stack([F.relu(1 - x).mean() + F.relu(1 + y).mean() for x, y in pairs]).sum()


def hinge_generator(fake: Logits) -> Tensor:
    """-D(y)."""
    return -torch.stack([y.mean() for y in fake]).sum()


def least_squares_discriminator(real: Logits, fake: Logits) -> Tensor:
    """(1 - D(x))^2 + D(y)^2 (Mao et al. 2017, arXiv:1611.04076)."""
    pairs = zip(real, fake, strict=True)
    return torch.stack([(1 - x).square().mean() + y.square().mean() for x, y in pairs]).sum()


def least_squares_generator(fake: Logits) -> Tensor:
    """(1 - D(y))^2."""
    return torch.stack([(1 - y).square().mean() for y in fake]).sum()


ADVERSARIES: dict[str, Adversary] = {
    "hinge": Adversary(hinge_discriminator, hinge_generator),
    "least-squares": Adversary(least_squares_discriminator, least_squares_generator),
}
"""Every game by its name."""


def feature_matching(
    real: Sequence[Logits], fake: Sequence[Logits], *, relative: bool = False
) -> Tensor:
    """How far a discriminator's inner maps of an output lie from those of its recording.

    Mean absolute difference per layer, mean over layers, sum over scales
    (Larsen et al. 2016, arXiv:1512.09300; Kumar et al. 2019, arXiv:1910.06711).

    Args:
        real: maps of each scale, layer by layer; no gradient is wanted for them.
        fake: the same of the outputs.
        relative: divide each layer's difference by the mean magnitude of the recording's map, so
            that no layer weighs more for being louder (EnCodec, arXiv:2210.13438, equation 2).
    """
    scales = []
    for ours, theirs in zip(fake, real, strict=True):
        layers = []
        for y, x in zip(ours, theirs, strict=True):
            layer = (y - x.detach()).abs().mean()
            layers.append(layer / x.detach().abs().mean().clamp_min(1e-6) if relative else layer)
        scales.append(torch.stack(layers).mean())
    return torch.stack(scales).sum()
