"""How far from the exact solution does each grid and sampler end, by number of steps?

The "network" is exact: data are a mixture of Gaussians in 48 dimensions, for which the velocity is
known in closed form. The prompt stands for four of its 32 components, the empty prompt for all,
and guidance (w = 3, Eq. (1)) joins them. The reference is the same guided ODE solved with many
Heun steps on a fine continuous grid. Each cell holds the median over samples of |x0 - reference| /
|reference|, and in brackets how many samples of the 64 ended by more than 0.3 elsewhere: close to
pure noise a small error can decide for another component, and then the distance says no more than
that.

It ranks solvers and their stability. It says nothing about sound: a trained network has errors of
its own.

    python benchmarks/solver_error.py                    # the table, some 20 s of one core
    python benchmarks/solver_error.py --steps 4 8 16 50 --guidance-scale 3
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ezaudio.diffusion import (
    SAMPLERS,
    TIME_GRIDS,
    Schedule,
    Velocity,
    guide,
    time_of_angle,
    zero_snr_schedule,
)

DIMENSIONS, COMPONENTS, IN_PROMPT = 48, 32, 4
REFERENCE_STEPS = 400  # within 1e-4 of 800 steps for every sample, 1e-5 for the median
ELSEWHERE = 0.3


@dataclass(frozen=True)
class Mixture:
    """Isotropic Gaussians of equal weight: means `(K, D)`, standard deviations `(K,)`."""

    mean: Tensor
    std: Tensor

    def velocity(self, x_t: Tensor, alpha: float, sigma: float) -> Tensor:
        """Exact velocity `(B, D, 1)`: the mean over components of each one's own.

        For one component, v = -sigma mean + alpha sigma (1 - std^2) / m^2 (x_t - alpha mean), with
        m^2 = alpha^2 std^2 + sigma^2 the variance of x_t.
        """
        x = x_t[:, None, :, 0]  # (B, 1, D)
        variance = (alpha * self.std) ** 2 + sigma**2  # (K,)
        away = x - alpha * self.mean  # (B, K, D)
        log_weight = -away.square().sum(-1) / (2 * variance) - DIMENSIONS / 2 * variance.log()
        weight = log_weight.softmax(dim=1)[..., None]  # (B, K, 1)
        gain = (alpha * sigma * (1 - self.std**2) / variance)[:, None]  # (K, 1)
        return (weight * (gain * away - sigma * self.mean)).sum(1)[..., None]


def guided_teacher(schedule: Schedule, scale: float) -> Velocity:
    """The exact guided velocity, at whole and fractional steps."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(COMPONENTS, DIMENSIONS, generator=generator, dtype=torch.float64)
    std = 0.1 + 0.4 * torch.rand(COMPONENTS, generator=generator, dtype=torch.float64)
    everything = Mixture(mean, std)
    prompt = Mixture(mean[:IN_PROMPT], std[:IN_PROMPT])

    def positive(x_t: Tensor, t: float) -> Tensor:
        node = schedule.node(t)
        return prompt.velocity(x_t, node.alpha, node.sigma)

    def pair(x_t: Tensor, t: float) -> tuple[Tensor, Tensor]:
        node = schedule.node(t)
        return positive(x_t, t), everything.velocity(x_t, node.alpha, node.sigma)

    return guide(pair, positive, scale=scale, rescale=0.0, schedule=schedule)


def reference(velocity: Velocity, noise: Tensor, schedule: Schedule) -> Tensor:
    """The solution: nodes at 90 cos^2(u) degrees, dense at both ends."""
    u = torch.arange(REFERENCE_STEPS, dtype=torch.float64) / REFERENCE_STEPS
    nodes = time_of_angle(schedule, math.pi / 2 * torch.cos(math.pi / 2 * u) ** 2)
    return SAMPLERS["heun"](velocity, noise, schedule=schedule, timesteps=nodes)


def table(steps: Sequence[int], *, scale: float, samples: int) -> dict[str, list[Tensor]]:
    """Relative endpoint errors `(samples,)` of every grid and sampler, per number of steps."""
    schedule = zero_snr_schedule()
    velocity = guided_teacher(schedule, scale)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(samples, DIMENSIONS, 1, generator=generator, dtype=torch.float64)
    exact = reference(velocity, noise, schedule)
    size = exact.flatten(1).norm(dim=1)
    rows = {}
    for grid_name, grid in TIME_GRIDS.items():
        for name, sampler in SAMPLERS.items():
            ends = (
                sampler(velocity, noise, schedule=schedule, timesteps=grid(schedule, count))
                for count in steps
            )
            errors = [(x0 - exact).flatten(1).norm(dim=1) / size for x0 in ends]
            rows[f"{grid_name} / {name}"] = errors
    return rows


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 8, 16, 50])
    parser.add_argument("--guidance-scale", type=float, default=3.0)
    parser.add_argument("--samples", type=int, default=64)
    options = parser.parse_args()
    begin = time.perf_counter()
    rows = table(options.steps, scale=options.guidance_scale, samples=options.samples)
    print(f"| grid / sampler | {' | '.join(str(count) for count in options.steps)} |")
    print(f"|---|{'---|' * len(options.steps)}")
    for name, errors in rows.items():
        cells = (f"{float(e.median()):.4f} ({int((e > ELSEWHERE).sum())})" for e in errors)
        print(f"| {name} | {' | '.join(cells)} |")
    print(
        f"\n{time.perf_counter() - begin:.0f} s; heun calls the network 2 n - 1 times in n steps."
    )


if __name__ == "__main__":
    main()
