"""Mixes: what was asked for is heard, at the level asked for, and told."""

from collections import Counter

import numpy as np
import pytest

from ezaudio.data.clips import ClipRow
from ezaudio.data.levels import rms, trim_and_level
from ezaudio.data.mixing import MixConfig, Mixer
from ezaudio.data.prompts import training_prompts
from ezaudio.errors import InputError

RATE = 8000
HZ = {"rain": 500, "dog": 900, "bell": 1700, "train": 2900}


class Tones:
    """Every label is a tone of its own; takes of 0.5 s."""

    sample_rate = RATE

    def __init__(self, seconds=0.5):
        self.count = round(seconds * RATE)
        self.rows = [
            ClipRow(file=f"{label}{i}.wav", label=label, caption=f"A {label}.", category=label)
            for label in HZ
            for i in range(2)
        ]

    def takes(self, split):
        return {label: [2 * k, 2 * k + 1] for k, label in enumerate(HZ)}

    def length(self, index):
        return self.count

    def read(self, index, start=0, samples=None):
        time = np.arange(self.count) / RATE
        return np.sin(2 * np.pi * HZ[self.rows[index].label] * time).astype(np.float32)


def mixer(scene, seconds=0.5, **values):
    return Mixer(Tones(seconds), MixConfig(count=9, scenes={scene: 1.0}, **values))


def levels(samples):
    """Power of each label's tone in dB."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) / len(samples)
    bins = np.fft.rfftfreq(len(samples), 1 / RATE)
    return {
        label: 20 * np.log10(spectrum[np.abs(bins - hz) < 50].max() + 1e-9)
        for label, hz in HZ.items()
    }


def heard(samples):
    return {label for label, level in levels(samples).items() if level > -40}


@pytest.mark.parametrize("scene", ["overlay", "background", "sequence"])
def test_both_sounds_of_a_pair_are_heard_and_told(scene):
    for number in range(5):
        mix = mixer(scene).mix(number)
        labels = {event.label for event in mix.row.events}
        assert heard(mix.samples) == labels == set(mix.row.tags) and len(labels) == 2
        assert all(label in mix.row.caption.lower() for label in labels)
        assert mix.row.scene == scene and mix.row.file == f"mix/{number:06d}"
        for prompt in training_prompts(mix.row):
            assert all(label in prompt.lower() for label in labels)


def test_a_background_lies_as_far_below_as_it_should():
    for number in range(4):
        mix = mixer("background", 10.0, background_db=(10, 10)).mix(number)
        front, back = (levels(mix.samples)[event.label] for event in mix.row.events)
        assert front - back == pytest.approx(10, abs=0.5)


def test_sounds_at_once_are_about_equally_loud():
    mix = mixer("overlay", 10.0, overlay_db=(2, 2)).mix(0)
    first, second = (levels(mix.samples)[event.label] for event in mix.row.events)
    assert second - first == pytest.approx(2, abs=0.5)


def test_a_sequence_has_each_sound_in_its_span_only():
    for number in range(4):
        mix = mixer("sequence").mix(number)
        first, second = mix.row.events
        assert first.start == 0 and first.end <= second.start and second.end == mix.row.duration
        for event in (first, second):
            span = mix.samples[round(event.start * RATE) : round(event.end * RATE)]
            assert heard(span) == {event.label}


def test_a_far_sound_is_quiet_and_one_near_is_not():
    far = mixer("far", far_db=(15, 15)).mix(0)
    assert np.abs(far.samples).max() == pytest.approx(0.8 * 10 ** (-15 / 20), rel=0.02)
    assert far.row.scene == "far" and far.row.label in HZ
    assert any("distance" in prompt for prompt in training_prompts(far.row))
    assert np.abs(mixer("overlay").mix(0).samples).max() <= 0.8001


def test_a_repeated_sound_is_one_take_several_times():
    mix = mixer("repeat", duration_s=(3, 3)).mix(1)
    assert len(heard(mix.samples)) == 1
    loud = np.abs(mix.samples) > 0.01
    blocks = loud[: len(loud) // 200 * 200].reshape(-1, 200).any(1).astype(int)
    assert 2 <= int((np.diff(blocks, prepend=0) == 1).sum()) <= 4


def test_a_mix_depends_on_its_number_and_seed_alone():
    config = MixConfig(count=50)
    one, two = Mixer(Tones(), config), Mixer(Tones(), config)
    two.mix(7)
    np.testing.assert_array_equal(one.mix(3).samples, two.mix(3).samples)
    assert one.mix(3).row == two.mix(3).row
    other = Mixer(Tones(), MixConfig(count=50, seed=1)).mix(3)
    assert other.row != one.mix(3).row


def test_scenes_and_durations_follow_the_settings():
    made = [Mixer(Tones(), MixConfig(count=60)).mix(n).row for n in range(60)]
    counts = Counter(row.scene for row in made)
    assert counts["overlay"] > counts["background"] > counts["far"] > 0
    assert all(2.9 < row.duration < 10.1 for row in made)


def test_unknown_scenes_and_a_single_label_are_errors():
    with pytest.raises(InputError, match="background"):
        mixer("echo")
    tones = Tones()
    tones.takes = lambda split: {"rain": [0, 1]}
    with pytest.raises(InputError, match="two labels"):
        Mixer(tones, MixConfig(count=1))


def test_trimming_cuts_silence_and_sets_the_peak():
    wave = np.zeros(RATE, np.float32)
    wave[3000:5000] = 0.1
    cut = trim_and_level(wave, RATE)
    assert len(cut) == pytest.approx(2000 + 2 * 160, abs=2) and cut.max() == pytest.approx(0.8)
    assert len(trim_and_level(np.zeros(50, np.float32), RATE)) == 50
    assert rms(np.full(4, 0.5, np.float32)) == pytest.approx(0.5)
