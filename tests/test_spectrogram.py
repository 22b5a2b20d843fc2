"""The picture of a sound: right numbers behind it, and drawn for every sound and title."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from ezaudio.audio import spectrogram_png
from ezaudio.errors import OutputError
from ezaudio.spectrogram import log_mel_db
from ezaudio.types import Clip

RATE = 24_000


def test_a_tone_is_loudest_in_its_own_band() -> None:
    mel = 2595 * np.log10(1 + np.array([30, 1000, 12_000]) / 700)
    expected = (mel[1] - mel[0]) / (mel[2] - mel[0]) * 161 - 1
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    level = log_mel_db(tone, RATE)
    assert abs(level[:, 50].argmax() - expected) <= 1
    assert level.max() == 0 and level.min() == -80


def test_silence_is_dark_and_long_sounds_stay_small() -> None:
    assert (log_mel_db(np.zeros(RATE, np.float32), RATE) == -80).all()
    assert log_mel_db(np.zeros(60 * RATE, np.float32), RATE).shape[1] <= 1202


@pytest.mark.parametrize("count", [1, 700, 24_000])
def test_a_picture_is_drawn_for_every_length_and_title(count: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, count).astype(np.float32)
    spectrogram_png(tmp_path / "a.png", Clip(noise, RATE), "犬 $5_ {a}\n" + "long " * 99)
    content = (tmp_path / "a.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (1200, 600)


def test_drawing_does_not_touch_pyplot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    spectrogram_png(tmp_path / "a.png", Clip(np.ones((2, 9), np.float32), 8000))
    assert "matplotlib.pyplot" not in sys.modules


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(OutputError, match=r"pip install 'ezaudio\[plot\]'"):
        spectrogram_png(tmp_path / "a.png", Clip(np.zeros(9, np.float32), RATE))
