"""How protocols load a sound; the resampler agrees with torchaudio 2.8 on the same waveforms."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from ezaudio.audio import write_audio
from ezaudio.errors import InputError
from ezaudio.evaluation.loading import Loading, load_sound, windowed_sinc
from ezaudio.types import Clip

GOLDEN = load_file(Path(__file__).parents[1] / "golden" / "front_ends.safetensors")
RATES = ((44_100, 16_000), (24_000, 16_000), (16_000, 32_000), (48_000, 16_000))


@pytest.mark.parametrize(("source", "target"), RATES)
def test_the_windowed_sinc_is_torchaudios(source, target):
    got = windowed_sinc(GOLDEN[f"resample/in_{source}_{target}"], source, target)
    expected = GOLDEN[f"resample/out_{source}_{target}"]
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=5e-5)


def test_the_windowed_sinc_is_down_at_7_khz_and_lets_aliases_through():
    def level_db(hz: float) -> float:
        times = np.arange(32_000) / 32_000
        wave = np.sin(2 * np.pi * hz * times).astype(np.float32)
        heard = windowed_sinc(wave, 32_000, 16_000)[2000:-2000]
        return float(20 * np.log10(np.sqrt(2 * np.mean(heard**2))))

    assert level_db(1000) == pytest.approx(0, abs=0.02)
    assert level_db(7000) == pytest.approx(-1.8, abs=0.1)
    assert level_db(8100) == pytest.approx(-7, abs=0.7)


def test_rates_without_a_common_divisor_are_refused():
    with pytest.raises(InputError, match="common divisor"):
        windowed_sinc(np.zeros(10, np.float32), 44_101, 16_000)


def test_the_first_channel_without_its_mean_as_the_paper_has_it(tmp_path: Path):
    stereo = np.stack([np.full(8000, 0.5), np.zeros(8000)]).astype(np.float32)
    stereo[0, 0] = 0.0
    write_audio(tmp_path / "x.wav", stereo, 16_000, subtype="float32")
    paper = Loading(
        channel="first", subtract_mean=True, resampler="windowed-sinc", shortest_samples=32_000
    )
    heard = load_sound(tmp_path / "x.wav", 16_000, paper)
    assert len(heard) == 32_000
    assert heard[:8000].mean() == pytest.approx(0, abs=1e-6)
    assert heard[1] == pytest.approx(0.5 / 8000, rel=1e-3)
    assert not heard[8000:].any()
    assert load_sound(tmp_path / "x.wav", 16_000, Loading())[1] == pytest.approx(0.25)


def test_a_long_sound_is_not_cut():
    clip = Clip(np.zeros(24_000 * 12, np.float32), 24_000)
    assert len(load_sound(clip, 16_000, Loading(shortest_samples=32_000))) == 16_000 * 12
