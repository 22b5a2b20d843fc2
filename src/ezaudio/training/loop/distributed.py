"""Where a task runs: one process, several under `torchrun`, or a model sharded over many GPUs.

This module alone knows accelerate, which finds the processes, the device and the precision. What
is spread over processes is the gradient (DDP), or with `sharding: fsdp2` also weights, gradients
and optimiser (PyTorch's `fully_shard`, applied to every repeated block).

Deviation: accelerate has FSDP2 on accelerators only; `fully_shard` is called here directly, so that
the same code runs on a CPU at test size.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ezaudio.config import Config
from ezaudio.errors import EzAudioError, InputError
from ezaudio.nn.precision import fast_in_bfloat16

Measured: TypeAlias = Mapping[str, Tensor | float]
"""Values by name, as a step gives them."""

M = TypeVar("M", bound=nn.Module)

_MISSING = "training needs accelerate, which is not installed: pip install 'ezaudio[train]'"


class EngineConfig(Config):
    """How a run computes.

    Attributes:
        device: `auto` takes an accelerator where there is one.
        precision: `bf16` computes matrix products in bfloat16; weights stay float32. `auto` does so
            where the device has instructions for it.
        sharding: `fsdp2` spreads weights, gradients and optimiser over all processes.
        threads: CPU threads of a process; None leaves the choice to torch.
    """

    device: Literal["auto", "cpu"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    sharding: Literal["none", "fsdp2"] = "none"
    threads: int | None = Field(None, ge=1)

    def in_bfloat16(self) -> bool:
        """Whether products are computed in bfloat16."""
        return self.precision == "bf16" or (
            self.precision == "auto" and fast_in_bfloat16(self.where())
        )

    def where(self) -> torch.device:
        """The kind of device that is computed on."""
        if self.device == "cpu" or not torch.accelerator.is_available():
            return torch.device("cpu")
        return torch.accelerator.current_accelerator() or torch.device("cpu")


class Engine:
    """The processes of a run, seen from one of them.

    Args:
        config: Device, precision, sharding.

    Attributes:
        rank: Number of this process.
        world: Number of processes.
        device: Where its tensors lie.

    Raises:
        InputError: Sharding is asked for outside of `torchrun`.
        EzAudioError: accelerate is not installed.
    """

    def __init__(self, config: EngineConfig | None = None) -> None:
        self.config = config or EngineConfig()
        try:
            from accelerate import Accelerator
            from accelerate.state import AcceleratorState
        except ImportError:
            raise EzAudioError(_MISSING) from None
        if self.config.threads is not None:
            torch.set_num_threads(min(self.config.threads, os.cpu_count() or 1))
        AcceleratorState._reset_state()  # an earlier engine of this process had its own precision
        precision = "bf16" if self.config.in_bfloat16() else "no"
        cpu = self.config.where().type == "cpu"
        self._accelerator = Accelerator(cpu=cpu, mixed_precision=precision)
        self.rank: int = self._accelerator.process_index
        self.world: int = self._accelerator.num_processes
        self.device: torch.device = self._accelerator.device
        if self.sharded and not torch.distributed.is_initialized():
            raise InputError("engine.sharding", "fsdp2", "none, or a run under torchrun")

    @property
    def main(self) -> bool:
        """Whether this process writes what all have in common."""
        return self.rank == 0

    @property
    def sharded(self) -> bool:
        """Whether a process holds only a part of the weights."""
        return self.config.sharding == "fsdp2"

    def prepare(self, module: nn.Module) -> nn.Module:
        """Move a module to the device, and share its gradients (or its weights) over processes.

        Optimisers are built from its parameters afterwards. Only calls of the result are shared:
        a module that is to be trained does all its work in `forward`.
        """
        if not any(p.requires_grad for p in module.parameters()):
            return module.to(self.device)
        if not self.sharded:
            prepared: nn.Module = self._accelerator.prepare(module)
            return prepared
        return self._shard(module.to(self.device))

    def unwrap(self, module: M) -> M:
        """The module that was given to `prepare`."""
        if self.sharded:
            return module
        plain: M = self._accelerator.unwrap_model(module, keep_torch_compile=False)
        return plain

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of `prepare`d modules, for those that are not trained."""
        context: AbstractContextManager[Any] = self._accelerator.autocast()
        return context

    @contextmanager
    def accumulating(self, module: nn.Module, *, last: bool) -> Iterator[None]:
        """Add gradients up in a process; only the `last` backward pass shares them."""
        if self.sharded:
            module.set_requires_gradient_sync(last)  # type: ignore[operator]
            yield
            return
        alone = self._accelerator.no_sync(module) if not last else nullcontext()
        with alone:
            yield

    def backward(self, loss: Tensor) -> None:
        """Compute gradients of this process's loss; they are averaged over processes."""
        self._accelerator.backward(loss)

    def clip(self, parameters: nn.Module | Iterable[Tensor], norm: float) -> float:
        """Bound the norm of all gradients together.

        Returns:
            The norm before, infinite or NaN if a gradient was.
        """
        if isinstance(parameters, nn.Module):
            parameters = parameters.parameters()
        found = nn.utils.clip_grad_norm_(parameters, norm)
        return float(whole(found))

    def mean(self, values: Measured) -> dict[str, float]:
        """Average over processes; every process calls it with the same names."""
        if self.world == 1 or not values:
            return {name: float(value) for name, value in values.items()}
        total = self.total(torch.stack([_scalar(value) for value in values.values()]))
        return dict(zip(values, (total / self.world).tolist(), strict=True))

    def total(self, values: Tensor) -> Tensor:
        """Sum over processes, on the device, without gradients."""
        if self.world == 1:
            return values.detach()
        summed: Tensor = self._accelerator.reduce(values.detach().to(self.device), reduction="sum")
        return summed

    def highest(self, values: Sequence[float]) -> list[float]:
        """The greatest of each value over processes."""
        if self.world == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64 if self._exact else torch.float32)
        shared = shared.to(self.device)
        torch.distributed.all_reduce(shared, op=torch.distributed.ReduceOp.MAX)
        highest: list[float] = shared.tolist()
        return highest

    def gathered(self, value: str) -> list[str]:
        """What each process says, by rank."""
        if self.world == 1:
            return [value]
        said: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(said, value)
        return [str(each) for each in said]

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world > 1:
            self._accelerator.wait_for_everyone()

    def close(self) -> None:
        """Leave the group of processes."""
        if torch.distributed.is_initialized():
            self._accelerator.end_training()

    @property
    def _exact(self) -> bool:
        return self.device.type in ("cpu", "cuda")

    def _shard(self, module: nn.Module) -> nn.Module:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import (
            MixedPrecisionPolicy,
            fully_shard,
            register_fsdp_forward_method,
        )

        mesh = init_device_mesh(self.device.type, (self.world,))
        half = torch.bfloat16 if self.config.in_bfloat16() else None
        policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32)
        for part in module.modules():
            if isinstance(part, nn.ModuleList):
                for block in part:
                    if any(True for _ in block.parameters()):
                        fully_shard(block, mesh=mesh, mp_policy=policy)
                        for name in getattr(block, "called_beside_forward", ()):
                            register_fsdp_forward_method(block, name)
        fully_shard(module, mesh=mesh, mp_policy=policy)
        return module


def whole(tensor: Tensor) -> Tensor:
    """A tensor that is spread over processes, put together; all of them call it."""
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor, sharing its memory; all of it where nothing is spread."""
    part = getattr(tensor, "to_local", None)
    return tensor if part is None else part()


def _scalar(value: Tensor | float) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().float().reshape(())
    return torch.tensor(value, dtype=torch.float32)
