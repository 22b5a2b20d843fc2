"""Texture and repetition of waveforms whose values are known."""

import math

import numpy as np
import pytest

from ezaudio.audio_texture import NOISE_TEXTURE, repetition, texture

NOISE = np.random.default_rng(0).standard_normal(72_000).astype(np.float32)


@pytest.mark.parametrize("rate", [24_000, 44_100, 16_000])
def test_gaussian_noise_has_the_texture_of_the_theory(rate):
    assert texture(0.1 * NOISE, rate) == pytest.approx(NOISE_TEXTURE, rel=0.08)


def test_texture_does_not_depend_on_the_level():
    assert texture(0.5 * NOISE, 24_000) == pytest.approx(texture(0.01 * NOISE, 24_000), rel=1e-3)


def test_silence_has_no_texture():
    assert math.isnan(texture(np.zeros(24_000, np.float32), 24_000))


def test_a_sound_shorter_than_a_window_has_a_texture():
    assert math.isfinite(texture(NOISE[:100], 24_000))


def test_noise_does_not_repeat():
    assert abs(repetition(NOISE, 24_000)) < 0.05


def test_what_repeats_every_frame_is_found():
    frame = NOISE[:480]
    assert repetition(np.tile(frame, 50), 24_000) == pytest.approx(1)
    assert repetition(np.tile(frame, 50), 24_000, period_s=0.013) < 0.2


def test_silence_and_what_is_too_short_do_not_repeat():
    assert repetition(np.zeros(24_000, np.float32), 24_000) == 0
    assert repetition(NOISE[:500], 24_000) == 0
