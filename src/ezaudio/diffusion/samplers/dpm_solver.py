"""DPM-Solver++(2M): a second-order multistep solver that extrapolates x0, one network call a step.

With lambda = log(alpha / sigma) and h = lambda_t - lambda_s, a step from s to t is

    x_t = (sigma_t / sigma_s) x_s + (alpha_t - alpha_s sigma_t / sigma_s) D
    D   = x0_s + (h / (2 h_before)) (x0_s - x0_before)

The factor of D is alpha_t (1 - e^-h) written without lambda: finite at alpha_s = 0, where x_t =
sigma_t x_s + alpha_t D. Three steps are of first order (D = x0_s): the first, for want of history;
the second when the first began in pure noise, as h_before is then infinite and the correction 0;
and the last, where h is infinite and the result is x0_s itself. Each costs a local error of second
order once, so the whole stays of second order (up to a logarithm: see the tests).

Limits: deterministic; large steps with strong guidance may overshoot, as any extrapolation.

Deviation: implementations that put lambda itself into the formulas replace alpha^2 = 0 by a small
number such as 2^-24 at the first node; here it stays 0.

Source: Lu et al. 2022 (arXiv:2211.01095), algorithm 2.
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


def dpm_solver_2m_steps(
    velocity: Velocity,
    x_t: Tensor,
    path: Sequence[Node],
    *,
    eta: float,
    noise_source: NoiseSource | None,
) -> Iterator[Step]:
    """Steps of DPM-Solver++(2M), deterministic; arguments and result as in `StepFunction`."""
    before: Step | None = None
    for here, there in pairwise(path):
        x0 = here.alpha * x_t - here.sigma * velocity(x_t, here.t)
        estimate = x0
        if before is not None:
            weight = _correction(before.here, here, there)
            estimate = x0 + weight * (x0 - before.x0)
        ratio = there.sigma / here.sigma
        x_t = ratio * x_t + (there.alpha - here.alpha * ratio) * estimate
        before = Step(here, x0, x_t)
        yield before


def _correction(before: Node, here: Node, there: Node) -> float:
    """h / (2 h_before), or 0 where a step is of first order."""
    h_before = here.log_snr - before.log_snr
    h = there.log_snr - here.log_snr
    return h / (2.0 * h_before) if math.isfinite(h) and math.isfinite(h_before) else 0.0
