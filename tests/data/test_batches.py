"""Batches by step number: the same on any number of ranks, after any restart, with broken clips."""

from collections import Counter

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.data.fakes import FakeLatents, FakeWaveforms, rows_of

from ezaudio.data.batches import BatchConfig, CropConfig, LatentBatches, WaveformBatches
from ezaudio.data.clips import ClipRow, Event
from ezaudio.errors import AudioFileError, InputError

ROWS = rows_of({"rain": 5, "dog": 3, "bell": 4})
MIX = ClipRow(
    file="mix/0",
    label="rain+dog",
    scene="overlay",
    events=(Event(label="rain", caption="A rain."), Event(label="dog", caption="A dog.")),
)
FIXED = BatchConfig(rows=4, duration_s=(0.6, 0.6))
MIXED = BatchConfig(
    rows=8,
    duration_s=(2.0, 4.0),
    once_share=0.2,
    repeat_share=0.2,
    sequence_share=0.3,
    mixed_share=0.1,
)


def same(a, b):
    return torch.equal(a.x0, b.x0) and torch.equal(a.weight, b.weight) and a[1::2] == b[1::2]


def test_a_batch_has_one_length_and_weights_and_prompts_for_each_row():
    batch = LatentBatches(FakeLatents(ROWS), FIXED, seed=0).batch(3)
    assert batch.x0.shape == (4, 2, 30) and batch.x0.dtype == torch.float32
    assert batch.weight.shape == (4, 1, 30) and batch.weight.dtype == torch.float32
    assert len(batch.prompts) == len(batch.ids) == 4


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_together_have_the_rows_of_one_process_in_order(world):
    store = FakeLatents([*ROWS, MIX], 300)
    whole = LatentBatches(store, MIXED, seed=1)
    ranks = [LatentBatches(store, MIXED, seed=1, rank=r, world=world) for r in range(world)]
    for index in (0, 7, 1023, 1024):
        one, parts = whole.batch(index), [rank.batch(index) for rank in ranks]
        assert torch.equal(one.x0, torch.cat([part.x0 for part in parts]))
        assert one.ids == sum((part.ids for part in parts), ())
        assert one.prompts == sum((part.prompts for part in parts), ())


def test_a_fresh_process_continues_where_another_was_killed():
    store = FakeLatents([*ROWS, MIX], 300)
    first = LatentBatches(store, MIXED, seed=1)
    for index in range(20):
        first.batch(index)
    assert same(first.batch(20), LatentBatches(store, MIXED, seed=1).batch(20))
    assert same(first.batch(20), first.batch(20))
    assert not torch.equal(first.batch(20).x0, LatentBatches(store, MIXED, seed=2).batch(20).x0)


def test_every_clip_comes_once_before_any_comes_again():
    batches = LatentBatches(FakeLatents(ROWS), FIXED, seed=0)
    for epoch in range(3):
        ids = [i for index in range(3 * epoch, 3 * epoch + 3) for i in batches.batch(index).ids]
        assert sorted(ids) == sorted(row.id for row in ROWS)


def test_sequences_and_mixes_do_not_make_other_clips_repeat():
    batches = LatentBatches(FakeLatents([*ROWS, MIX], 300), MIXED, seed=0)
    parts = Counter()
    for index in range(60):
        for clip in {part for row in batches.batch(index).ids for part in row.split("+")}:
            parts[clip] += clip != "mix/0"
    counts = [parts[row.id] for row in ROWS]
    assert max(counts) - min(counts) <= 6  # a pair puts two draws in two rows of one batch


def test_kinds_have_their_shares_and_sequences_come_in_both_orders():
    batches = LatentBatches(FakeLatents([*ROWS, MIX], 60), MIXED, seed=0)
    made = [batches.batch(index) for index in range(50)]
    ids = [name for batch in made for name in batch.ids]
    assert sum(name == "mix/0" for name in ids) / len(ids) == pytest.approx(0.1, abs=0.01)
    pairs = [name for name in ids if "+" in name]
    assert 0.15 < len(pairs) / len(ids) <= 0.3  # less where both draws have one label
    for batch in made:
        swapped = sorted("+".join(name.split("+")[::-1]) for name in batch.ids if "+" in name)
        assert swapped == sorted(name for name in batch.ids if "+" in name)
    light = [w for batch in made for w in batch.weight.amin((1, 2)).tolist()]
    assert {round(w, 4) for w in light} == {1.0, 0.1}


