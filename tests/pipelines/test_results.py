"""Saving sounds, and reconstructing them."""

from __future__ import annotations

import base64
import io
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
import torch
from tests.tiny_model import HOP

from ezaudio.audio import read_audio, read_metadata
from ezaudio.errors import AudioFileError, InputError, OutputError
from ezaudio.pipelines.outputs import Wanted, plan_files
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


def test_a_name_that_another_run_took_meanwhile_is_not_replaced(tmp_path):
    files = plan_files(tmp_path, ["rain", Wanted("a dog", takes=2), Wanted("x", output="own.wav")])
    for name in ("rain.wav", "rain-2.wav", "a-dog-1.wav", "own.wav"):
        (tmp_path / name).write_bytes(b"another's")
    saved = [files.save(index, sound()).name for index in range(4)]
    assert saved == ["rain-3.wav", "a-dog-3.wav", "a-dog-2.wav", "own.wav"]
    for name in ("rain.wav", "rain-2.wav", "a-dog-1.wav"):
        assert (tmp_path / name).read_bytes() == b"another's"
    assert read_audio(tmp_path / "own.wav").duration_s == pytest.approx(0.1)


def test_two_runs_at_once_into_one_folder_keep_every_sound(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        saved = list(pool.map(lambda _: Sounds((sound(), sound())).save(tmp_path), range(8)))
    names = {path.name for paths in saved for path in paths}
    assert len(names) == 16
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_result_says_what_it_is():
    assert repr(sound()) == "Sound('a dog', 0.10 s, 24000 Hz, seed 3)"
    assert repr(Sound(sound().clip, {})) == "Sound('', 0.10 s, 24000 Hz)"
    assert repr(Sounds((sound(), sound(prompt="rain")))).startswith("Sounds([Sound('a dog', 0.10")


def test_a_notebook_shows_a_player_and_a_spectrogram(monkeypatch):
    pytest.importorskip("matplotlib")
    shown = Sounds((sound(prompt="<b>rain</b>"), sound()))._repr_html_()
    assert shown.count("<audio controls") == shown.count("<img ") == 2
    assert "&lt;b&gt;rain" in shown and "<b>" not in shown
    content = base64.b64decode(shown.split("data:audio/wav;base64,")[1].split('"')[0])
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    np.testing.assert_allclose(samples, sound().clip.samples, atol=1 / 32768)
    assert rate == RATE
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "<img" not in sound()._repr_html_() and "<audio" in sound()._repr_html_()
    assert "audio/mpeg" in sound(61)._repr_html_()


def test_sounds_of_one_and_of_two_channels_stand_in_one_tensor():
    stereo = Sound(Clip(np.ones((2, 100), np.float32), RATE), {})
    audios = Sounds((stereo, Sound(Clip(np.full(50, 0.5, np.float32), RATE), {}))).audios
    assert audios.shape == (2, 2, 100)
    assert audios[1, :, 49].tolist() == [0.5, 0.5] and audios[1, :, 50:].abs().max() == 0


def test_latents_come_out_and_go_in(model, tmp_path):
    clip = Clip(sound(0.5).clip.samples, RATE)
    latent = model.encode(clip)
    assert latent.shape == (1, 4, 25) and not latent.is_inference()
    [back] = model.decode(latent)
    again = model.reconstruct(clip).sound
    np.testing.assert_allclose(back.clip.samples, again.clip.samples, atol=1e-5)
    assert len(model.decode(torch.cat([latent, latent]))) == 2
    assert model.encode(back).shape == (1, 4, 25)


@pytest.mark.parametrize("latent", [None, np.zeros(4), torch.zeros(1, 3, 5), torch.zeros(1, 4, 0),
                                    torch.full((1, 4, 5), float("nan"))])  # fmt: skip
def test_what_is_no_latent_is_refused(model, latent):
    with pytest.raises(InputError) as error:
        model.decode(latent)
    assert error.value.field == "latent"


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
