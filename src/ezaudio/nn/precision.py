"""Which devices are fast in bfloat16."""

from __future__ import annotations

import torch


def fast_in_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16.

    A CPU without them computes with it a hundred times slower than with float32.
    """
    if device.type != "cpu":
        return device.type == "cuda"
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, bool)() for name in checks)
