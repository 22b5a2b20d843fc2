"""Sound files: what is written is read back with its metadata; what is no sound is refused."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ezaudio.audio import (
    AUDIO_FORMATS,
    encode_audio,
    peak_guard,
    read_audio,
    read_metadata,
    resample,
    write_audio,
)
from ezaudio.errors import AudioFileError, InputError, OutputError

RATE = 24_000
HOSTILE_PROMPT = 'a dog "barks" \\ twice,\n\tünïcödé 犬 🐕 \0 end'


def tone(count: int = 6000, hz: float = 440.0, rate: int = RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(count) / rate)).astype(np.float32)


@pytest.mark.parametrize("name", AUDIO_FORMATS)
def test_every_format_keeps_the_sound_its_rate_and_its_length(name: str, tmp_path: Path) -> None:
    for count in (1, 479, 1152, 24_001):
        write_audio(tmp_path / f"a.{name}", tone(count), RATE)
        clip = read_audio(tmp_path / f"a.{name}")
        assert clip.sample_rate == RATE and clip.samples.shape == (count,)
    assert clip.samples.dtype == np.float32
    assert np.abs(clip.samples - tone(24_001))[100:-100].max() < (0.02 if name != "mp3" else 0.05)


@pytest.mark.parametrize("name", AUDIO_FORMATS)
@pytest.mark.parametrize("length", [0, 1, 500, 20_000])
def test_every_format_carries_metadata_of_any_length(
    name: str, length: int, tmp_path: Path
) -> None:
    facts = {"prompt": HOSTILE_PROMPT + "a" * length, "seed": 7, "scale": 0.1, "none": None}
    path = tmp_path / f"a.{name}"
    write_audio(path, tone(), RATE, metadata=facts)
    assert read_metadata(path) == facts
    assert len(read_audio(path).samples) == 6000


@pytest.mark.parametrize("name", AUDIO_FORMATS)
def test_a_file_without_metadata_has_none(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{name}"
    write_audio(path, tone(), RATE)
    assert read_metadata(path) == {}


def test_a_comment_of_another_program_is_not_metadata(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "a.wav", "w", RATE, 1, "PCM_16") as file:
        file.comment = "recorded at home"
        file.write(tone())
    assert read_metadata(tmp_path / "a.wav") == {}


def test_other_programs_see_the_wav_comment_and_every_sample() -> None:
    content = encode_audio(tone(5), RATE, format="wav", metadata={"seed": 1}, subtype="pcm24")
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        assert file.comment == '{"seed": 1}' and file.frames == 5
    assert int.from_bytes(content[4:8], "little") == len(content) - 8


def test_sixteen_bit_samples_survive_reading_and_writing_bit_for_bit(tmp_path: Path) -> None:
    every = np.arange(-32768, 32768, dtype=np.int16)
    soundfile.write(tmp_path / "in.wav", every, RATE)
    for name in ("out.wav", "out.flac"):
        write_audio(tmp_path / name, read_audio(tmp_path / "in.wav").samples, RATE)
        assert np.array_equal(soundfile.read(tmp_path / name, dtype="int16")[0], every)


@pytest.mark.parametrize(("subtype", "bits"), [("pcm16", 16), ("pcm24", 24), ("float32", 31)])
def test_a_finer_subtype_keeps_finer_samples(subtype: str, bits: int, tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", tone(), RATE, subtype=subtype)
    assert np.abs(read_audio(tmp_path / "a.wav").samples - tone()).max() <= 2.0**-bits


def test_too_loud_samples_are_clipped_not_wrapped(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", np.array([2.0, -2.0], np.float32), RATE)
    assert np.allclose(read_audio(tmp_path / "a.wav").samples, [1, -1], atol=1e-4)


def test_minutes_of_vorbis_are_written(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.ogg", np.zeros(300 * 8000, np.float32), 8000)
    assert soundfile.info(tmp_path / "a.ogg").frames == 300 * 8000


def test_tensors_and_stereo_are_written_and_mixed_down(tmp_path: Path) -> None:
    stereo = torch.stack([torch.full((10,), 0.5), torch.full((10,), -0.25)])
    write_audio(tmp_path / "a.wav", stereo, RATE, subtype="float32")
    assert np.allclose(read_audio(tmp_path / "a.wav").samples, 0.125)
    both = read_audio(tmp_path / "a.wav", mono=False)
    assert both.samples.shape == (2, 10) and both.duration_s == 10 / RATE


def test_the_format_may_be_named_apart_from_the_path(tmp_path: Path) -> None:
    write_audio(tmp_path / "sound", tone(), RATE, format="FLAC")
    assert soundfile.info(tmp_path / "sound").format == "FLAC"


@pytest.mark.parametrize("count", [1, 2, 999, 24_000])
@pytest.mark.parametrize("to_hz", [8000, 16_000, 44_100, 48_000])
def test_resampling_gives_the_rounded_length(count: int, to_hz: int) -> None:
    assert resample(tone(count), RATE, to_hz).shape == (max(1, round(count * to_hz / RATE)),)


def test_resampling_keeps_a_tone_and_removes_what_cannot_be_held() -> None:
    kept = resample(tone(24_000, 1000), RATE, 16_000)
    assert np.abs(kept - tone(16_000, 1000, 16_000))[500:-500].max() < 1e-3
    gone = resample(tone(24_000, 11_000), RATE, 16_000)
    assert np.abs(gone[500:-500]).max() < 1e-3


def test_reading_resamples(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", tone(44_100, 440, 44_100), 44_100)
    clip = read_audio(tmp_path / "a.wav", sample_rate=RATE)
    assert (clip.sample_rate, len(clip.samples), clip.duration_s) == (RATE, RATE, 1.0)


@given(st.floats(0, 100), st.floats(0.01, 1), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_the_guard_only_lowers(scale: float, ceiling: float, seed: int) -> None:
    sound = (np.random.default_rng(seed).standard_normal(64) * scale).astype(np.float32)
    before = sound.copy()
    guarded = peak_guard(sound, ceiling)
    assert np.abs(guarded).max() <= ceiling * (1 + 1e-6)
    assert (np.abs(guarded) <= np.abs(sound) * (1 + 1e-6)).all()
    assert np.array_equal(sound, before)
    if np.abs(sound).max() <= ceiling:
        assert guarded is sound


def test_the_guard_takes_tensors_silence_and_nothing() -> None:
    assert peak_guard(torch.full((1, 3), 4.0), 0.5).tolist() == [[0.5] * 3]
    assert peak_guard(np.zeros(3, np.float32)).tolist() == [0, 0, 0]
    assert peak_guard(np.zeros(0, np.float32)).shape == (0,)


def _nothing(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("this is no sound" * 20)


def _head_only(path: Path) -> None:
    path.write_bytes(encode_audio(tone(), RATE, format="wav")[:44])


def _no_frames(path: Path) -> None:
    soundfile.write(path, np.zeros(0, np.float32), RATE, format="WAV")


def _nan(path: Path) -> None:
    soundfile.write(path, np.array([0, np.nan], np.float32), RATE, "FLOAT", format="WAV")


@pytest.mark.parametrize("make", [_nothing, _text, _head_only, _no_frames, _nan, Path.mkdir])
@pytest.mark.parametrize("name", ["a.wav", "a.raw", "a"])
def test_what_is_no_sound_is_refused_in_one_line(make: object, name: str, tmp_path: Path) -> None:
    make(tmp_path / name)  # type: ignore[operator]
    with pytest.raises(AudioFileError) as caught:
        read_audio(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["none.wav", "none/none.wav", "bad\0name.wav", "x" * 300])
def test_a_missing_file_is_refused(name: str, tmp_path: Path) -> None:
    for read in (read_audio, read_metadata):
        with pytest.raises(AudioFileError):
            read(tmp_path / name)


@pytest.mark.parametrize("name", AUDIO_FORMATS)
@pytest.mark.parametrize("part", [0.01, 0.5])
def test_a_truncated_file_is_read_in_part_or_refused(
    name: str, part: float, tmp_path: Path
) -> None:
    content = encode_audio(tone(24_000), RATE, format=name)
    (tmp_path / "a").write_bytes(content[: int(len(content) * part)])
    try:
        assert 0 < len(read_audio(tmp_path / "a").samples) <= 24_000
    except AudioFileError as error:
        assert "\n" not in str(error)


@given(st.binary(min_size=1, max_size=300), st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS"]))
@settings(max_examples=60, deadline=None)
def test_random_bytes_never_break_the_reader(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, head: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "a.wav"
    path.write_bytes(head + content)
    for read in (read_audio, read_metadata):
        try:
            read(path)
        except AudioFileError as error:
            assert "\n" not in str(error)


def test_bad_arguments_name_the_field_and_what_is_allowed(tmp_path: Path) -> None:
    cases = [
        ("format", "a.aac", {}),
        ("format", "a", {}),
        ("format", "a.wav", {"format": "opus"}),
        ("subtype", "a.flac", {"subtype": "float32"}),
        ("sample_rate", "a.mp3", {"sample_rate": 96_000}),
        ("sample_rate", "a.wav", {"sample_rate": 0}),
        ("sample_rate", "a.wav", {"sample_rate": 24_000.5}),
        ("samples", "a.wav", {"samples": np.zeros((2, 2, 2))}),
        ("samples", "a.wav", {"samples": np.zeros(0)}),
    ]
    for field, name, changed in cases:
        arguments = {"samples": tone(), "sample_rate": RATE, **changed}
        with pytest.raises(InputError) as caught:
            write_audio(tmp_path / name, **arguments)
        assert caught.value.field == field
    assert list(tmp_path.iterdir()) == []


def test_a_sound_with_nan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="NaN"):
        write_audio(tmp_path / "a.wav", np.array([np.nan]), RATE)
    assert list(tmp_path.iterdir()) == []


_FULL = """
import resource, signal, sys, numpy as np
from ezaudio.audio import AUDIO_FORMATS, write_audio
from ezaudio.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))
noise = np.random.default_rng(0).uniform(-1, 1, 24000).astype("float32")
for name in AUDIO_FORMATS:
    try:
        write_audio(sys.argv[1] + "/a." + name, noise, 24000)
    except OutputError as error:
        assert "cannot write" in str(error), error
    else:
        raise SystemExit(name)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a file size limit")
def test_a_write_cut_short_by_the_system_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    for target in (tmp_path / "no" / "a.wav", Path("/proc/a.wav")):
        with pytest.raises(OutputError, match="cannot write"):
            write_audio(target, tone(), RATE)