def test_a_sequence_has_its_sounds_in_order_with_a_gap_between():
    config = BatchConfig(rows=4, duration_s=(4, 4), sequence_share=1.0)
    batch = LatentBatches(FakeLatents(ROWS, 300), config, seed=0).batch(0)
    number = {row.id: i + 1 for i, row in enumerate(ROWS)}
    for latent, name in zip(batch.x0, batch.ids, strict=True):
        values = [int(v) for v in latent[0].unique_consecutive() if v]
        assert values == [number[part] for part in name.split("+")]
        first = int((latent[0] == values[0]).sum())
        assert 0.25 * 200 <= first <= 0.71 * 200
        assert int((latent[0] == 0).sum()) <= 0.3 * 50


def test_the_prompt_of_a_sequence_names_both_sounds():
    config = BatchConfig(rows=8, duration_s=(4, 4), sequence_share=1.0)
    batches = LatentBatches(FakeLatents(ROWS, 300), config, seed=0)
    for index in range(5):
        batch = batches.batch(index)
        for prompt, name in zip(batch.prompts, batch.ids, strict=True):
            assert all(part.rstrip("0123456789") in prompt.lower() for part in name.split("+"))


def test_short_takes_are_chained_with_other_takes_of_their_label_and_short_gaps():
    config = BatchConfig(rows=12, duration_s=(4, 4))
    batch = LatentBatches(FakeLatents(ROWS, 20), config, seed=0).batch(0)
    label = [row.label for row in ROWS]
    for latent, name in zip(batch.x0, batch.ids, strict=True):
        heard = {label[int(v) - 1] for v in latent[0].unique() if v}
        assert heard == {name.rstrip("0123456789")}
        silent = "".join("." if v == 0 else "x" for v in latent[0].tolist())
        gaps = [len(run) for run in silent.split("x") if run]
        assert gaps and all(2 <= gap <= 25 for gap in gaps[:-1])


def test_a_single_take_is_followed_by_silence_that_counts_little():
    config = BatchConfig(rows=4, duration_s=(3, 3), once_share=1.0, silence_weight=0.25)
    batch = LatentBatches(FakeLatents(ROWS, 40), config, seed=0).batch(0)
    assert torch.equal(batch.weight[0, 0], torch.cat([torch.ones(40), torch.full((110,), 0.25)]))
    assert (batch.x0[:, 0, :40] > 0).all() and (batch.x0[:, 0, 40:] == 0).all()
    assert all("once" in p or "time" in p for p in map(str.lower, batch.prompts))


def test_a_repeated_take_is_the_same_take_as_often_as_the_prompt_says():
    config = BatchConfig(rows=8, duration_s=(6, 6), repeat_share=1.0)
    batches = LatentBatches(FakeLatents(ROWS, 40), config, seed=0)
    words = {"twice": 2, "three times": 3, "four times": 4}
    said = 0
    for index in range(6):
        batch = batches.batch(index)
        for latent, prompt in zip(batch.x0, batch.prompts, strict=True):
            runs = [int(v) for v in latent[0].unique_consecutive() if v]
            assert len(set(runs)) == 1 and 2 <= len(runs) <= 4
            for word, times in words.items():
                if word in prompt:
                    said += 1
                    assert len(runs) == times
    assert said > 3


def test_short_rows_have_one_sound():
    config = MIXED.model_copy(update={"duration_s": (0.5, 1.9)})
    batches = LatentBatches(FakeLatents([*ROWS, MIX], 300), config, seed=0)
    assert not [n for i in range(20) for n in batches.batch(i).ids if "+" in n or n == "mix/0"]


def test_longer_rows_mean_fewer_of_them_and_the_ranks_divide_them():
    config = BatchConfig(seconds=40, rows_multiple=2, duration_s=(1, 8))
    batches = LatentBatches(FakeLatents(ROWS), config, seed=0, world=2)
    shapes = [batches.shape(i) for i in range(200)]
    assert all(rows % 2 == 0 for rows, _ in shapes)
    assert all(abs(rows * frames - 2000) <= frames + 1 for rows, frames in shapes)
    assert min(t for _, t in shapes) < 70 < 300 < max(t for _, t in shapes)


