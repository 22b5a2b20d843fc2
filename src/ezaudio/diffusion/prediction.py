"""What the network predicts, and what follows from it.

    x_t = alpha x0 + sigma eps        noising
    v   = alpha eps - sigma x0        velocity: the derivative of x_t by the noise angle
    x0  = alpha x_t - sigma v
    eps = sigma x_t + alpha v

The pair (x0, eps) is (x_t, v) turned by the noise angle, so every conversion is a rotation: none
divides, and all hold at alpha = 0, where x_t = eps and v = -x0. The two conversions left out would
divide there: x0 cannot be had from eps in pure noise, which is why the network predicts v.

Source: Salimans and Ho 2022 (arXiv:2202.00512), appendix D.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from ezaudio.diffusion.schedule import Schedule

Velocity: TypeAlias = Callable[[Tensor, float], Tensor]
"""The network as this room knows it: noisy latent (B, C, T) and step -> velocity (B, C, T)."""


def x0_from_v(x_t: Tensor, v: Tensor, t: Tensor | float, schedule: Schedule) -> Tensor:
    """Clean latent.

    Args:
        x_t: noisy latent `(B, C, T)`.
        v: velocity `(B, C, T)`.
        t: diffusion steps `(B,)`, or one for all rows.
        schedule: noise schedule.

    Returns:
        x0 `(B, C, T)`.
    """
    alpha, sigma = coefficients(t, schedule, like=x_t)
    return alpha * x_t - sigma * v


def eps_from_v(x_t: Tensor, v: Tensor, t: Tensor | float, schedule: Schedule) -> Tensor:
    """Noise `(B, C, T)`; arguments as in `x0_from_v`."""
    alpha, sigma = coefficients(t, schedule, like=x_t)
    return sigma * x_t + alpha * v


def v_from_x0_eps(x0: Tensor, eps: Tensor, t: Tensor | float, schedule: Schedule) -> Tensor:
    """Velocity `(B, C, T)` of the path from `eps` to `x0` at step t."""
    alpha, sigma = coefficients(t, schedule, like=x0)
    return alpha * eps - sigma * x0


def add_noise(x0: Tensor, noise: Tensor, t: Tensor | float, schedule: Schedule) -> Tensor:
    """Noisy latent x_t `(B, C, T)` at step t, `(B,)` or one for all rows."""
    alpha, sigma = coefficients(t, schedule, like=x0)
    return alpha * x0 + sigma * noise


def velocity_target(x0: Tensor, noise: Tensor, t: Tensor | float, schedule: Schedule) -> Tensor:
    """What the network is trained to predict, `(B, C, T)`: see `v_from_x0_eps`."""
    return v_from_x0_eps(x0, noise, t, schedule)


def coefficients(t: Tensor | float, schedule: Schedule, *, like: Tensor) -> tuple[Tensor, Tensor]:
    """Alpha and sigma at t, in the dtype and on the device of `like`, shaped to multiply it.

    Returns:
        Two tensors, `(B, 1, 1)` for t of `(B,)`, else without axes.
    """
    alpha, sigma = (
        value.to(dtype=like.dtype, device=like.device)
        for value in (schedule.alpha_at(t), schedule.sigma_at(t))
    )
    shape = (-1, *(1,) * (like.ndim - 1)) if alpha.ndim else ()
    return alpha.reshape(shape), sigma.reshape(shape)
