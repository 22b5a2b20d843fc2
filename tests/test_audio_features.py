import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezaudio.audio_features import hz_to_mel, mel_filterbank, mel_to_hz


def test_the_scale_is_linear_to_one_kilohertz_and_logarithmic_above():
    assert hz_to_mel([0, 200, 1000]) == pytest.approx([0, 3, 15])
    assert hz_to_mel([6400, 6400 * 6.4]) == pytest.approx([42, 69])


@given(st.floats(0, 24_000))
def test_mel_and_hertz_undo_each_other(hz):
    assert mel_to_hz(hz_to_mel(hz)) == pytest.approx(hz, rel=1e-9, abs=1e-9)


def test_a_band_is_a_triangle_between_its_neighbours_centres_with_unit_area():
    # 0, 200, 400, 600 Hz are 0, 3, 6, 9 mel; bins every 50 Hz.
    bank = mel_filterbank(1600, 32, 2, 0, 600)
    triangle = np.array([0, 1, 2, 3, 4, 3, 2, 1, 0]) / 4 / 200
    expected = np.zeros((2, 17))
    expected[0, 0:9] = expected[1, 4:13] = triangle
    np.testing.assert_allclose(bank, expected, atol=1e-9)
    np.testing.assert_allclose(bank.sum(1) * 50, 1, rtol=1e-6)


def test_banks_have_a_row_per_band_and_a_column_per_bin():
    bank = mel_filterbank(24_000, 1024, 80, 0, 12_000)
    assert bank.shape == (80, 513)
    assert bank.dtype == np.float32
    assert (bank.max(1) > 0).all()


@pytest.mark.parametrize(("f_min", "f_max"), [(-1, 100), (100, 100), (0, 12_001)])
def test_bands_outside_the_spectrum_are_refused(f_min, f_max):
    with pytest.raises(ValueError, match="band edges"):
        mel_filterbank(24_000, 1024, 80, f_min, f_max)
