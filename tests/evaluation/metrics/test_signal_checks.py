import math

import numpy as np
import pytest

from ezaudio.errors import InputError
from ezaudio.evaluation.metrics.signal_checks import duration_errors, sound_facts

RATE = 24_000


def sine(hz: float, seconds: float = 1.0, peak: float = 0.5) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    return (peak * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def test_a_sine_by_hand():
    facts = sound_facts(sine(1000), RATE)
    assert facts.duration_s == 1
    assert facts.rms_db == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=1e-3)
    assert facts.bandwidth_hz == pytest.approx(1000, abs=1)
    assert facts.silent_tail_s == 0
    assert not facts.silent
    assert not facts.clipped


def test_loudness_is_that_of_the_standards_reference_signal():
    # BS.1770: a 997 Hz sine at 0 dBFS in one channel reads -3.01 LKFS
    facts = sound_facts(sine(997, seconds=2.0, peak=1.0), RATE)
    assert facts.loudness_lufs == pytest.approx(-3.01, abs=0.06)


@pytest.mark.parametrize("sound", [np.zeros(RATE, np.float32), sine(440, peak=3e-4)])
def test_what_cannot_be_heard_is_silent(sound):
    assert sound_facts(sound, RATE).silent


def test_silence_and_short_sounds_have_no_loudness():
    assert np.isnan(sound_facts(np.zeros(RATE, np.float32), RATE).loudness_lufs)
    assert np.isnan(sound_facts(sine(440, seconds=0.2), RATE).loudness_lufs)


def test_the_silent_tail_is_counted_in_steps_of_50_ms():
    sound = np.concatenate([sine(440, seconds=0.5), np.zeros(RATE // 2, np.float32)])
    assert sound_facts(sound, RATE).silent_tail_s == pytest.approx(0.5)


@pytest.mark.parametrize("bad", [np.zeros(0, np.float32), np.array([np.nan], np.float32)])
def test_what_is_no_sound_is_refused(bad):
    with pytest.raises(InputError, match="samples"):
        sound_facts(bad, RATE)


def test_the_length_error_is_a_distance():
    errors = duration_errors(np.array([3.5, 4.25]), np.array([4.0, 4.0]))
    np.testing.assert_allclose(errors, [0.5, 0.25])


def test_a_buzz_repeats_and_noise_does_not():
    noise = 0.1 * np.random.default_rng(0).standard_normal(48_000).astype(np.float32)
    rough, buzz = sound_facts(noise, 24_000), sound_facts(np.tile(noise[:480], 100), 24_000)
    assert not rough.repeats and buzz.repeats
    assert rough.texture == pytest.approx(0.64, abs=0.06)


def test_silence_has_no_texture_and_does_not_repeat():
    facts = sound_facts(np.zeros(24_000, np.float32), 24_000)
    assert math.isnan(facts.texture) and not facts.repeats
