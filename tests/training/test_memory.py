"""How much memory a process held, on every system."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from ezaudio.training.loop.throughput import memory_bytes

CPU = torch.device("cpu")


def test_the_most_memory_of_this_process_is_known_with_and_without_resource(monkeypatch):
    assert 2**24 < memory_bytes(CPU) < 2**40
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    pytest.importorskip("psutil")
    assert 2**24 < memory_bytes(CPU) < 2**40


def test_the_peak_is_taken_where_windows_knows_it(monkeypatch):
    held = SimpleNamespace(peak_wset=7, rss=5)
    process = SimpleNamespace(memory_info=lambda: held)
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(Process=lambda: process))
    assert memory_bytes(CPU) == 7
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert memory_bytes(CPU) == 0
