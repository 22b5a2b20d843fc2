"""Heun's method in the noise angle: two network calls a step, second order.

The ODE is dx/dphi = v(x, phi). A step turns by delta = phi_t - phi_s:

    x_t* = cos(delta) x_s + sin(delta) v_s          predictor: the DDIM rotation
    x_t  = x_s + tan(delta / 2) (v_s + v_t*)        corrector, v_t* the velocity at (x_t*, t)

Plain Heun has delta / 2 in place of tan(delta / 2), and a straight line as its predictor. With the
tangent the corrector too is exact on a circle (x0 and eps constant), so large steps keep their
length; both agree to third order. Derivation: along the path x'' + x = f, where f vanishes on a
circle; take f constant over the step, eliminate it with v_t*.

The last step, to phi = 0, is the rotation alone, i.e. x0: the network knows no step below t = 0.

Limits: deterministic; n steps cost 2 n - 1 calls.

Source: Heun's method, exponentially fitted; derived here.
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


def heun_steps(
    velocity: Velocity,
    x_t: Tensor,
    path: Sequence[Node],
    *,
    eta: float,
    noise_source: NoiseSource | None,
) -> Iterator[Step]:
    """Steps of Heun's method, deterministic; arguments and result as in `StepFunction`."""
    for here, there in pairwise(path):
        v = velocity(x_t, here.t)
        x0 = here.alpha * x_t - here.sigma * v
        if there.sigma == 0.0:
            x_t = x0
        else:
            delta = there.phi - here.phi
            predicted = math.cos(delta) * x_t + math.sin(delta) * v
            x_t = x_t + math.tan(delta / 2.0) * (v + velocity(predicted, there.t))
        yield Step(here, x0, x_t)
