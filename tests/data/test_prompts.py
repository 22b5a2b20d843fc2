"""Wordings made from labels."""

from ezaudio.data.manifest import ClipRow
from ezaudio.data.prompts import held_out_prompts, training_prompts

ROW = ClipRow(file="a", split="train", label="dog barking", caption="A dog barking.", duration=1)


def test_the_plain_sentence_and_the_label_are_among_the_wordings():
    prompts = training_prompts(ROW)
    assert {"a dog barking", "A dog barking.", "dog barking", "barking dog"} <= set(prompts)


def test_held_out_wordings_are_never_trained_on():
    assert not set(held_out_prompts(ROW)) & set(training_prompts(ROW))


def test_a_label_of_one_word_has_no_inversion():
    row = ROW.model_copy(update={"label": "helicopter", "caption": "A helicopter flying."})
    assert "a helicopter flying" in training_prompts(row)
    assert not any(p.startswith("None") for p in training_prompts(row))


def test_an_acronym_keeps_its_capitals():
    row = ROW.model_copy(update={"caption": "AM radio static."})
    assert "AM radio static" in training_prompts(row)
