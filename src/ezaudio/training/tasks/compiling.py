"""Blocks that are compiled before they are trained."""

from __future__ import annotations

import os
import shutil

import torch

from ezaudio.dit import EzAudioDiT
from ezaudio.errors import InputError

FIELD = "compute.compile"

_VERSIONS = 32
_COMPILERS = ("g++", "clang++", "cl")


def compile_blocks(network: EzAudioDiT, backend: str | None) -> None:
    """Compile each block by itself, for any length: they are alike, so this is short.

    Args:
        network: On the device where it is trained; changed in place.
        backend: Of `torch.compile`; None compiles nothing.

    Raises:
        InputError: There is no such backend, or it lacks a compiler here.
    """
    if backend is None:
        return
    check_backend(backend, network.unknown.device)
    # Rows, frames and tokens that are equal by chance, or few, get versions of their own; beyond
    # the limit torch would go on without compiling.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _VERSIONS)
    for block in network.blocks:
        block.compile(backend=backend, dynamic=True)


def check_backend(backend: str, device: torch.device) -> None:
    """Find out before the first step whether a backend can be used.

    Raises:
        InputError: There is no such backend, or it lacks a compiler here.
    """
    known = torch.compiler.list_backends(exclude_tags=())
    if backend not in known:
        raise InputError(FIELD, backend, f"null, or one of {', '.join(sorted(known))}")
    compilers = (os.environ.get("CXX", ""), *_COMPILERS)
    if backend == "inductor" and device.type == "cpu" and not any(map(shutil.which, compilers)):
        raise InputError(FIELD, backend, "null on a machine without a C++ compiler, as this one")
