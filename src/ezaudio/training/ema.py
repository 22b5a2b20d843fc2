"""Averages of weights over several horizons, so that the horizon can be chosen afterwards.

An average with half-life h keeps 0.5 ** (1 / h) of itself per step. Which one is best is known only
when it is measured: short ones follow, long ones are smooth. A run keeps them all, measures each at
every validation, and exports each; the one that measured best gets the plain name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from ezaudio.config import Config
from ezaudio.training.engine import local

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

    Early on an average of n updates keeps at most (1 + n) / (10 + n), so that it forgets the fresh
    weights.

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
        warm = (1 + self.updates) / (10 + self.updates)
        for half_life, shadow in zip(self.config.half_lives, self.shadows.values(), strict=True):
            decay = min(0.5 ** (every / half_life), warm)
            torch._foreach_lerp_(self._locals(shadow), values, 1 - decay)

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
