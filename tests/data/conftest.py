"""A folder of short recordings, sound and unsound."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from ezaudio.data.clips import ClipRow

RATE = 8000


def noise(seed, seconds=0.5, level=0.3):
    samples = np.random.default_rng(seed).uniform(-level, level, round(seconds * RATE))
    return samples.astype(np.float32)


def write(path, samples, rate=RATE, subtype="PCM_16"):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)


@pytest.fixture
def recordings(tmp_path):
    """Five labels with two takes each, 0.5 s of noise; gives the folder and its rows."""
    root = tmp_path / "recordings"
    rows = []
    for i in range(10):
        label = ("rain", "dog barking", "bell", "train", "wind")[i % 5]
        write(root / f"{i}.wav", noise(i, 0.4 + 0.02 * i))
        split = "valid" if i == 9 else "train"
        rows.append(ClipRow(file=f"{i}.wav", split=split, label=label, caption=f"A {label}."))
    return root, rows


@pytest.fixture
def unsound(recordings):
    """The same with seven clips that are unfit, and why each is."""
    root, rows = recordings
    write(root / "silent.wav", np.zeros(RATE, np.float32))
    write(root / "short.wav", noise(20, 0.05))
    write(root / "clipped.wav", np.clip(noise(21, level=3.0), -1, 1))
    slow = np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE) * np.hanning(RATE) * 0.5
    write(root / "dull.wav", slow.astype(np.float32), subtype="FLOAT")
    samples, _ = soundfile.read(root / "3.wav", dtype="int16")
    soundfile.write(root / "copy.flac", samples, RATE)
    (root / "broken.flac").write_bytes((root / "copy.flac").read_bytes()[:300])
    why = {
        "silent.wav": "silent",
        "short.wav": "short",
        "clipped.wav": "clipped",
        "dull.wav": "band-limited",
        "copy.flac": "duplicate",
        "broken.flac": "unreadable",
        "gone.wav": "missing",
    }
    bad = [ClipRow(file=name, label="rain", caption="A rain.") for name in why]
    return root, [*rows[:4], *bad[:4], *rows[4:], *bad[4:]], why
