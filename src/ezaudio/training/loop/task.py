"""What can be trained: the protocol between the loop (`ezaudio.training.loop.trainer`) and a task.

A task is a function of the step number. Everything random in a step comes from generators that are
keyed by the seed, the step and the row of the global batch, so that a run which was killed, or
goes on with another number of processes, draws what it would have drawn. There is no state but the
one in `parts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Measured: TypeAlias = dict[str, Tensor | float]
"""What a step found out, by name."""


class Stateful(Protocol):
    """What a checkpoint keeps: a model, an optimiser, averages."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Take it back."""


@dataclass(frozen=True)
class Plan:
    """What a run would take, known before it begins.

    Attributes:
        parameters: Of all networks.
        trainable: Those that are trained.
        state_bytes: Weights, gradients, optimiser and averages, over all processes.
        activation_bytes: What the backward pass keeps of the longest batch of one process.
        step_flops: Floating-point operations of an average step over all processes; 0 where nobody
            counted them.
        steps: Of the run.
        notes: What else should be known: data, shards, what is missing.
    """

    parameters: int
    trainable: int
    state_bytes: int
    activation_bytes: int = 0
    step_flops: float = 0.0
    steps: int = 0
    notes: dict[str, str] = field(default_factory=dict)


class Task(Protocol):
    """Something that is trained step by step."""

    def parts(self) -> dict[str, Any]:
        """What a checkpoint keeps, by name; each is `Stateful`."""

    def step(self, index: int, rate: float) -> Measured:
        """Make one optimiser step.

        Args:
            index: Number of the step in the whole run, from 0.
            rate: Learning rate as a share of the plateau's.

        Returns:
            What was measured, `loss` among it; a step whose gradient is not finite changes no
            weight. Values of this process: the loop averages them over processes.
        """

    def validate(self) -> dict[str, float]:
        """Measure on held-out data, the same at every call and on every process."""

    def export(self, folder: Path, *, step: int) -> list[Path]:
        """Write the weights that inference wants. All processes call it; one writes."""

    def plan(self) -> Plan:
        """Say what a run takes."""

    def describe(self, index: int) -> str:
        """Say which clips this process's rows of a step are."""


@dataclass(frozen=True)
class Heard:
    """A sound that a task made, to be listened to.

    Attributes:
        name: Of the prompt.
        samples: Float32 (S,).
        sample_rate: In Hz.
    """

    name: str
    samples: NDArray[np.float32]
    sample_rate: int


@runtime_checkable
class Audible(Protocol):
    """A task that can be listened to."""

    def listen(self) -> Sequence[Heard]:
        """Make the same few sounds with the present weights. All processes call it."""
