import math

import pytest
import torch
from pydantic import ValidationError

from ezaudio.controls import CONTROLS, EnergyConfig
from ezaudio.errors import InputError


@pytest.mark.parametrize("kind", CONTROLS)
def test_every_control_gives_its_channels_in_frames_and_leaves_the_sound_alone(kind):
    config = CONTROLS[kind]()
    assert config.kind == kind
    wave = torch.randn(2, 1, 4_800, generator=torch.Generator().manual_seed(0))
    before = wave.clone()
    curves = config.build()(wave)
    assert curves.shape == (2, config.channels, 20)
    assert curves.dtype == torch.float32
    assert curves.isfinite().all()
    assert torch.equal(wave, before)


def test_a_steady_level_is_measured_in_decibels():
    wave = torch.full((1, 1, 4_800), 0.1)
    level_db = EnergyConfig(relative=False).build()(wave)
    assert torch.allclose(level_db, torch.full_like(level_db, -20.0), atol=1e-3)


def test_the_loudest_frame_is_one_and_the_gain_does_not_matter_above_the_floor():
    time_s = torch.arange(9_600) / 24_000
    wave = (torch.sin(2 * math.pi * 440 * time_s) * (0.3 + time_s)).view(1, 1, -1)
    curve = EnergyConfig().build()(wave)
    assert curve.max() == pytest.approx(1.0)
    assert curve.min() > 0
    assert curve[0, 0, -1] > curve[0, 0, 0]


def test_silence_is_zero():
    assert EnergyConfig().build()(torch.zeros(1, 1, 4_800)).abs().max() == 0


def test_a_sound_too_short_to_mirror_is_refused():
    with pytest.raises(InputError, match="840"):
        EnergyConfig().build()(torch.zeros(1, 1, 840))
    assert EnergyConfig().build()(torch.zeros(1, 1, 841)).shape == (1, 1, 3)


def test_windows_must_be_centred_on_their_frames():
    with pytest.raises(ValidationError, match="even"):
        EnergyConfig(hop_samples=240, window_samples=1_919)
