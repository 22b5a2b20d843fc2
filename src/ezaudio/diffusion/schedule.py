r"""How much noise a diffusion step holds: a variance-preserving schedule that ends in pure noise.

    x_t = alpha_t x0 + sigma_t eps,    alpha_t^2 + sigma_t^2 = 1,    t = 0 ... N-1

`alpha^2` (written ``alphas_cumprod`` in the field) comes from betas whose square roots are evenly
spaced, and `alpha` is then shifted and scaled so that ``alpha_{N-1} = 0`` exactly while
``alpha_0`` stays (zero terminal SNR; Lin et al. 2023, arXiv:2305.08891, algorithm 1). The last
step is noise and nothing else, therefore **no formula here divides by alpha**.

Three names for the same thing:

    angle  phi    = atan2(sigma, alpha)     90 degrees at t = N-1, 1.67 degrees at t = 0
    log-SNR lambda = log(alpha / sigma)      half the usual log-SNR; minus infinity at t = N-1
    clean sound   t = -1: alpha = 1, sigma = 0, phi = 0

With alpha = cos(phi) and sigma = sin(phi) the velocity is the derivative of the path, v = dx/dphi,
so the probability-flow ODE is ``dx/dphi = v(x, phi)`` and phi, finite at both ends, is its natural
time.

**Between the steps.** A network knows whole steps only. For solvers studied on grids finer than
that, the functions below take any t in [-1, N-1]: the angle is interpolated linearly between whole
steps. The ODE above depends on phi alone, so how t labels phi (with kinks at whole steps) changes
no solution. At whole steps alpha and sigma are the table's own values.

Deviation: the authors compute the table in float32, this module in float64, so that it does not
depend on the processor's rounding. ``alphas_cumprod`` differs by at most 5.1e-7.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor

from ezaudio.errors import InputError

_Function: TypeAlias = Callable[[Tensor], Tensor]

_DEGREES_PER_RADIAN = 180.0 / math.pi


@dataclass(frozen=True)
class Node:
    """A point on the way from noise to sound.

    Attributes:
        t: diffusion step; an int on a grid of whole steps, -1 for the clean sound.
        alpha: share of the sound, cos(phi).
        sigma: share of the noise, sin(phi).
        phi: noise angle in radians, 0 (clean) to pi/2 (noise).
    """

    t: float
    alpha: float
    sigma: float
    phi: float

    @property
    def log_snr(self) -> float:
        """lambda = log(alpha / sigma); -inf in pure noise, +inf in clean sound."""
        if self.alpha <= 0.0:
            return -math.inf
        if self.sigma <= 0.0:
            return math.inf
        return math.log(self.alpha) - math.log(self.sigma)


CLEAN = Node(t=-1, alpha=1.0, sigma=0.0, phi=0.0)
"""Where every sampler ends (the authors' `final_alpha_cumprod`, 1)."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """A noise schedule.

    Attributes:
        alphas_cumprod: alpha^2 per step, decreasing from below 1 to 0 or more; float64 `(N,)`, CPU.
    """

    alphas_cumprod: Tensor

    def __post_init__(self) -> None:
        """Raise ValueError unless the table is a schedule."""
        table = self.alphas_cumprod
        if table.ndim != 1 or table.dtype != torch.float64 or table.device.type != "cpu":
            raise ValueError("alphas_cumprod must be a float64 vector on the CPU")
        inside = bool(table.numel()) and float(table[0]) < 1.0 and float(table[-1]) >= 0.0
        if not inside or bool((table.diff() >= 0).any()):
            raise ValueError(
                "alphas_cumprod must decrease strictly, from below 1 to no less than 0"
            )

    @property
    def num_steps(self) -> int:
        """Number of diffusion steps, N."""
        return self.alphas_cumprod.numel()

    @cached_property
    def alpha(self) -> Tensor:
        """Share of the sound at whole steps, float64 `(N,)`."""
        return self.alphas_cumprod.sqrt()

    @cached_property
    def sigma(self) -> Tensor:
        """Share of the noise at whole steps, float64 `(N,)`."""
        return (1.0 - self.alphas_cumprod).sqrt()

    @cached_property
    def angle(self) -> Tensor:
        """Noise angle at whole steps in radians, float64 `(N,)`."""
        return torch.atan2(self.sigma, self.alpha)

    @cached_property
    def log_snr(self) -> Tensor:
        """lambda = log(alpha / sigma) at whole steps, float64 `(N,)`; may begin at -inf."""
        return self.alpha.log() - self.sigma.log()

    def angle_at(self, t: Tensor | float) -> Tensor:
        """Noise angle phi in radians at t in [-1, N-1]; float64, shape of `t`, on the CPU.

        Raises:
            ValueError: a step lies outside the schedule.
        """
        position = self._position(t)
        below = position.floor().clamp(max=self.num_steps - 1).long()
        knots = _with_clean(self.angle, 0.0)
        return torch.lerp(knots[below], knots[below + 1], position - below)

    def alpha_at(self, t: Tensor | float) -> Tensor:
        """Share of the sound at t, exactly the table at whole steps; float64, shape of `t`, CPU."""
        return self._at(t, self.alpha, clean=1.0, between=torch.cos)

    def sigma_at(self, t: Tensor | float) -> Tensor:
        """Share of the noise at t, exactly the table at whole steps; float64, shape of `t`, CPU."""
        return self._at(t, self.sigma, clean=0.0, between=torch.sin)

    def degrees_at(self, t: float) -> float:
        """Noise angle at t in degrees, 0 to 90."""
        return float(self.angle_at(t)) * _DEGREES_PER_RADIAN

    def node(self, t: float) -> Node:
        """The point at step t, as plain numbers."""
        return Node(t, float(self.alpha_at(t)), float(self.sigma_at(t)), float(self.angle_at(t)))

    def path(self, timesteps: Tensor | Sequence[float]) -> list[Node]:
        """The points at `timesteps`, then the clean sound.

        Raises:
            InputError: the steps are none, not one axis, not decreasing, or outside (-1, N-1].
        """
        steps = timesteps.tolist() if isinstance(timesteps, Tensor) else list(timesteps)
        flat = bool(steps) and all(isinstance(t, int | float) for t in steps)
        falling = flat and all(here > there for here, there in pairwise(steps))
        if not falling or not (steps[-1] > -1 and steps[0] <= self.num_steps - 1):
            allowed = f"at least one step, strictly decreasing, from {self.num_steps - 1} down to 0"
            raise InputError("timesteps", steps, allowed)
        return [*(self.node(t) for t in steps), CLEAN]

    def _at(self, t: Tensor | float, table: Tensor, *, clean: float, between: _Function) -> Tensor:
        position = self._position(t)
        whole = _with_clean(table, clean)[position.round().long()]
        return torch.where(position == position.round(), whole, between(self.angle_at(t)))

    def _position(self, t: Tensor | float) -> Tensor:
        """Index into a table that begins with the clean sound: t + 1."""
        position = torch.as_tensor(t, dtype=torch.float64, device="cpu") + 1.0
        if not bool(((position >= 0) & (position <= self.num_steps)).all()):
            raise ValueError(f"diffusion step outside [-1, {self.num_steps - 1}]: {t}")
        return position


def zero_snr_schedule(
    num_steps: int = 1000, *, beta_start: float = 0.00085, beta_end: float = 0.012
) -> Schedule:
    """The paper's schedule: scaled-linear betas, rescaled to zero terminal SNR.

    Args:
        num_steps: N, at least 2.
        beta_start: variance that the first step of the unscaled schedule adds.
        beta_end: variance that the last one adds.

    Source: Lin et al. 2023, algorithm 1; values from the authors' released configurations.
    """
    if num_steps < 2 or not 0.0 < beta_start <= beta_end < 1.0:
        raise ValueError("a schedule needs 2 steps or more and 0 < beta_start <= beta_end < 1")
    root = torch.linspace(beta_start**0.5, beta_end**0.5, num_steps, dtype=torch.float64)
    alpha = torch.cumprod(1.0 - root.square(), dim=0).sqrt()
    first, last = alpha[0], alpha[-1]
    alpha = (alpha - last) * (first / (first - last))
    return Schedule(alpha.square())


def time_of_angle(schedule: Schedule, phi: Tensor | float) -> Tensor:
    """Fractional step whose noise angle is `phi`: the inverse of `Schedule.angle_at`.

    Args:
        schedule: noise schedule.
        phi: noise angles in radians, from 0 to the angle of the last step.

    Returns:
        Steps in [-1, N-1], float64, shape of `phi`, on the CPU.

    Raises:
        ValueError: an angle lies outside.
    """
    wanted = torch.as_tensor(phi, dtype=torch.float64, device="cpu")
    knots = _with_clean(schedule.angle, 0.0)
    if bool(((wanted < 0) | (wanted > knots[-1])).any()):
        raise ValueError(f"angle outside [0, {float(knots[-1]):.6f}] radians")
    above = torch.searchsorted(knots, wanted.contiguous()).clamp(1, schedule.num_steps)
    low, high = knots[above - 1], knots[above]
    return (above - 2) + (wanted - low) / (high - low)


def _with_clean(table: Tensor, clean: float) -> Tensor:
    """The table of whole steps after the clean sound's value, `(1 + N,)`."""
    return torch.cat([torch.tensor([clean], dtype=torch.float64), table])
