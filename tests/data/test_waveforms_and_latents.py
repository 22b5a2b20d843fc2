"""Stores: what goes in comes out, and batches are filled with sound of one label."""

import json

import numpy as np
import pytest
import soundfile

from ezaudio.data.manifest import ClipRow
from ezaudio.data.waveforms import WaveformStore


def row(name, label="rain", split="train"):
    return ClipRow(file=name, split=split, label=label, caption=f"{label}.", duration=1)


def test_a_packed_clip_reads_back_within_16_bit_rounding(tmp_path):
    wave = np.sin(np.arange(4800) / 20).astype(np.float32) * 0.5
    soundfile.write(tmp_path / "a.wav", wave, 24_000, subtype="FLOAT")
    (tmp_path / "broken.wav").write_bytes(b"not audio")
    store = WaveformStore.pack(
        [row("a.wav"), row("broken.wav")], tmp_path, tmp_path / "packed", 24_000
    )
    assert len(store) == 1 and store.length(0) == 4800
    np.testing.assert_allclose(store.read(0), wave, atol=1e-4)
    np.testing.assert_allclose(store.read(0, 100, 50), wave[100:150], atol=1e-4)
    assert len(store.read(0, 4700, 500)) == 100
    assert "broken.wav" in (tmp_path / "packed" / "skipped.txt").read_text()


@pytest.fixture
def latents(tmp_path):
    """Three takes of `rain` (values 1, 2, 3), one of `dog` (10), silence (0); no spread."""
    rows = [row("1"), row("2"), row("3"), row("4", "dog")]
    values, lengths = [1.0, 2.0, 3.0, 10.0, 0.0], [30, 40, 200, 20, 100]
    mean = np.concatenate(
        [np.full((n, 4), v, np.float16) for v, n in zip(values, lengths, strict=True)]
    )
    mean.tofile(tmp_path / "mean.f16")
    np.zeros_like(mean).tofile(tmp_path / "std.f16")
    index = {
        "frame_rate": 50.0,
        "offsets": [0, *np.cumsum(lengths).tolist()],
        "rows": [r.model_dump() for r in rows],
        "shift": [0.0] * 4,
        "scale": [2.0] * 4,
    }
    (tmp_path / "index.json").write_text(json.dumps(index))
    return tmp_path