def test_a_clip_that_cannot_be_read_is_replaced_and_reported():
    store = FakeLatents(ROWS, 40, broken={0, 3})
    batches = LatentBatches(store, FIXED, seed=0)
    used = {name for index in range(9) for name in batches.batch(index).ids}
    assert used == {row.id for row in ROWS} - {"rain0", "rain3"}
    assert "rain0.wav: damaged" in batches.unreadable["rain0"]
    assert same(batches.batch(2), LatentBatches(store, FIXED, seed=0).batch(2))
    with pytest.raises(AudioFileError, match="is the store damaged"):
        LatentBatches(FakeLatents(ROWS, 40, broken=range(12)), FIXED, seed=0).batch(0)


def test_validation_prompts_may_be_wordings_that_training_never_uses():
    held_out = FIXED.model_copy(update={"held_out_wordings": True})
    store = FakeLatents(ROWS)
    told, kept = (
        {p for i in range(30) for p in LatentBatches(store, c, seed=0).batch(i).prompts}
        for c in (FIXED, held_out)
    )
    assert not told & kept


def test_ranks_that_do_not_divide_a_batch_and_missing_mixes_are_errors():
    with pytest.raises(InputError, match="3 processes"):
        LatentBatches(FakeLatents(ROWS), FIXED, seed=0, world=3)
    with pytest.raises(InputError, match="no mixes"):
        LatentBatches(FakeLatents(ROWS), BatchConfig(mixed_share=0.1), seed=0)
    with pytest.raises(InputError, match="at least one clip"):
        LatentBatches(FakeLatents(ROWS), FIXED, seed=0, split="valid")


@pytest.mark.parametrize(
    "values",
    [{"duration_s": (2, 1)}, {"duration_s": (0, 1)}, {"once_share": 0.6, "mixed_share": 0.6}],
)
def test_settings_that_contradict_each_other_are_refused(values):
    with pytest.raises(ValidationError):
        BatchConfig(**values)


CROPS = CropConfig(rows=4, crop_s=0.5)


def test_crops_have_one_length_a_gain_and_either_polarity():
    wave = WaveformBatches(FakeWaveforms(ROWS), CROPS, seed=0)
    x = torch.cat([wave.batch(i) for i in range(30)])
    assert x.shape == (120, 1, 500) and x.dtype == torch.float32
    assert x.abs().max() <= 1
    assert 0.35 < (x[:, 0, 0] > 0).float().mean() < 0.65
    levels = np.asarray([float(v.abs().max()) for v in x])
    clips = [name for i in range(30) for name in wave.ids(i)]
    plain = np.asarray([{r.id: (k + 1) / 100 for k, r in enumerate(ROWS)}[c] for c in clips])
    gain = 20 * np.log10(levels / plain)
    assert -12.1 < gain.min() < -9 and 4 < gain.max() < 6.1


def test_crops_are_the_same_on_two_ranks_and_after_a_restart():
    store = FakeWaveforms(ROWS)
    whole = WaveformBatches(store, CROPS, seed=5).batch(9)
    ranks = [WaveformBatches(store, CROPS, seed=5, rank=r, world=2).batch(9) for r in (0, 1)]
    assert torch.equal(whole, torch.cat(ranks))


def test_short_clips_are_padded_and_mixed_crops_stay_within_range():
    config = CropConfig(rows=4, crop_s=0.5, mix_share=1.0, gain_db=(30, 30))
    x = WaveformBatches(FakeWaveforms(ROWS, 200), config, seed=0).batch(0)
    assert x.shape == (4, 1, 500) and x.abs().max() <= 1
    assert (x == 0).any(-1).all()
    assert any(len(row.unique()) > 3 for row in x)


def test_a_waveform_that_cannot_be_read_is_replaced_and_reported():
    wave = WaveformBatches(FakeWaveforms(ROWS, broken={0}), CROPS, seed=0)
    assert all(torch.isfinite(wave.batch(i)).all() for i in range(6))
    assert list(wave.unreadable) == ["rain0"]
    with pytest.raises(AudioFileError, match="is the store damaged"):
        WaveformBatches(FakeWaveforms(ROWS, broken=range(12)), CROPS, seed=0).batch(0)
    with pytest.raises(InputError, match="3 processes"):
        WaveformBatches(FakeWaveforms(ROWS), CROPS, seed=0, world=3)
