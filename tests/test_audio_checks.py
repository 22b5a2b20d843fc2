"""Levels, clipping and bandwidth by hand; the rooms that use them agree."""

from __future__ import annotations

import numpy as np
import pytest

from ezaudio.audio_checks import bandwidth_hz, block_db, clipped_share, highest_hz, loudest_db
from ezaudio.data.checks import CheckConfig, measure
from ezaudio.evaluation.metrics.signal_checks import sound_facts

RATES = (8000, 24_000, 44_100)
BELOW_DB = CheckConfig().bandwidth_db


def tone(hz: float, rate: int, *, peak: float = 0.5, seconds: float = 1.0) -> np.ndarray:
    times = np.arange(round(seconds * rate)) / rate
    return (peak * np.sin(2 * np.pi * hz * times)).astype(np.float32)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("hz", [60.0, 440.0, 3000.0])
def test_a_tone_has_the_bandwidth_of_its_frequency_for_every_room(hz: float, rate: int) -> None:
    wave = tone(hz, rate)
    bin_hz = rate / 2048
    assert measure(wave, rate, CheckConfig()).bandwidth_hz == pytest.approx(hz, abs=1.5 * bin_hz)
    assert sound_facts(wave, rate).bandwidth_hz == pytest.approx(hz, abs=5)


@pytest.mark.parametrize("limit", [500, 2000, 6000])
def test_noise_that_ends_somewhere_has_that_bandwidth_for_every_room(limit: int) -> None:
    white = np.fft.rfft(np.random.default_rng(0).normal(0, 0.1, 4 * 24_000))
    white[limit * 4 :] = 0
    wave = np.fft.irfft(white).astype(np.float32)
    assert highest_hz(wave, 24_000, below_db=BELOW_DB) == pytest.approx(limit, abs=18)
    assert bandwidth_hz(wave, 24_000) == pytest.approx(0.99 * limit, rel=0.01)


def test_a_full_band_ends_at_half_the_rate() -> None:
    white = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
    assert highest_hz(white, 24_000, below_db=BELOW_DB) == 12_000


@pytest.mark.parametrize("place", [600, 12_000, 12_345, 23_300])
def test_a_click_counts_wherever_it_lies(place: int) -> None:
    wave = tone(200, 24_000)
    wave[place] += 0.3
    assert highest_hz(wave, 24_000, below_db=BELOW_DB) > 10_000


@pytest.mark.parametrize("peak", [1.0, 0.01])
def test_every_room_finds_the_same_level_of_the_loudest_50_ms(peak: float) -> None:
    wave = np.concatenate([np.zeros(24_000, np.float32), tone(440, 24_000, peak=peak)])
    expected = 20 * np.log10(peak) - 3.01
    assert measure(wave, 24_000, CheckConfig()).loudest_db == pytest.approx(expected, abs=0.02)
    assert block_db(wave, 24_000).max() == pytest.approx(expected, abs=0.02)
    assert sound_facts(wave, 24_000).rms_db == pytest.approx(expected - 3.01, abs=0.02)


def test_silence_is_the_floor_for_every_room() -> None:
    wave = np.zeros(24_000, np.float32)
    facts = measure(wave, 24_000, CheckConfig())
    assert (facts.peak_db, facts.loudest_db, facts.bandwidth_hz) == (-120, -120, 0)
    assert sound_facts(wave, 24_000).rms_db == loudest_db(wave, 24_000) == -120
    assert sound_facts(wave, 24_000).bandwidth_hz == 0


@pytest.mark.parametrize(
    ("wave", "share"),
    [
        ([0, 1, 1, 1, 0], 0.6),
        ([-1, -1, -1], 1.0),
        ([0, 1, 1, 0, 1], 0.0),
        ([1, 1], 0.0),
        ([1, 1, 1, 0, -1, -1, -1, -1], 0.875),
    ],
)
def test_three_full_samples_in_a_row_are_clipping_for_every_room(
    wave: list[float], share: float
) -> None:
    samples = np.array(wave, np.float32)
    assert clipped_share(samples) == pytest.approx(share)
    assert measure(samples, 24_000, CheckConfig()).clipped_share == pytest.approx(share)
    assert sound_facts(samples, 24_000).clipped == (share > 0)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_few_samples_or_none_are_measured_too(count: int) -> None:
    wave = np.full(count, 0.5, np.float32)
    assert np.isfinite([loudest_db(wave, 24_000), clipped_share(wave)]).all()
    assert np.isfinite(highest_hz(wave, 24_000, below_db=BELOW_DB))
