"""What these tests share: the schedule, golden tensors, a network known in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ezaudio.diffusion import Schedule, time_of_angle, zero_snr_schedule

GOLDEN = Path(__file__).parents[1] / "golden" / "diffusion.safetensors"


@dataclass(frozen=True)
class GaussianTeacher:
    """The exact velocity for data of independent N(mean, std^2), and the exact end of the ODE.

    x_t is N(alpha mean, m^2) with m^2 = alpha^2 std^2 + sigma^2, and the probability flow keeps
    (x_t - alpha mean) / m. From noise (m = 1) it therefore ends at mean + std * noise.
    """

    schedule: Schedule
    mean: Tensor
    std: Tensor

    def __call__(self, x_t: Tensor, t: float) -> Tensor:
        node = self.schedule.node(t)
        variance = (node.alpha * self.std) ** 2 + node.sigma**2
        gain = node.alpha * node.sigma * (1 - self.std**2) / variance
        return gain * (x_t - node.alpha * self.mean) - node.sigma * self.mean

    def end(self, noise: Tensor) -> Tensor:
        return self.mean + self.std * noise


@pytest.fixture(scope="session")
def schedule() -> Schedule:
    return zero_snr_schedule()


@pytest.fixture(scope="session")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN)


@pytest.fixture(scope="session")
def gaussian(schedule) -> GaussianTeacher:
    """Six channels, from nearly fixed (0.05) to twice as wide as the noise, in double precision."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(1, 6, 1, dtype=torch.float64, generator=generator)
    std = torch.tensor([0.05, 0.2, 0.5, 0.9, 1.3, 2.0], dtype=torch.float64).reshape(1, 6, 1)
    return GaussianTeacher(schedule, mean, std)


@pytest.fixture(scope="session")
def fine_grid(schedule):
    """Fractional steps: n nodes at 90 cos^2 degrees, dense at both ends, or at equal angles."""

    def grid(nodes: int, *, dense_ends: bool = True) -> Tensor:
        u = torch.arange(nodes, dtype=torch.float64) / nodes
        share = torch.cos(math.pi / 2 * u) ** 2 if dense_ends else 1 - u
        return time_of_angle(schedule, math.pi / 2 * share)

    return grid
