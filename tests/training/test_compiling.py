from __future__ import annotations

import shutil

import pytest
import torch

from ezaudio.dit import DIT_PRESETS
from ezaudio.errors import InputError
from ezaudio.training.tasks.compiling import check_backend, compile_blocks

CPU = torch.device("cpu")


def test_nothing_is_compiled_unless_it_is_asked_for():
    network = DIT_PRESETS["tiny"].build()
    compile_blocks(network, None)
    assert all(block._compiled_call_impl is None for block in network.blocks)


def test_every_block_is_compiled():
    network = DIT_PRESETS["tiny"].build()
    compile_blocks(network, "eager")
    assert all(block._compiled_call_impl is not None for block in network.blocks)


def test_a_backend_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match=r"compute\.compile.*nothing.*inductor"):
        check_backend("nothing", CPU)


def test_inductor_on_a_cpu_needs_a_compiler(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"C\+\+ compiler"):
        check_backend("inductor", CPU)
    check_backend("eager", CPU)
    monkeypatch.setattr(shutil, "which", lambda name: name or None)
    check_backend("inductor", CPU)
