"""Editing: what lies outside the spans stays, bit for bit; what lies inside is new."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ezaudio.audio import read_metadata
from ezaudio.diffusion import SAMPLERS, derived_seed
from ezaudio.errors import AudioFileError, Cancelled, InputError
from ezaudio.pipelines import EzAudio
from ezaudio.pipelines.components import load_components
from ezaudio.pipelines.denoise import Batch, Denoiser, Kept
from ezaudio.pipelines.options import GenerateOptions
from ezaudio.pipelines.results import exact_subtype
from ezaudio.types import Clip

RATE = 24_000


def noise(seconds, seed=0, level=0.1):
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * level
    return Clip(samples.astype(np.float32), RATE)


def same(one, other, spans):
    """Whether two sounds agree outside the spans, and differ inside each."""
    outside = np.ones(len(one), bool)
    for start, end in spans:
        inside = slice(round(start * RATE), round(end * RATE))
        outside[inside] = False
        if inside.start < len(one):
            assert not np.array_equal(one[inside], other[inside][: len(one[inside])])
    return np.array_equal(one[outside], other[: len(one)][outside])


def test_a_span_is_new_and_the_rest_is_the_inputs_own(model):
    clip = noise(1.5)
    before = clip.samples.copy()
    sounds = model.edit(clip, "a bell", [(0.5, 0.9)], seed=0)
    assert sounds.audios.shape == (1, 1, 36_000)
    assert same(clip.samples, sounds[0].clip.samples, [(0.5, 0.9)])
    np.testing.assert_array_equal(clip.samples, before)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    spans=st.lists(st.tuples(st.floats(0, 1.2), st.floats(0.06, 0.6)), min_size=1, max_size=3),
    context_s=st.sampled_from([0.0, 0.1, 3.0]),
)
def test_every_sample_outside_any_spans_is_bit_identical(model, spans, context_s):
    clip = noise(1.3)
    pairs = [(start, start + length) for start, length in spans]
    edited = model.edit(
        clip, "rain", pairs, seed=1, steps=1, guidance_scale=1, context_s=context_s
    )[0]
    merged = edited.metadata["spans_s"]
    assert same(clip.samples, edited.clip.samples, merged)
    assert len(edited.clip.samples) == max(len(clip.samples), round(merged[-1][1] * RATE))


def test_past_the_end_the_sound_goes_on(model):
    clip = noise(1.0)
    for start in (0.7, 1.0):
        edited = model.edit(clip, "rain", [(start, 1.75)], seed=1)[0]
        assert len(edited.clip.samples) == 42_000
        assert same(clip.samples, edited.clip.samples, [(start, 1.75)])
        assert np.abs(edited.clip.samples[25_000:]).max() > 0


def test_of_a_long_sound_only_the_window_is_processed(folder, monkeypatch):
    parts = load_components(folder, device="cpu")
    frames, coded = [], []
    forward, encode = parts.dit.forward, parts.vae.encode
    monkeypatch.setattr(
        parts.dit, "forward", lambda x, *a, **k: frames.append(x.shape[-1]) or forward(x, *a, **k)
    )
    monkeypatch.setattr(
        parts.vae, "encode", lambda wave: coded.append(wave.shape[-1]) or encode(wave)
    )
    clip = noise(60.0)
    spans = [(20.0, 20.5), (20.6, 21.0), (40.0, 43.0)]
    edited = EzAudio(parts).edit(clip, "rain", spans, seed=1, context_s=0.5)[0]
    assert same(clip.samples, edited.clip.samples, spans)
    assert set(frames) == {100, 200}  # two spans share a window; one fills the model's 4 s
    assert sum(coded) < 10 * RATE


def test_takes_differ_and_do_not_depend_on_how_many_are_asked_for(model):
    clip, spans = noise(1.0), [(0.2, 0.4), (0.6, 0.8)]
    three = model.edit(clip, "rain", spans, seed=4, num=3, context_s=0.05, batch_size=2)
    alone = model.edit(clip, "rain", spans, seed=6, context_s=0.05)
    torch.testing.assert_close(three.audios[2], alone.audios[0], atol=1e-5, rtol=0)
    assert float((three.audios[0] - three.audios[1]).abs().max()) > 1e-4
    assert [sound.metadata["seed"] for sound in three] == [4, 5, 6]


def test_each_window_has_noise_of_its_own():
    seeds = {derived_seed(seed, window) for seed in range(20) for window in range(20)}
    assert derived_seed(5, 0) == 5
    assert len(seeds) == 400
    assert all(0 <= seed < 2**32 for seed in seeds)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_kept_frames_end_as_they_are_known_with_every_sampler(model, sampler):
    torch.manual_seed(0)
    known = torch.randn(2, 4, 30)
    regenerate = torch.zeros(2, 1, 30, dtype=torch.bool)
    regenerate[..., 10:20] = True
    ends = []
    batch = Batch(["rain", "a dog"], ["", ""], [1, 2], 30,
                  GenerateOptions(steps=4, sampler=sampler, guidance_scale=3))  # fmt: skip
    latent = Denoiser(model.parts)(
        batch,
        kept=Kept(known, regenerate),
        callback=lambda index, total, t, x0: ends.append(x0),
    )
    for x0 in [*ends, latent]:  # from the first step on, not by pasting at the end
        kept = ~regenerate.expand_as(x0)
        torch.testing.assert_close(x0[kept], known[kept], atol=1e-3, rtol=0)
    inside = regenerate.expand_as(latent)
    assert float((latent[inside] - known[inside]).abs().max()) > 0.1


def test_the_context_is_heard(model):
    one, other = noise(1.0, seed=1), noise(1.0, seed=2, level=0.5)
    samples = other.samples.copy()
    samples[9600:14400] = one.samples[9600:14400]  # the span itself is alike
    results = [
        model.edit(Clip(s, RATE), "rain", [(0.4, 0.6)], seed=3)[0].clip.samples[10_500:13_500]
        for s in (one.samples, samples)
    ]
    assert np.abs(results[0] - results[1]).max() > 1e-5


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_U8", "PCM_24", "FLOAT"])
def test_a_file_keeps_every_bit_outside_the_span(model, tmp_path, subtype):
    clip, path, out = noise(0.8), tmp_path / "in.wav", tmp_path / "out.wav"
    soundfile.write(path, clip.samples, RATE, subtype=subtype)
    [made] = model.edit(path, "rain", [(0.3, 0.5)], seed=0).save(out)
    assert made == out
    one, _ = soundfile.read(path, dtype="float32")
    other, _ = soundfile.read(out, dtype="float32")
    assert same(one, other, [(0.3, 0.5)])
    wanted = {"PCM_U8": "PCM_16"}.get(subtype, subtype)
    assert soundfile.info(out).subtype == wanted
    assert read_metadata(out)["edited_from"] == "in.wav"
    assert read_metadata(out)["spans_s"] == [[0.3, 0.5]]


def outside_is_untouched(one, other, rate, spans):
    """`(S, channels)` each: equal outside the spans, different in every channel inside."""
    outside = np.ones(len(one), bool)
    for start, end in spans:
        outside[round(start * rate) : round(end * rate)] = False
    assert np.array_equal(one[outside], other[outside])
    assert np.all(np.any(one[~outside] != other[~outside], axis=0))


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (16_000, 2), (48_000, 1), (11_025, 1)])
def test_rate_channels_and_depth_of_the_recording_stay(model, tmp_path, subtype, rate, channels):
    samples = np.random.default_rng(0).standard_normal((rate, channels)).astype(np.float32) * 0.1
    path = tmp_path / "in.wav"
    soundfile.write(path, samples, rate, subtype=subtype)
    one, _ = soundfile.read(path, dtype="float32", always_2d=True)
    [made] = model.edit(path, "rain", [(0.3, 0.61)], seed=0).save(path)  # in its own place
    info = soundfile.info(made)
    assert (info.samplerate, info.channels, info.subtype) == (rate, channels, subtype)
    other, _ = soundfile.read(made, dtype="float32", always_2d=True)
    outside_is_untouched(one, other, rate, [(0.3, 0.61)])
    assert np.abs(np.diff(other, axis=0)).max() < 3 * np.abs(np.diff(one, axis=0)).max()


def test_a_stereo_sound_goes_on_past_its_end_without_a_click(model):
    times = np.arange(44_100) / 44_100
    tone = np.stack([np.sin(220 * 2 * np.pi * times), np.cos(110 * 2 * np.pi * times)])
    clip = Clip(tone.astype(np.float32) * 0.5, 44_100)
    edited = model.edit(clip, "rain", [(1.0, 1.5)], seed=1)[0].clip
    assert edited.samples.shape == (2, 66_150)
    assert np.array_equal(edited.samples[:, :44_100], clip.samples)
    steps = np.abs(np.diff(edited.samples))
    assert np.all(steps[:, 44_099] < steps[:, 44_100:].max(axis=1))
    assert np.all(edited.samples[:, -1] == 0)


def test_stereo_whose_channels_cancel_does_not_become_silence(model):
    left = noise(1.0).samples
    clip = Clip(np.stack([left, -left]), RATE)
    edited = model.edit(clip, "rain", [(0.4, 0.6)], seed=1)[0].clip.samples
    one_channel = model.edit(Clip(left, RATE), "rain", [(0.4, 0.6)], seed=1)[0].clip.samples
    middle = slice(round(0.43 * RATE), round(0.57 * RATE))
    for channel in edited:
        np.testing.assert_allclose(channel[middle], one_channel[middle], atol=1e-3)
    assert np.abs(edited.mean(axis=0)[middle]).max() > 0.01


def test_a_new_part_has_in_each_channel_the_level_that_the_channel_has(model):
    one = noise(1.0).samples
    clip = Clip(np.stack([one, one * 0.1, one * 0]), RATE)
    edited = model.edit(clip, "rain", [(0.4, 0.6)], seed=1)[0].clip.samples
    middle = slice(round(0.43 * RATE), round(0.57 * RATE))
    levels = np.sqrt(np.mean(np.square(edited[:, middle]), axis=1))
    assert levels[1] / levels[0] == pytest.approx(0.1, rel=1e-3)
    assert levels[2] == 0


@pytest.mark.parametrize("gain", [1e-1, 1e-2, 1e-3])
def test_a_quiet_recording_gets_the_new_part_of_a_loud_one_made_as_quiet(model, gain):
    loud = noise(1.0, level=0.2)
    quiet = Clip(loud.samples * np.float32(gain), RATE)
    edited = [model.edit(c, "rain", [(0.4, 0.6)], seed=1)[0].clip.samples for c in (loud, quiet)]
    np.testing.assert_allclose(edited[1] / gain, edited[0], atol=2e-4)


def test_silence_can_be_edited(model):
    clip = Clip(np.zeros(RATE, np.float32), RATE)
    edited = model.edit(clip, "rain", [(0.4, 0.6)], seed=1)[0].clip.samples
    assert np.isfinite(edited).all() and np.abs(edited).max() > 0


def test_new_ends_of_a_sound_fade_and_kept_ones_do_not(model):
    clip = noise(1.0)
    edited = model.edit(clip, "rain", [(0.0, 0.2), (0.9, 1.2)], seed=1)[0].clip.samples
    assert edited[0] == edited[-1] == 0
    hard = model.edit(clip, "rain", [(0.0, 0.2), (0.9, 1.2)], seed=1, fade_s=0)[0].clip.samples
    np.testing.assert_array_equal(edited[120:-120], hard[120:-120])
    inner = model.edit(clip, "rain", [(0.3, 0.5)], seed=1, fade_s=0.1)[0].clip.samples
    assert same(clip.samples, inner, [(0.3, 0.5)])


def test_results_can_be_edited_again(model):
    made = model.generate("rain", seed=1)
    once = model.edit(made, "a bell", [(0.1, 0.2)], seed=2)
    twice = model.edit(once[0], "a dog", [(0.3, 0.4)], seed=3)
    assert same(made[0].clip.samples, twice[0].clip.samples, [(0.1, 0.2), (0.3, 0.4)])
    with pytest.raises(InputError, match="one sound"):
        model.edit(model.generate("rain", num=2), "a bell", [(0.1, 0.2)])


@pytest.mark.parametrize("sound", [None, 5, np.zeros(9), ["x.wav"]])
def test_what_is_no_sound_is_refused(model, sound):
    with pytest.raises(InputError, match="the path of a file, a Clip, or a result") as error:
        model.edit(sound, "rain", [(0.1, 0.2)])
    assert error.value.field == "sound"


def test_a_loud_kept_part_stays_loud_and_the_new_part_does_not_clip(folder):
    parts = load_components(folder, device="cpu")
    decode = parts.vae.decode
    parts.vae.decode = lambda *given: decode(*given) * 1e4
    samples = np.sign(noise(1.0).samples)
    edited = EzAudio(parts).edit(Clip(samples, RATE), "rain", [(0.4, 0.6)], seed=0)[0].clip.samples
    assert same(samples, edited, [(0.4, 0.6)])
    assert np.abs(edited[9600 + 480 : 14400 - 480]).max() <= 0.9901


def test_the_smallest_sample_type_that_holds_the_sound_is_found():
    whole = np.array([-32768, 0, 1, 32767], np.float32) / 32768
    assert exact_subtype(whole) == "pcm16"
    assert exact_subtype(np.append(whole, np.float32(1.0))) == "float32"
    assert exact_subtype(np.append(whole, np.float32(2**-20))) == "pcm24"
    assert exact_subtype(np.append(whole, np.float32(1e-9))) == "float32"


def test_progress_counts_all_windows_and_can_stop(model):
    heard = []
    spans = [(0.2, 0.3), (2.2, 2.3)]
    model.edit(noise(3.0), "rain", spans, steps=2, num=2, batch_size=1, context_s=0.2,
               callback=lambda p: heard.append((p.step, p.total)))  # fmt: skip
    assert heard == [(step, 8) for step in range(1, 9)]
    with pytest.raises(Cancelled):
        model.edit(noise(1.0), "rain", [(0.2, 0.3)], callback=lambda p: False)


@pytest.mark.parametrize(
    ("spans", "values", "field"),
    [
        ([(0.2, 0.1)], {}, "end"),
        ([(3.0, 3.5)], {}, "start"),
        ([(0.1, 3.9)], {}, "span"),
        ([(0.1, 0.5)], {"context_s": -1}, "context_s"),
        ([(0.1, 0.5)], {"crossfade_s": float("nan")}, "crossfade_s"),
        ([(0.1, 0.5)], {"duration_s": 3}, "duration_s"),
    ],
)
def test_bad_input_names_the_field(model, spans, values, field):
    with pytest.raises(InputError) as error:
        model.edit(noise(1.0), "rain", spans, **values)
    assert error.value.field == field


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.full(9, np.nan, np.float32)])
def test_a_clip_without_sound_is_refused(model, samples):
    with pytest.raises(AudioFileError):
        model.edit(Clip(samples, RATE), "rain", [(0, 1)])
