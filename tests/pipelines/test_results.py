"""Saving sounds, and reconstructing them."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from tests.tiny_model import HOP

from ezaudio.audio import read_audio, read_metadata
from ezaudio.errors import AudioFileError, InputError, OutputError
from ezaudio.pipelines.reconstruct import load_autoencoder, reconstruct
from ezaudio.pipelines.results import Sound, Sounds
from ezaudio.types import Clip

RATE = 24_000


def sound(seconds=0.1, level=0.5, prompt="a dog", **facts):
    samples = np.sin(np.arange(round(seconds * RATE)) * 0.3).astype(np.float32) * level
    return Sound(Clip(samples, RATE), {"prompt": prompt, "seed": 3, **facts})


@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "mp3"])
def test_a_sound_is_saved_with_its_length_and_what_made_it(tmp_path, format):
    path = tmp_path / f"dog.{format}"
    Sounds((sound(level=0.99),)).save(path)
    assert read_metadata(path) == {"prompt": "a dog", "seed": 3}
    back = read_audio(path)
    assert len(back.samples) == 2400
    assert np.abs(back.samples).max() <= 1.0
    if format in ("wav", "flac"):
        np.testing.assert_allclose(back.samples, sound(level=0.99).clip.samples, atol=1 / 32768)


def test_several_sounds_go_into_a_folder_or_get_numbers(tmp_path):
    sounds = Sounds((sound(), sound(), sound(prompt="rain")))
    names = [path.name for path in sounds.save(tmp_path / "out")]
    assert names == ["a-dog.wav", "a-dog-2.wav", "rain.wav"]
    names = [path.name for path in sounds.save(tmp_path / "x.flac")]
    assert names == ["x-1.flac", "x-2.flac", "x-3.flac"]
    assert sounds.save(tmp_path / "out")[0].name == "a-dog-3.wav"


def test_a_picture_lies_beside_its_sound(tmp_path):
    pytest.importorskip("matplotlib")
    [path] = Sounds((sound(),)).save(tmp_path / "dog.wav", spectrogram=True)
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_sounds_of_different_lengths_are_padded_in_audios_only():
    sounds = Sounds((sound(0.1), sound(0.05)))
    assert sounds.audios.shape == (2, 1, 2400)
    assert not sounds.audios[1, 0, 1200:].any()
    assert len(sounds[1].clip.samples) == 1200
    assert [len(item.clip.samples) for item in sounds] == [2400, 1200]


def test_flac_takes_the_finest_type_it_has(tmp_path):
    fine = Sound(sound().clip, {}, subtype="float32")
    assert soundfile.info(fine.save(tmp_path / "x.flac")).subtype == "PCM_24"
    assert soundfile.info(fine.save(tmp_path / "x.wav")).subtype == "FLOAT"
    assert soundfile.info(fine.save(tmp_path / "x.ogg")).subtype == "VORBIS"


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(OutputError):
        Sounds((sound(),)).save(tmp_path / "missing" / "\ud800.wav")
    with pytest.raises(InputError):
        Sounds((sound(),)).save(tmp_path / "x.xyz")
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("samples", [1, HOP - 1, HOP, 10 * HOP + 7])
def test_a_reconstruction_has_the_length_of_the_original(model, samples):
    clip = Clip(np.random.default_rng(0).standard_normal(samples).astype(np.float32) * 0.1, RATE)
    result = model.reconstruct(clip)
    assert len(result.sound.clip.samples) == len(result.original.samples) == samples
    assert result.distances.log_mel_l1 >= 0


def test_the_autoencoder_alone_is_enough(folder, model, tmp_path):
    (tmp_path / "m").mkdir()
    for name in ("vae.safetensors", "model.json"):
        (tmp_path / "m" / name).write_bytes((folder / name).read_bytes())
    vae, facts = load_autoencoder(tmp_path / "m", device="cpu")
    path = tmp_path / "in.wav"
    soundfile.write(path, sound(0.5).clip.samples, RATE)
    result = reconstruct(vae, path, facts=facts)
    again = model.reconstruct(path)
    np.testing.assert_allclose(result.sound.clip.samples, again.sound.clip.samples, atol=1e-6)
    assert result.sound.metadata["reconstructed_from"] == "in.wav"
    assert result.sound.metadata["vae_sha256"] == facts["vae_sha256"]
    with pytest.raises(AudioFileError):
        reconstruct(vae, tmp_path / "none.wav")
