"""Where half precision is worth it, and where it must not reach."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def fast_in_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16.

    A CPU without them computes with it a hundred times slower than with float32.
    """
    if device.type != "cpu":
        return device.type == "cuda"
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, bool)() for name in checks)


def full_precision(like: Tensor) -> AbstractContextManager[Any]:
    """Switch automatic half precision off on a tensor's device, where it has one.

    Spectra and logarithms need it.
    """
    kind = like.device.type
    if torch.amp.is_autocast_available(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()
