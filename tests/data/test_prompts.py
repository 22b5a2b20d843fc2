"""Wordings made from labels, of one sound and of several."""

import pytest
import torch

from ezaudio.data.clips import ClipRow, Event
from ezaudio.data.prompts import (
    HELD_OUT,
    PAIRS,
    SCENES,
    TEMPLATES,
    fill,
    held_out_prompts,
    training_prompts,
    wording,
)

ROW = ClipRow(file="a", split="train", label="dog barking", caption="A dog barking.", duration=1)
RAIN = ClipRow(file="b", label="rain falling", caption="Rain falling.")


def test_the_plain_sentence_and_the_label_are_among_the_wordings():
    prompts = training_prompts(ROW)
    assert {"a dog barking", "A dog barking.", "dog barking", "barking dog"} <= set(prompts)


def test_a_label_of_one_word_has_no_inversion():
    row = ROW.model_copy(update={"label": "helicopter", "caption": "A helicopter flying."})
    assert "a helicopter flying" in training_prompts(row)
    assert not any(p.startswith("None") for p in training_prompts(row))


def test_an_acronym_keeps_its_capitals():
    row = ROW.model_copy(update={"caption": "AM radio static."})
    assert "AM radio static" in training_prompts(row)


def test_a_clip_with_captions_alone_has_these_alone():
    row = ClipRow(file="a", caption="A man speaks as rain falls", captions=("Rain and a man",))
    assert training_prompts(row) == ["A man speaks as rain falls", "Rain and a man"]


def test_further_captions_join_the_wordings_of_a_label():
    row = ROW.model_copy(update={"captions": ("Something barks.",)})
    assert "Something barks." in training_prompts(row) and "a dog barking" in training_prompts(row)


def test_every_scene_has_wordings_for_training_and_others_for_measuring():
    assert set(TEMPLATES) == set(HELD_OUT) == set(SCENES)
    for scene in SCENES:
        trained = {fill(text, [ROW, RAIN]).lower() for text in TEMPLATES[scene]}
        kept = {fill(text, [ROW, RAIN]).lower() for text in HELD_OUT[scene]}
        assert kept and not trained & kept


@pytest.mark.parametrize("scene", PAIRS)
def test_wordings_of_two_sounds_name_both_and_keep_who_is_first(scene):
    for texts in (TEMPLATES, HELD_OUT):
        for text in texts[scene]:
            told, swapped = fill(text, [ROW, RAIN]), fill(text, [RAIN, ROW])
            assert "dog barking" in told.lower() and "rain falling" in told.lower()
            assert told != swapped


def test_a_mixed_clip_is_worded_as_its_scene():
    events = tuple(Event(label=r.label, caption=r.caption) for r in (ROW, RAIN))
    mix = ClipRow(file="mix/0", label="x + y", scene="background", events=events)
    assert "a dog barking with rain falling in the background" in training_prompts(mix)
    assert "a dog barking up close, rain falling further back" in held_out_prompts(mix)


def test_random_wordings_follow_scene_count_and_side():
    generator = torch.Generator().manual_seed(0)
    told = {wording("repeat", [ROW], generator=generator, times=3) for _ in range(60)}
    assert "a dog barking three times" in told and not any("twice" in text for text in told)
    kept = {wording("sequence", [ROW, RAIN], generator=generator, held_out=True) for _ in range(40)}
    assert kept == {fill(text, [ROW, RAIN]) for text in HELD_OUT["sequence"]}
