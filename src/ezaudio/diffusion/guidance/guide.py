"""Guidance as a velocity: what a sampler sees is one function, whatever happens inside.

A negative prompt needs nothing special: it is the text of the negative branch in place of the
empty one.

Guidance can be limited to an interval of noise angles. At high noise it narrows what can still be
said, at low noise it changes little (Kynkaanniemi et al. 2024, arXiv:2404.07724); outside the
interval only the positive branch runs, which saves half of the step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from ezaudio.diffusion.guidance.classifier_free import cfg, rescale_guidance
from ezaudio.diffusion.prediction import Velocity
from ezaudio.diffusion.schedule import Schedule
from ezaudio.errors import InputError

VelocityPair: TypeAlias = Callable[[Tensor, float], tuple[Tensor, Tensor]]
"""Noisy latent (B, C, T) and step -> (v_pos, v_neg), each (B, C, T)."""


def guide(
    pair: VelocityPair,
    positive: Velocity,
    *,
    scale: float,
    rescale: float,
    schedule: Schedule,
    interval: tuple[float, float] | None = None,
) -> Velocity:
    """Guided velocity.

    Args:
        pair: both branches, evaluated together.
        positive: the branch of the prompt alone; used at scale 1 and outside the interval.
        scale: w of Eq. (1), 0 or more; 1 is no guidance.
        rescale: phi of Eq. (3), 0 to 1.
        schedule: noise schedule, which gives the angle of a step.
        interval: lowest and highest angle with guidance, in degrees, inclusive; None: always.

    Raises:
        InputError: a value is outside its range.
    """
    low, high = _checked(scale, rescale, interval)
    if scale == 1.0:
        return positive

    def velocity(x_t: Tensor, t: float) -> Tensor:
        if not low <= schedule.degrees_at(t) <= high:
            return positive(x_t, t)
        v_pos, v_neg = pair(x_t, t)
        v_cfg = cfg(v_pos, v_neg, w=scale)
        return v_cfg if rescale == 0.0 else rescale_guidance(v_cfg, v_pos, phi=rescale)

    return velocity


def _checked(
    scale: float, rescale: float, interval: tuple[float, float] | None
) -> tuple[float, float]:
    if not (math.isfinite(scale) and scale >= 0.0):
        raise InputError("guidance_scale", scale, "a number of 0 or more")
    if not 0.0 <= rescale <= 1.0:
        raise InputError("guidance_rescale", rescale, "a number from 0 to 1")
    low, high = (0.0, 90.0) if interval is None else interval
    if not 0.0 <= low <= high <= 90.0:
        raise InputError(
            "guidance_interval", interval, "two angles, 0 <= low <= high <= 90 degrees"
        )
    return low, high
