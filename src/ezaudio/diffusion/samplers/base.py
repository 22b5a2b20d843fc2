"""What every sampler shares: the path, the step, and the driver around it.

A sampler is a short generator function: it walks a path of nodes from noise to the clean sound and
yields one `Step` per interval. `Sampler` drives it: it checks the input, reports progress, and
returns the end. Arguments are never changed. The latent keeps the dtype and device of the noise;
coefficients are plain numbers in double precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ezaudio.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from ezaudio.diffusion.noise import NoiseSource
    from ezaudio.diffusion.prediction import Velocity
    from ezaudio.diffusion.schedule import Node, Schedule

StepCallback: TypeAlias = "Callable[[int, int, float, Tensor], None]"
"""(step index from 0, number of steps, diffusion step t, estimate of x0 (B, C, T)).

Called after every step; whatever it raises (`Cancelled`, say) ends the sampling."""


@dataclass(frozen=True)
class Step:
    """One step that was made.

    Attributes:
        here: where it began.
        x0: the clean latent that the network expected there, `(B, C, T)`.
        x_next: the latent at the next node, `(B, C, T)`; the result after the last step.
    """

    here: Node
    x0: Tensor
    x_next: Tensor


class StepFunction(Protocol):
    """The algorithm of a sampler."""

    def __call__(
        self,
        velocity: Velocity,
        x_t: Tensor,
        path: Sequence[Node],
        *,
        eta: float,
        noise_source: NoiseSource | None,
    ) -> Iterator[Step]:
        """Yield one step per interval of `path`, from `x_t` (B, C, T) at its first node."""


@dataclass(frozen=True)
class Sampler:
    """A sampler from the registry.

    Attributes:
        steps: the algorithm.
        summary: one line for help texts.
        evaluations_per_step: calls of the network in a step (the last step always makes one).
        stochastic: whether `eta` above 0 is understood.
    """

    steps: StepFunction
    summary: str
    evaluations_per_step: int = 1
    stochastic: bool = False

    def __call__(
        self,
        velocity: Velocity,
        noise: Tensor,
        *,
        schedule: Schedule,
        timesteps: Tensor | Sequence[float],
        noise_source: NoiseSource | None = None,
        eta: float = 0.0,
        callback: StepCallback | None = None,
    ) -> Tensor:
        """Turn noise into a clean latent.

        Args:
            velocity: the (guided) network, `(x_t, t) -> v`.
            noise: the latent at the first node, `(B, C, T)`; standard normal noise at t = N-1.
            schedule: noise schedule.
            timesteps: the nodes, strictly decreasing; see `grids`.
            noise_source: gives fresh noise `(B, C, T)`; needed for eta above 0.
            eta: share of fresh noise, 0 (none) to 1 (ancestral sampling).
            callback: told about every step.

        Returns:
            x0 `(B, C, T)`.

        Raises:
            InputError: `eta` or `timesteps` is not allowed, or `noise_source` is missing.
        """
        path = schedule.path(timesteps)
        result = noise
        made = self.walk(velocity, noise, path=path, noise_source=noise_source, eta=eta)
        for index, step in enumerate(made):
            result = step.x_next
            if callback is not None:
                callback(index, len(path) - 1, step.here.t, step.x0)
        return result

    def walk(
        self,
        velocity: Velocity,
        noise: Tensor,
        *,
        path: Sequence[Node],
        noise_source: NoiseSource | None = None,
        eta: float = 0.0,
    ) -> Iterator[Step]:
        """Yield the steps one by one; arguments as in a call, `path` from `Schedule.path`."""
        if not 0.0 <= eta <= 1.0:
            raise InputError("eta", eta, "a number from 0 to 1")
        if eta > 0.0 and not self.stochastic:
            raise InputError("eta", eta, "0 with this sampler; it adds no noise")
        if eta > 0.0 and noise_source is None:
            raise InputError("noise_source", None, "a source of noise when eta is above 0")
        return self.steps(velocity, noise, path, eta=eta, noise_source=noise_source)
