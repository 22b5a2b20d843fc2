"""What is measured of a clip."""

import numpy as np
import pytest

from ezaudio.data.checks import CheckConfig, fault, measure
from ezaudio.data.clips import ClipRow

RATE = 24_000
CONFIG = CheckConfig()
ROW = ClipRow(file="a.wav")


def tone(hz, seconds=1.0, level=0.5):
    time = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def test_levels_of_a_sine_are_known():
    facts = measure(tone(1000), RATE, CONFIG)
    assert facts.peak_db == pytest.approx(-6.02, abs=0.01)
    assert facts.loudest_db == pytest.approx(-9.03, abs=0.01)
    assert facts.duration == 1.0 and facts.clipped_share == 0


def test_the_loudest_50_ms_decide_about_silence():
    sparse = np.zeros(10 * RATE, np.float32)
    sparse[50_000:51_200] = tone(3000, 0.05)
    assert fault(ROW, measure(sparse, RATE, CONFIG), CONFIG) is None
    faint = fault(ROW, measure(sparse * np.float32(1e-3), RATE, CONFIG), CONFIG)
    assert faint is not None and faint.reason == "silent"


def test_only_runs_at_full_scale_are_clipping():
    wave = tone(100, level=0.9)
    wave[[10, 500, 900]] = 1.0
    assert measure(wave, RATE, CONFIG).clipped_share == 0
    clipped = np.clip(tone(100, level=3.0), -1, 1)
    assert measure(clipped, RATE, CONFIG).clipped_share == pytest.approx(0.78, abs=0.02)


@pytest.mark.parametrize("limit", [2000, 6000])
def test_the_bandwidth_is_where_filtered_noise_ends(limit):
    white = np.random.default_rng(0).normal(0, 0.1, 4 * RATE)
    spectrum = np.fft.rfft(white)
    spectrum[round(limit * 4) :] = 0
    wave = np.fft.irfft(spectrum).astype(np.float32)
    assert measure(wave, RATE, CONFIG).bandwidth_hz == pytest.approx(limit, abs=300)


def test_one_wide_click_in_a_dull_clip_counts():
    wave = tone(200) * np.hanning(RATE).astype(np.float32)
    assert measure(wave, RATE, CONFIG).bandwidth_hz < 1000
    wave[12_000] += 0.3
    assert measure(wave, RATE, CONFIG).bandwidth_hz > 10_000


def test_the_hash_is_of_the_samples_and_the_rate():
    a, b = measure(tone(500), RATE, CONFIG), measure(tone(500) * np.float32(0.9), RATE, CONFIG)
    assert a.audio_sha256 == measure(tone(500), RATE, CONFIG).audio_sha256
    assert len({a.audio_sha256, b.audio_sha256, measure(tone(500), 8000, CONFIG).audio_sha256}) == 3


@pytest.mark.parametrize("samples", [1, 3, 100])
def test_clips_of_a_few_samples_are_measured_too(samples):
    facts = measure(np.full(samples, 0.5, np.float32), RATE, CONFIG)
    assert facts.peak_db == pytest.approx(-6.02, abs=0.01)
    assert np.isfinite([facts.loudest_db, facts.bandwidth_hz]).all()
