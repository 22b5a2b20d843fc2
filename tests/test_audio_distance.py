"""Distances between sounds, against their definitions and another implementation."""

from __future__ import annotations

import math

import auraloss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ezaudio import audio_distance
from ezaudio.audio_distance import (
    Distances,
    distances,
    log_mel_l1,
    multi_resolution_stft,
    si_sdr_db,
)

RATE = 24_000


def noise(samples=6000, seed=0, level=0.1):
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32) * level


def test_a_sound_is_no_distance_from_itself():
    same = distances(noise(), noise(), RATE)
    assert (same.log_mel_l1, same.multi_resolution_stft, same.si_sdr_db) == (0, 0, math.inf)


def test_the_loudness_of_the_pair_does_not_count_but_a_wrong_level_does():
    one, two = noise(), noise(seed=1)
    assert log_mel_l1(one, two, RATE) == pytest.approx(log_mel_l1(one * 5, two * 5, RATE), rel=1e-5)
    assert log_mel_l1(one, one * 0.5, RATE) > 0.1
    assert si_sdr_db(one, two) == pytest.approx(si_sdr_db(one, two * 3), rel=1e-4)


def test_where_both_are_loud_the_log_mel_distance_of_a_gain_is_its_logarithm():
    """White noise far above the floor: every band of every frame differs by the gain alone."""
    one = noise(24_000) / np.abs(noise(24_000)).max()
    assert log_mel_l1(one, one * 0.5, RATE) == pytest.approx(math.log(2), rel=1e-3)


def test_what_lies_below_the_floor_in_both_counts_nothing():
    one = np.zeros(24_000, np.float32)
    one[:100] = 1.0
    two = one.copy()
    two[12_000:] = noise(12_000, level=1e-5)
    assert log_mel_l1(one, two, RATE) == 0.0


def test_the_mel_bands_are_triangles_of_height_one():
    bank = audio_distance._mel_bank(RATE)
    assert bank.shape == (80, 513)
    assert bank.max(axis=1).min() > 0.5
    assert bank.max() <= 1.0 + 1e-6
    assert bank[40:].max(axis=1).min() > 0.9  # wide bands have a bin near their top


def test_the_stft_distance_is_that_of_auraloss():
    one, two = noise(), noise() + noise(seed=1, level=0.03)
    peak = float(np.abs(one).max())
    reference = auraloss.freq.MultiResolutionSTFTLoss()
    x, y = (torch.from_numpy(x / peak)[None, None] for x in (two, one))
    assert multi_resolution_stft(one, two) == pytest.approx(float(reference(x, y)), rel=1e-4)


def test_si_sdr_is_the_ratio_of_orthogonal_parts():
    time = np.arange(RATE) / RATE
    one = np.sin(2 * np.pi * 100 * time).astype(np.float32)
    error = np.cos(2 * np.pi * 100 * time).astype(np.float32) * 0.1
    assert si_sdr_db(one, one + error) == pytest.approx(20.0, abs=1e-3)
    assert si_sdr_db(np.zeros_like(one), one) == 0.0


def test_long_sounds_are_measured_in_pieces_with_the_same_result(monkeypatch):
    one, two = noise(20_000), noise(20_000, seed=1)
    whole = distances(one, two, RATE)
    monkeypatch.setattr(audio_distance, "_FRAMES_AT_ONCE", 7)
    pieces = distances(one, two, RATE)
    assert pieces.log_mel_l1 == pytest.approx(whole.log_mel_l1)
    assert pieces.multi_resolution_stft == pytest.approx(whole.multi_resolution_stft)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, st.integers(1, 3000), elements=st.floats(-4, 4, width=32)),
    st.integers(0, 5),
)
def test_any_pair_of_sounds_has_finite_distances(one, seed):
    found = distances(one, noise(len(one), seed), RATE)
    assert math.isfinite(found.log_mel_l1)
    assert found.log_mel_l1 >= 0
    assert math.isfinite(found.multi_resolution_stft)
    assert not math.isnan(found.si_sdr_db)


def test_sounds_of_different_lengths_are_refused():
    for one, two in ((noise(10), noise(11)), (noise(0), noise(0))):
        with pytest.raises(ValueError, match="one length"):
            distances(one, two, RATE)


def test_the_mean_is_taken_of_each_distance():
    mean = Distances.mean([Distances(1, 2, 3), Distances(3, 4, 5)])
    assert mean == Distances(2, 3, 4)
