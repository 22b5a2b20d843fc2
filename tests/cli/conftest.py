from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tiny_model import FakeTextConfig, write_tiny_model

from ezaudio.cli.main import run
from ezaudio.pipelines import EzAudio
from ezaudio.text import TEXT_ENCODERS


@pytest.fixture(scope="session", autouse=True)
def fake_text_encoder() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TEXT_ENCODERS, "fake", FakeTextConfig)
        yield


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def model(folder: Path, fake_text_encoder: None) -> EzAudio:
    return EzAudio.from_pretrained(folder, device="cpu", dtype="float32")


@pytest.fixture
def ezaudio(capsys, monkeypatch, tmp_path, folder):
    """Run a command in an empty folder; gives its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call
