"""Levels: channels, loudness, peaks, fades."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ezaudio.audio_levels import (
    bring_to_loudness,
    fade_ends,
    loudness_lufs,
    to_mono,
    true_peak,
)

RATE = 48_000


def tone(hz=997.0, seconds=3.0, peak=1.0, phase=0.0):
    times = np.arange(round(seconds * RATE)) / RATE
    return (peak * np.sin(2 * np.pi * hz * times + phase)).astype(np.float32)


def noise(seed, count=24_000):
    return np.random.default_rng(seed).standard_normal(count).astype(np.float32) * 0.1


def test_a_full_scale_tone_of_997_hz_has_minus_3_lufs():
    assert loudness_lufs(tone(), RATE) == pytest.approx(-3.01, abs=0.05)
    assert loudness_lufs(np.stack([tone(), tone()]), RATE) == pytest.approx(0.0, abs=0.05)


def test_a_sound_shorter_than_a_block_has_the_loudness_of_its_repetition():
    assert loudness_lufs(tone(1000.0, 0.1), RATE) == pytest.approx(-3.0, abs=0.1)


def test_silence_has_no_loudness_and_stays_silence():
    silence = np.zeros(RATE, np.float32)
    assert loudness_lufs(silence, RATE) == -math.inf
    np.testing.assert_array_equal(bring_to_loudness(silence, RATE, -16), silence)


def test_the_true_peak_lies_between_the_samples():
    between = tone(RATE / 4, phase=np.pi / 4)  # samples at 0.707, peaks at 1
    assert np.abs(between).max() == pytest.approx(0.7071, abs=1e-3)
    middle = between[1000:-1000]
    assert true_peak(middle * np.hanning(len(middle)).astype(np.float32), RATE) == pytest.approx(
        1.0, abs=0.01
    )


def test_a_loudness_is_met_unless_the_true_peak_forbids_it():
    assert loudness_lufs(bring_to_loudness(noise(0), RATE, -23), RATE) == pytest.approx(
        -23, abs=0.01
    )
    click = np.zeros(RATE, np.float32)
    click[1000] = 0.5
    click[2000:] = noise(0, RATE - 2000) * 0.01
    levelled = bring_to_loudness(click, RATE, -10)
    assert true_peak(levelled, RATE) == pytest.approx(10 ** (-1 / 20), rel=1e-4)


def test_one_channel_is_the_mean_and_of_channels_that_cancel_the_loudest():
    left, right = noise(1), noise(2)
    np.testing.assert_array_equal(to_mono(left[None]), left)
    np.testing.assert_allclose(to_mono(np.stack([left, right])), (left + right) / 2, atol=1e-7)
    np.testing.assert_array_equal(to_mono(np.stack([left, -left])), left)
    np.testing.assert_array_equal(to_mono(np.stack([-0.9 * left, left])), left)
    np.testing.assert_allclose(to_mono(np.stack([left, 0 * left])), left / 2, atol=1e-7)
    np.testing.assert_array_equal(to_mono(np.zeros((2, 9), np.float32)), np.zeros(9))


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 200), length=st.integers(0, 300))
def test_fades_reach_zero_at_both_ends_and_leave_the_middle(count, length):
    sound = np.ones(count, np.float32)
    faded = fade_ends(sound, length)
    reach = min(length, count // 2)
    assert sound.min() == 1.0
    np.testing.assert_array_equal(faded[reach : count - reach], 1.0)
    if reach:
        assert faded[0] == faded[-1] == 0
        assert (np.diff(faded[:reach]) >= 0).all()
        assert fade_ends(sound, length, start=False)[0] == 1.0 or reach == count
