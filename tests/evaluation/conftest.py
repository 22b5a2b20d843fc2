"""A tagger of random weights and a few synthetic sounds; the fakes enter through the registries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.listening.browser import Browser, require_browser
from tests.tiny_model import FakeTextConfig, write_tiny_model

from ezaudio.audio import write_audio
from ezaudio.evaluation.extractors import EXTRACTORS, FeatureExtractor
from ezaudio.evaluation.metrics.signal_checks import sound_facts
from ezaudio.evaluation.protocol import PROTOCOLS, Panel, Protocol
from ezaudio.text import TEXT_ENCODERS

RATE = 16_000
LABELS = ("low", "high")


def fake_extract(samples: np.ndarray, rate: int) -> Mapping[str, np.ndarray]:
    """Features of energy in eight bands; two classes: low and high."""
    bands = np.array_split(np.abs(np.fft.rfft(samples, 4096)) ** 2, 8)
    energy = np.log10(np.array([band.mean() for band in bands]) + 1e-6).astype(np.float32)
    logits = np.array([energy[:2].mean(), energy[4:].mean()], np.float32)
    quarters = np.array_split(samples, 4)
    spectra = [np.abs(np.fft.rfft(part, 1024)) for part in quarters]
    rows = np.array([[s[:60].mean(), s[60:].mean()] for s in spectra], np.float32)
    timeline = rows / (rows.sum(1, keepdims=True) + 1e-6)
    audio = np.array([*energy[:3], 1.0], np.float32)
    return {"features": energy, "logits": logits, "audio": audio, "timeline": timeline}


def fake_extractor(_: Path | None = None, identity: str = "fake-1") -> FeatureExtractor:
    def read(captions: object) -> np.ndarray:
        return np.array([[len(text), 1.0, 2.0, 3.0] for text in captions], np.float32)

    return FeatureExtractor("fake", identity, RATE, fake_extract, LABELS, read)


FAKE = Protocol(
    name="fake",
    panels=(
        Panel(
            extractor="fake",
            metrics=("fd", "kad", "kl", "is", "clap", "precision", "events", "order", "diversity"),
        ),
        Panel(extractor="waveform", metrics=("silent", "clipped", "duration_error")),
    ),
)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A real browser; see `require_browser` for where there is none."""
    made = Browser(require_browser(), tmp_path / "profile")
    yield made
    made.close()


@pytest.fixture(scope="session", autouse=True)
def fakes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EXTRACTORS, "fake", fake_extractor)
        patch.setitem(PROTOCOLS, "fake", FAKE)
        patch.setitem(TEXT_ENCODERS, "fake", FakeTextConfig)
        yield


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of random weights."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def write_sounds(folder: Path, count: int = 12, *, seed: int = 0, seconds: float = 0.5) -> Path:
    """Noise of random colour, called c00.wav, c01.wav, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for index in range(count):
        noise = generator.standard_normal(round(seconds * RATE))
        colour = generator.uniform(-0.9, 0.9)
        wave = noise[1:] + colour * noise[:-1]
        write_audio(folder / f"c{index:02}.wav", (0.1 * wave).astype(np.float32), RATE)
    return folder


def write_manifest(path: Path, sounds: Path, *, split: str = "valid") -> Path:
    """Rows for every sound of a folder."""
    lines = ["file,split,label,caption,duration"]
    for file in sorted(sounds.glob("*.wav")):
        name = file.relative_to(path.parent).as_posix()
        lines.append(f"{name},{split},kind {file.stem[-1]},sound {file.stem},0.5")
    path.write_text("\n".join(lines) + "\n")
    return path


assert sound_facts  # the waveform panel needs pyloudnorm, which the extra `eval` brings
