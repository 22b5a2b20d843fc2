"""Generating: lengths, seeds, batches, metadata, progress."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ezaudio.audio_levels import fade_ends, loudness_lufs, true_peak
from ezaudio.diffusion import (
    MAX_SEED,
    SAMPLERS,
    TIME_GRIDS,
    SeededNoise,
    derived_seed,
    guide,
    zero_snr_schedule,
)
from ezaudio.errors import Cancelled, InputError
from ezaudio.pipelines import EzAudio, GenerateOptions, Request
from ezaudio.pipelines.components import load_components
from ezaudio.pipelines.generate import batches_of, takes_of
from ezaudio.pipelines.results import CEILING

quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def options(**given_values):
    return GenerateOptions(**{"steps": 2, "duration_s": 0.3, **given_values})


def test_a_prompt_becomes_a_sound_of_the_length_that_was_asked_for(model):
    sounds = model.generate("a dog barking", duration_s=0.7, seed=0)
    assert sounds.audios.shape == (1, 1, 16_800)
    assert sounds.audios.dtype == torch.float32
    assert sounds.sample_rate == 24_000
    assert bool(torch.isfinite(sounds.audios).all())
    assert not sounds.audios.is_inference()


@quick
@given(duration_s=st.floats(0.1, 0.9))
def test_the_duration_is_kept_to_the_sample(model, duration_s):
    sound = model.generate("rain", duration_s=duration_s, seed=1, steps=1, guidance_scale=1)[0]
    assert len(sound.clip.samples) == round(duration_s * 24_000)


def test_the_same_seed_gives_the_same_sound_alone_and_in_any_batch(model):
    prompts = ["a dog barking", "rain falling on a tin roof", "a bell"]
    together = model.generate(prompts, seed=7, negative_prompt="music")
    in_pairs = model.generate(prompts, seed=7, negative_prompt="music", batch_size=2)
    for index, prompt in enumerate(prompts):
        seed = together[index].metadata["seed"]
        alone = model.generate(prompt, seed=seed, negative_prompt="music")
        torch.testing.assert_close(together.audios[index], alone.audios[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(in_pairs.audios[index], alone.audios[0], atol=1e-5, rtol=0)


def test_fresh_noise_of_each_step_belongs_to_the_seed_too(model):
    together = model.generate(["a dog", "rain"], seed=7, eta=1.0, steps=3)
    alone = model.generate("rain", seed=together[1].metadata["seed"], eta=1.0, steps=3)
    torch.testing.assert_close(together.audios[1], alone.audios[0], atol=1e-5, rtol=0)


def test_take_k_does_not_depend_on_how_many_are_asked_for(model):
    three = model.generate("a bell", seed=10, num=3)
    five = model.generate("a bell", seed=10, num=5, batch_size=2)
    torch.testing.assert_close(three.audios, five.audios[:3], atol=1e-5, rtol=0)
    alone = model.generate("a bell", seed=12)
    torch.testing.assert_close(alone.audios[0], three.audios[2], atol=1e-5, rtol=0)
    assert [sound.metadata["seed"] for sound in five] == [10, 11, 12, 13, 14]
    assert [sound.metadata["take"] for sound in five] == [0, 1, 2, 3, 4]


def test_other_seeds_and_other_prompts_give_other_sounds(model):
    sounds = model.generate(["a dog", "rain"], seed=1, num=2).audios
    for i in range(4):
        for j in range(i):
            assert float((sounds[i] - sounds[j]).abs().max()) > 1e-4


def test_without_a_seed_one_is_drawn_and_told(model):
    one = model.generate("a bell")[0]
    other = model.generate("a bell")[0]
    assert one.metadata["seed"] != other.metadata["seed"]
    again = model.generate("a bell", seed=one.metadata["seed"])[0]
    np.testing.assert_array_equal(again.clip.samples, one.clip.samples)


def test_prompts_come_first_and_takes_lie_next_to_each_other(model):
    sounds = model.generate(["a dog", "rain"], num=2, seed=3, batch_size=3)
    told = [(sound.metadata["prompt"], sound.metadata["seed"]) for sound in sounds]
    rain = derived_seed(3, 1, takes=2)
    assert told == [("a dog", 3), ("a dog", 4), ("rain", rain), ("rain", rain + 1)]


def test_the_rows_of_a_list_have_noise_of_their_own(folder, monkeypatch):
    parts = load_components(folder, device="cpu")
    drawn = []
    decode = parts.vae.decode
    monkeypatch.setattr(parts.vae, "decode", lambda x, *rest: drawn.append(x) or decode(x, *rest))
    sounds = EzAudio(parts).generate(["rain"] * 20, seed=5, guidance_scale=1, steps=1)
    assert len({sound.metadata["seed"] for sound in sounds}) == 20
    latents = torch.cat(drawn).flatten(1)
    likeness = torch.corrcoef(latents) - torch.eye(20)
    assert float(likeness.abs().max()) < 0.9
    again = EzAudio(parts).generate("rain", seed=sounds[13].metadata["seed"], guidance_scale=1,
                                    steps=1)  # fmt: skip
    torch.testing.assert_close(again.audios[0], sounds.audios[13], atol=1e-5, rtol=0)


@quick
@given(seed=st.integers(0, MAX_SEED), row=st.integers(0, 10_000), takes=st.integers(1, 1000))
def test_the_seed_of_a_row_leaves_room_for_its_takes(seed, row, takes):
    if row == 0:
        assert derived_seed(seed, row, takes=takes) == seed
    else:
        assert 0 <= derived_seed(seed, row, takes=takes) <= MAX_SEED - takes + 1


def test_the_metadata_says_all_that_is_needed_to_make_the_sound_again(model, folder):
    sound = model.generate("a dog", seed=3, sampler="dpmpp-2m", grid="log-snr", steps=4)[0]
    told = sound.metadata
    assert told["dit_sha256"] != told["vae_sha256"]
    assert len(told["dit_sha256"]) == 64
    names = ("prompt", "negative_prompt", "seed", "sampler", "grid", "steps", "guidance_scale")
    names += ("guidance_rescale", "guidance_interval", "duration_s", "fade_s")
    values = {name: told[name] for name in names}
    reader = EzAudio.from_pretrained(folder, dtype="float32")
    again = reader.generate(values.pop("prompt"), **values)[0]
    np.testing.assert_array_equal(again.clip.samples, sound.clip.samples)


def test_rows_run_together_only_when_length_and_settings_agree():
    requests = [
        Request("a", options(seed=0)),
        Request("b", options(seed=0, steps=3)),
        Request("c", options(seed=5, negative_prompt="music")),
        Request("d", options(seed=0, duration_s=0.31, num=2)),
        Request("e", options(seed=0, duration_s=0.3001)),
    ]
    batches = batches_of(takes_of(requests, 24_000), 480, batch_size=8)
    assert ["".join(take.prompt for take in batch) for batch in batches] == ["ac", "b", "dde"]


@quick
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([0.1, 0.2, 0.3]), st.integers(1, 3), st.integers(1, 4)),
        min_size=1,
        max_size=8,
    ),
    size=st.integers(1, 5),
)
def test_every_take_is_in_one_batch_of_bounded_size(rows, size):
    requests = [
        Request("x", options(seed=0, duration_s=duration, steps=steps, num=num))
        for duration, steps, num in rows
    ]
    takes = takes_of(requests, 24_000)
    batches = batches_of(takes, 480, size)
    assert sorted(take.index for batch in batches for take in batch) == list(range(len(takes)))
    assert max(map(len, batches)) <= size
    for batch in batches:
        assert len({(-(-t.samples // 480), t.options.steps) for t in batch}) == 1


def test_mixed_rows_give_what_each_gives_alone(model):
    requests = [
        Request("a dog", options(seed=1, duration_s=0.4)),
        Request("rain", options(seed=2, steps=3)),
        Request("a bell", options(seed=3, duration_s=0.4, negative_prompt="hiss")),
    ]
    made = dict(model.generate_each(requests))
    for index, request in enumerate(requests):
        [(_, alone)] = model.generate_each([request])
        np.testing.assert_allclose(made[index].clip.samples, alone.clip.samples, atol=1e-5)


def test_each_distinct_prompt_is_encoded_once(folder):
    parts = load_components(folder, device="cpu")
    encoder = parts.text_encoder.encoder
    EzAudio(parts).generate(["a dog", "rain", "a dog"], num=3, seed=0, batch_size=2)
    assert sorted(encoder.asked) == ["", "a dog", "rain"]


def test_the_steps_are_prepared_once_and_both_branches_share_a_forward_pass(folder, monkeypatch):
    parts = load_components(folder, device="cpu")
    modulations, batches = [], []
    modulate, forward = parts.dit.modulate, parts.dit.forward
    monkeypatch.setattr(
        parts.dit, "modulate", lambda steps: modulations.append(len(steps)) or modulate(steps)
    )
    monkeypatch.setattr(
        parts.dit,
        "forward",
        lambda x, *args, **kw: batches.append(len(x)) or forward(x, *args, **kw),
    )
    EzAudio(parts).generate(["a dog", "rain"], num=2, seed=0, steps=5, batch_size=3)
    assert modulations == [5]
    assert batches == [6] * 5 + [2] * 5


def test_outside_the_guidance_interval_one_branch_runs(folder, monkeypatch):
    parts = load_components(folder, device="cpu")
    batches = []
    forward = parts.dit.forward
    monkeypatch.setattr(
        parts.dit,
        "forward",
        lambda x, *args, **kw: batches.append(len(x)) or forward(x, *args, **kw),
    )
    EzAudio(parts).generate("a dog", seed=0, steps=4, guidance_interval=(0, 80))
    assert set(batches) == {1, 2}
    batches.clear()
    EzAudio(parts).generate("a dog", seed=0, steps=4, guidance_scale=1)
    assert batches == [1] * 4


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("grid", TIME_GRIDS)
def test_generating_is_the_direct_composition_of_the_parts(model, sampler, grid):
    """The pipeline adds nothing to text, network, guidance, sampler and decoder."""
    made = model.generate("a dog barking", seed=5, steps=3, duration_s=0.4, sampler=sampler,
                          grid=grid, negative_prompt="music", guidance_rescale=0.5)  # fmt: skip
    parts, schedule = model.parts, zero_snr_schedule()
    encoder = parts.text_encoder.encoder

    def pair(x_t, t):
        branches = (encoder(["a dog barking"]), encoder(["music"]))
        return tuple(
            parts.dit(x_t, torch.tensor([t]), parts.dit.prepare(text)) for text in branches
        )

    velocity = guide(
        pair, lambda x_t, t: pair(x_t, t)[0], scale=3.0, rescale=0.5, schedule=schedule
    )
    with torch.inference_mode():
        noise = SeededNoise([5], 4, 20)()
        nodes = TIME_GRIDS[grid](schedule, 3)
        latent = SAMPLERS[sampler](velocity, noise, schedule=schedule, timesteps=nodes)
        wave = parts.vae.decode(latent)[..., :9600]
    wave = torch.from_numpy(fade_ends(wave[0, 0].numpy(), 120))[None, None]
    wave = wave * min(1.0, CEILING / float(wave.abs().max()))
    torch.testing.assert_close(made.audios, wave, atol=1e-4, rtol=0)


def test_a_loud_sound_is_made_quieter_and_a_quiet_one_stays(folder):
    parts = load_components(folder, device="cpu")
    decode = parts.vae.decode
    quiet = EzAudio(parts).generate("rain", seed=0).audios
    parts.vae.decode = lambda *given: decode(*given) * 1e4
    loud = EzAudio(parts).generate("rain", seed=0).audios
    assert float(quiet.abs().max()) < CEILING
    assert float(loud.abs().max()) == pytest.approx(CEILING, abs=1e-6)
    torch.testing.assert_close(
        loud / loud.abs().max(), quiet / quiet.abs().max(), atol=1e-5, rtol=0
    )


def test_the_callback_hears_every_step_and_can_listen(model):
    heard = []

    def callback(progress):
        preview = progress.preview() if progress.step == 2 else None
        heard.append((progress.step, progress.total, None if preview is None else preview.shape))

    model.generate(["a dog", "rain"], seed=0, batch_size=1, duration_s=0.5, callback=callback)
    assert [(step, total) for step, total, _ in heard] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert heard[1][2] == (1, 1, 12_000)


@pytest.mark.parametrize("how", ["returns False", "raises"])
def test_the_callback_can_stop_the_work(model, how):
    calls = []

    def callback(progress):
        calls.append(progress.step)
        if how == "raises":
            raise Cancelled()
        return False

    with pytest.raises(Cancelled):
        model.generate("a dog", steps=9, callback=callback)
    assert calls == [1]


@pytest.mark.parametrize(
    ("prompts", "values", "field"),
    [
        (None, {}, "prompts"),
        (5, {}, "prompts"),
        ({"rain"}, {}, "prompts"),
        ([None], {}, "prompt"),
        ("x" * 10_000, {}, "prompt"),
        ("\ud800", {}, "prompt"),
        ([], {}, "prompts"),
        (["a", 3], {}, "prompt"),
        ("a", {"duration_s": float("nan")}, "duration_s"),
        ("a", {"duration_s": -1}, "duration_s"),
        ("a", {"duration_s": 0}, "duration_s"),
        ("a", {"duration_s": 4.1}, "duration_s"),
        ("a", {"steps": 0}, "steps"),
        ("a", {"steps": 10**6}, "steps"),
        ("a", {"sampler": "dimm"}, "sampler"),
        ("a", {"seed": -1}, "seed"),
        ("a", {"seed": 2**32 - 1, "num": 2}, "num"),
        ("a", {"num": 0}, "num"),
        ("a", {"batch_size": 0}, "batch_size"),
        ("a", {"eta": 1, "sampler": "heun"}, "eta"),
        ("a", {"guidance_interval": (50, 20)}, "guidance_interval"),
        ("a", {"negative_prompt": "x" * 10_000}, "negative_prompt"),
        ("a", {"duration": 3}, "duration"),
        ("a", {"fade_s": -1}, "fade_s"),
        ("a", {"loudness": 3}, "loudness"),
        ("a", {"loudness": float("nan")}, "loudness"),
    ],
)
def test_bad_input_names_the_field_before_the_network_runs(model, prompts, values, field):
    with pytest.raises(InputError) as error:
        model.generate(prompts, callback=lambda progress: pytest.fail("it ran"), **values)
    assert error.value.field == field
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_events_in_order_are_read_in_their_parts_and_written_into_the_file(model):
    whole, split = (
        model.generate("a dog, then rain", seed=3, order=order)[0] for order in ("whole", "split")
    )
    assert not np.array_equal(whole.clip.samples, split.clip.samples)
    assert split.metadata["events"] == ["a dog", "rain"] and split.metadata["order"] == "split"
    assert "events" not in whole.metadata
    other_words = model.generate("rain after a dog", seed=3, order="split")[0]
    np.testing.assert_allclose(other_words.clip.samples, split.clip.samples, atol=1e-5)
    other_order = model.generate("rain, then a dog", seed=3, order="split")[0]
    assert not np.allclose(other_order.clip.samples, split.clip.samples, atol=1e-3)


def test_a_prompt_without_an_order_is_the_same_either_way_and_in_any_company(model):
    whole = model.generate("a dog barking", seed=3, order="whole")
    split = model.generate(["a dog barking", "wind, then rain"], seed=3, order="split")
    torch.testing.assert_close(whole.audios[0], split.audios[0], atol=1e-5, rtol=0)


def test_an_unknown_order_is_refused(model):
    with pytest.raises(InputError, match="split, whole"):
        model.generate("a dog", order="spilt")


def test_the_empty_prompt_gives_what_the_unconditional_branch_gives(model):
    for prompt in ("", "  \n"):
        free = model.generate(prompt, seed=3)
        plain = model.generate("", seed=3, guidance_scale=1)
        torch.testing.assert_close(free.audios, plain.audios, atol=1e-4, rtol=0)
    steered = model.generate("", seed=3, negative_prompt="music")
    assert float((steered.audios - free.audios).abs().max()) > 1e-4


def test_a_sound_begins_and_ends_in_zero_by_default(model):
    faded = model.generate("rain", seed=3)[0].clip.samples
    hard = model.generate("rain", seed=3, fade_s=0)[0].clip.samples
    assert faded[0] == faded[-1] == 0
    assert abs(hard[0]) + abs(hard[-1]) > 0
    np.testing.assert_array_equal(faded[120:-120], hard[120:-120])
    long = model.generate("rain", seed=3, fade_s=10)[0].clip.samples  # at most half each
    assert np.abs(long[:600]).max() < 0.05 * np.abs(hard[:600]).max()


@pytest.mark.parametrize("wanted", [-40.0, -30.0])
def test_sounds_are_brought_to_the_loudness_that_is_asked_for(model, wanted):
    sounds = model.generate(["rain", "a dog"], seed=3, loudness=wanted)
    for sound in sounds:
        assert loudness_lufs(sound.clip.samples, 24_000) == pytest.approx(wanted, abs=0.1)
        assert sound.metadata["loudness"] == wanted
        assert sound.metadata["loudness_lufs"] == pytest.approx(wanted, abs=0.1)


def test_the_true_peak_bounds_the_loudness(model):
    sound = model.generate("rain", seed=3, loudness=0)[0]
    assert true_peak(sound.clip.samples, 24_000) == pytest.approx(10 ** (-1 / 20), rel=1e-3)
    assert sound.metadata["loudness_lufs"] < 0
