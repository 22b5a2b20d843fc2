"""DDIM, and everything from it to ancestral sampling.

One step goes from s to t, with x0 and eps as the network sees them at s:

    x_t = alpha_t x0 + sqrt(sigma_t^2 - s^2) eps + s z,      z fresh noise
    s   = eta (sigma_t / sigma_s) sqrt(1 - (alpha_s / alpha_t)^2)

eta = 0 is the probability-flow ODE to first order; as v = dx/dphi, the step is a rotation by the
angle between s and t, exact when x0 and eps do not change along the way. eta = 1 is ancestral
sampling, the authors' own default.

Limits: first order. At alpha_s = 0 all is finite (s = eta sigma_t), but for eta = 1 the root is
exactly 0, and rounding may put a tiny negative number under it.

Deviation: the authors' scheduler takes that root in float32 without a guard, and depending on the
processor's rounding its whole eta = 1 trajectory is NaN. Here the number is kept at 0 or above. No
noise is drawn for the last step, where s = 0.

Source: Song et al. 2021 (arXiv:2010.02502), equations (12) and (16).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ezaudio.diffusion.samplers.base import Step

if TYPE_CHECKING:
    from torch import Tensor

    from ezaudio.diffusion.noise import NoiseSource
    from ezaudio.diffusion.prediction import Velocity
    from ezaudio.diffusion.schedule import Node


def ddim_steps(
    velocity: Velocity,
    x_t: Tensor,
    path: Sequence[Node],
    *,
    eta: float,
    noise_source: NoiseSource | None,
) -> Iterator[Step]:
    """Steps of DDIM; arguments and result as in `StepFunction`."""
    for here, there in pairwise(path):
        v = velocity(x_t, here.t)
        x0 = here.alpha * x_t - here.sigma * v
        eps = here.sigma * x_t + here.alpha * v
        spread = eta * _ancestral_spread(here, there)
        kept = math.sqrt(max(0.0, there.sigma**2 - spread**2))
        x_t = there.alpha * x0 + kept * eps
        if spread > 0.0 and noise_source is not None:
            x_t = x_t + spread * noise_source()
        yield Step(here, x0, x_t)


def _ancestral_spread(here: Node, there: Node) -> float:
    """Standard deviation of the fresh noise at eta = 1, equation (16)."""
    shrink = max(0.0, 1.0 - (here.alpha / there.alpha) ** 2)
    return there.sigma / here.sigma * math.sqrt(shrink)
