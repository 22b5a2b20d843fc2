"""Averages of weights: over several horizons, so that the horizon can be chosen afterwards, or over
one, as a module of its own.

An average with half-life h keeps 0.5 ** (1 / h) of itself per step. Which one is best is known only
when it is measured: short ones follow, long ones are smooth. A run keeps them all, measures each at
every validation, and exports each; the one that measured best gets the plain name.

Early on an average of n updates keeps at most (1 + n) / (10 + n) of itself, so that it forgets the
fresh weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from ezaudio.config import Config
from ezaudio.training.loop.distributed import local

M = TypeVar("M", bound=nn.Module)

PRESENT = "present"
"""Name of the weights that are trained, beside those of the averages."""


class AveragesConfig(Config):
    """Which averages are kept.

    Attributes:
        half_lives: In steps; none are kept without any.
        every: Steps between updates; a decay over that many steps is applied at once.
    """

    half_lives: tuple[float, ...] = (200.0, 1000.0)
    every: int = Field(1, ge=1)

    @field_validator("half_lives")
    @classmethod
    def _positive(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(value <= 0 for value in values) or len(set(values)) != len(values):
            raise ValueError("different half-lives above 0, in steps")
        return values

    @property
    def names(self) -> tuple[str, ...]:
        """What each average is called."""
        return tuple(f"half-life-{value:g}" for value in self.half_lives)


class Averages:
    """Exponential moving averages of the trainable parameters of a module.

    Args:
        module: What is trained; sharded or not.
        config: Which averages.
    """

    def __init__(self, module: nn.Module, config: AveragesConfig) -> None:
        self.config, self.updates = config, 0
        self._parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.shadows: dict[str, dict[str, Tensor]] = {
            name: {n: p.detach().clone() for n, p in self._parameters.items()}
            for name in config.names
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The averages, then the present weights."""
        return (*self.config.names, PRESENT)

    @torch.no_grad()
    def update(self, index: int) -> None:
        """Move the averages after step `index`, if it is their turn."""
        every = self.config.every
        if (index + 1) % every:
            return
        self.updates += 1
        values = self._locals(self._parameters)
        for half_life, shadow in zip(self.config.half_lives, self.shadows.values(), strict=True):
            decay = 0.5 ** (every / half_life)
            _follow(self._locals(shadow), values, decay=decay, updates=self.updates)

    @contextmanager
    def applied(self, name: str) -> Iterator[None]:
        """Put an average in the place of the weights for a while."""
        if name == PRESENT:
            yield
            return
        values = self._locals(self._parameters)
        with torch.no_grad():
            kept = [value.clone() for value in values]
            torch._foreach_copy_(values, self._locals(self.shadows[name]))
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(values, kept)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"updates": self.updates, "shadows": self.shadows}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from `state_dict`.

        Raises:
            KeyError: Other averages or parameters were kept.
        """
        for name, shadow in self.shadows.items():
            for parameter, value in shadow.items():
                value.copy_(state["shadows"][name][parameter])
        self.updates = int(state["updates"])

    @staticmethod
    def _locals(tensors: Mapping[str, Tensor]) -> list[Tensor]:
        return [local(tensor.detach()) for tensor in tensors.values()]


class WeightAverage(Generic[M]):
    """One average as a module that can be measured and exported while the other is trained.

    Args:
        model: The model that is trained; its copy holds the average.
        decay: Share of the old average kept at each step.
    """

    def __init__(self, model: M, decay: float) -> None:
        self.model: M = copy.deepcopy(model)
        self.model.eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, model: M) -> None:
        """Move the average towards the model's present weights."""
        self.updates += 1
        averages, values = (list(each.parameters()) for each in (self.model, model))
        _follow(averages, values, decay=self.decay, updates=self.updates)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from `state_dict`."""
        self.model.load_state_dict(state["model"])
        self.updates = int(state["updates"])


def _follow(
    averages: Sequence[Tensor], values: Sequence[Tensor], *, decay: float, updates: int
) -> None:
    """Move averages, in place, at their update number `updates`, counted from 1."""
    kept = min(decay, (1 + updates) / (10 + updates))
    torch._foreach_lerp_(list(averages), list(values), 1 - kept)
