from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.captions.test_dedup import sound
from tests.tiny_clap import write_tiny_clap
from tests.tiny_model import FakeTextConfig, write_tiny_model

from ezaudio.audio import write_audio
from ezaudio.text import TEXT_ENCODERS

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "captions_end_to_end.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setitem(TEXT_ENCODERS, "fake", FakeTextConfig)
    spec = importlib.util.spec_from_file_location("captions_end_to_end", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module


def test_recordings_become_captions_a_manifest_and_training_steps(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("dog barking", "bell ringing", "rain falling", "door closing")
    lines = ["file,label"]
    for number, name in enumerate(names):
        write_audio(tmp_path / f"{number}.wav", sound(number, 1.0), 24_000)
        lines.append(f"{number}.wav,{name}")
    (tmp_path / "clips.csv").write_text("\n".join(lines) + "\n")
    clap = write_tiny_clap(tmp_path / "clap")
    model = write_tiny_model(tmp_path / "model")
    script.main(
        [str(tmp_path / "clips.csv"), str(tmp_path / "out"), "--clap", str(clap), "--mixes", "6",
         "--threshold", "-1", "--steps", "1", "--model", str(model)]
    )  # fmt: skip
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "captions 6, without duplicates 6, kept 6"
    right, pairs = (int(word) for word in said[1].split() if word.isdigit())
    assert right == pairs > 0
    assert said[2].startswith("loss on the mixes: ")
