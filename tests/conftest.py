"""What holds for every test: one thread, no network, no package that breaks the others."""

from __future__ import annotations

import importlib.util
import os
import socket
from typing import Any

import pytest

for _name, _value in {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "Agg",
}.items():
    os.environ.setdefault(_name, _value)

FORBIDDEN_PACKAGES = ("torchaudio", "torchvision")
_LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")


def pytest_configure() -> None:
    """Refuse to run beside packages that must not be needed, and that break transformers."""
    present = [name for name in FORBIDDEN_PACKAGES if importlib.util.find_spec(name)]
    if present:
        raise pytest.UsageError(
            f"{', '.join(present)} must not be installed where the tests run: nothing here may "
            "need it, and a wheel that does not fit torch makes transformers fail."
        )


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sockets reach this machine only."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in _LOCAL_HOSTS:
            raise OSError(f"a test tried to reach {address[0]}; tests run offline")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
