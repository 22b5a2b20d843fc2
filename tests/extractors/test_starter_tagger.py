import numpy as np
import pytest
import torch

from ezaudio.errors import CheckpointError
from ezaudio.extractors.sound_statistics import WIDTH, sound_statistics
from ezaudio.extractors.starter_tagger import (
    FRAME_RATE,
    KIND,
    SAMPLE_RATE,
    WEIGHTS,
    LevelledLogMel,
    StarterTaggerConfig,
    levelled,
    load_starter_tagger,
)


def noise(seconds: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(1, round(seconds * SAMPLE_RATE), generator=generator)


@pytest.fixture(scope="module")
def tagger():
    return load_starter_tagger()


def test_the_shipped_tagger_is_small_and_knows_kinds(tagger):
    assert WEIGHTS.stat().st_size < 10_000_000
    assert len(tagger.labels) == len(set(tagger.labels)) >= 40
    assert tagger.sha256 is not None


def test_it_gives_features_logits_and_a_place_in_the_text_space(tagger):
    features, logits, text = tagger(noise(2.0))
    assert features.shape == (1, 128)
    assert logits.shape == (1, len(tagger.labels))
    assert text.shape == (1, 384)
    assert not features.requires_grad


def test_the_level_of_a_sound_does_not_matter(tagger):
    loud, quiet = tagger(noise(2.0)), tagger(0.1 * noise(2.0))
    torch.testing.assert_close(loud[1], quiet[1], atol=0.02, rtol=0)


@pytest.mark.parametrize("seconds", [0.001, 0.3, 1.0, 5.0, 11.0])
def test_any_length_is_heard(tagger, seconds):
    assert all(value.isfinite().all() for value in tagger(noise(seconds)))


def test_silence_is_heard_without_a_nan(tagger):
    assert all(value.isfinite().all() for value in tagger(torch.zeros(1, SAMPLE_RATE)))


def test_the_timeline_has_a_window_every_quarter_second(tagger):
    shares = tagger.timeline(noise(4.0))
    assert shares.shape == (1, 13, len(tagger.labels))
    torch.testing.assert_close(shares.sum(2), torch.ones(1, 13))


def test_a_sine_lies_in_its_band_at_its_level():
    times = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    mel = LevelledLogMel().log_mel(torch.sin(2 * np.pi * 1000 * times)[None])
    assert mel.shape == (1, 64, FRAME_RATE + 1)
    loudest = mel[0, :, 40].argmax()
    assert 15 <= int(loudest) <= 25
    shown = levelled(mel)
    assert (shown.min(), shown.max()) == pytest.approx((-1.75, 1.75))


def test_statistics_do_not_depend_on_the_company_of_a_sound():
    shown = levelled(LevelledLogMel().log_mel(torch.cat([noise(2.0), noise(2.0, seed=1)])))
    both = sound_statistics(shown)
    assert both.shape == (2, WIDTH)
    torch.testing.assert_close(both[1:], sound_statistics(shown[1:]))


def test_modulation_of_eight_hertz_is_found():
    """The statistic of modulation near 8 Hz rises where a noise beats at 8 Hz."""
    steady = noise(4.0)
    times = torch.arange(steady.shape[1]) / SAMPLE_RATE
    beating = steady * (1 + 0.9 * torch.sin(2 * np.pi * 8 * times))
    front_end = LevelledLogMel()
    first, second = (sound_statistics(front_end(wave))[0] for wave in (steady, beating))
    modulation = slice(7 * 64, 7 * 64 + 8 * 12)
    rise = (second[modulation] - first[modulation]).reshape(8, 12).mean(0)
    assert int(rise.argmax()) == 7  # 28 to 40 of 320 frames at 80 frames/s: 7 to 10 Hz


def test_a_saved_tagger_is_the_same_when_it_is_read_again(tmp_path):
    torch.manual_seed(0)
    made = StarterTaggerConfig(labels=("a", "b"), hidden=16, features=8).build()
    made.save(tmp_path / "t.safetensors", facts={"clips": 1})
    read = load_starter_tagger(tmp_path / "t.safetensors")
    assert read.labels == ("a", "b")
    torch.testing.assert_close(read(noise(1.0))[0], made(noise(1.0))[0], atol=5e-3, rtol=5e-3)


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=KIND):
        from ezaudio.checkpoints import save_module

        save_module(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, kind="vae", config={})
        load_starter_tagger(tmp_path / "x.safetensors")
