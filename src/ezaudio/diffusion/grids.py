r"""Which diffusion steps a sampler visits: a grid is chosen apart from the sampler.

Each function returns `steps` whole steps, strictly decreasing, beginning in pure noise (t = N-1).
The step from the last node to the clean sound is the sampler's own, so `steps` nodes make `steps`
steps.

    trailing       evenly spaced in t, ending N/steps - 1 above zero: the authors' grid. Of 50 steps
                   with N = 1000, 13 lie above 80 degrees of noise and the last is at t = 19.
    uniform-angle  phi_k = 90 (1 - k/steps) degrees: equal turns of the rotation that DDIM makes.
    log-snr        lambda = log(alpha / sigma) evenly spaced from -3 to its value at t = 0; the
                   first node, which that would put at 87 degrees, is moved to pure noise. Made for
                   second-order samplers from about 8 steps on. With 2 to 4 steps it spends too many
                   of them near the clean end: take `uniform-angle` there.

The last two round to the nearest whole step in their own variable. Where several nodes would fall
on one step they spread over neighbouring ones, so any number from 1 to N works, and N visits every
step.

Torch is imported by the functions: the names of the grids are needed where nothing is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from ezaudio.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from ezaudio.diffusion.schedule import Schedule

TimeGrid: TypeAlias = "Callable[[Schedule, int], Tensor]"
"""(schedule, number of steps) -> whole steps, int64 (steps,), strictly decreasing from N-1."""

_LOWEST_LOG_SNR = -3.0


def trailing(schedule: Schedule, steps: int) -> Tensor:
    """Evenly spaced in t, counted back from the last step (Lin et al. 2023, table 2)."""
    import torch

    _check(schedule, steps)
    back = torch.arange(steps, dtype=torch.float64) * (schedule.num_steps / steps)
    return (schedule.num_steps - back).round().long() - 1


def uniform_angle(schedule: Schedule, steps: int) -> Tensor:
    """Evenly spaced in noise angle, from 90 degrees to 90/steps degrees."""
    import torch

    _check(schedule, steps)
    wanted = (math.pi / 2) * (1.0 - torch.arange(steps, dtype=torch.float64) / steps)
    return _falling(_nearest(schedule.angle, wanted), schedule)


def log_snr(schedule: Schedule, steps: int) -> Tensor:
    """Evenly spaced in log(alpha / sigma) from -3, the first node moved to pure noise."""
    import torch

    _check(schedule, steps)
    table = schedule.log_snr
    wanted = torch.linspace(_LOWEST_LOG_SNR, float(table[0]), steps, dtype=torch.float64)
    return _falling(_nearest(-table, -wanted), schedule)


TIME_GRIDS: MappingProxyType[str, TimeGrid] = MappingProxyType(
    {"trailing": trailing, "uniform-angle": uniform_angle, "log-snr": log_snr}
)
"""Grids by the name that users write."""


def _check(schedule: Schedule, steps: int) -> None:
    whole = isinstance(steps, int) and not isinstance(steps, bool)
    if not whole or not 1 <= steps <= schedule.num_steps:
        raise InputError("steps", steps, f"a whole number from 1 to {schedule.num_steps}")


def _nearest(rising: Tensor, wanted: Tensor) -> Tensor:
    """Index of the entry of `rising` (N,) nearest to each of `wanted` (K,)."""
    import torch

    above = torch.searchsorted(rising, wanted).clamp(1, rising.numel() - 1)
    low, high = rising[above - 1], rising[above]
    return torch.where(wanted - low <= high - wanted, above - 1, above)


def _falling(nodes: Tensor, schedule: Schedule) -> Tensor:
    """Begin in pure noise; spread equal nodes downwards, keeping room for those that follow."""
    import torch

    fallen = [schedule.num_steps - 1]
    last = nodes.numel() - 1
    for index, node in enumerate(nodes.tolist()[1:], start=1):
        fallen.append(max(min(node, fallen[-1] - 1), last - index))
    return torch.tensor(fallen, dtype=torch.int64)
