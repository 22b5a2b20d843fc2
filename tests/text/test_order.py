import pytest

from ezaudio.data.prompts import HELD_OUT, TEMPLATES
from ezaudio.text.order import events_in_order

A, B = "a dog barking", "rain on a tin roof"


@pytest.mark.parametrize("template", [*TEMPLATES["sequence"], *HELD_OUT["sequence"]])
def test_every_wording_of_an_order_gives_the_events_first_to_last(template):
    words = {"a": A, "A": A.capitalize(), "b": B, "label": A, "label_b": B}
    events = events_in_order(template.format(**words))
    assert tuple(event.lower() for event in events) == (A, B)


@pytest.mark.parametrize(
    ("prompt", "events"),
    [
        ("thunder, then rain, then birds singing", ("thunder", "rain", "birds singing")),
        ("First thunder, then rain, and finally birds.", ("thunder", "rain", "birds")),
        ("a door opens; after that footsteps", ("a door opens", "footsteps")),
        ("a glass  breaking AFTER a car crash", ("a car crash", "a glass breaking")),
        ("Start with wind and end with thunder", ("wind", "thunder")),
    ],
)
def test_events_come_in_the_order_in_which_they_are_heard(prompt, events):
    assert events_in_order(prompt) == events


@pytest.mark.parametrize(
    "prompt",
    [
        "a dog barking",
        "rain and thunder",
        "a bell while birds sing",
        "an engine starts, then it stops",
        "one bell after another",
        "day after day",
        "then",
        "footsteps, then",
        "wind then 3",
        "the afterglow of a bell",
        "a then b then c then d then e then f then g",
        "",
    ],
)
def test_what_names_no_order_that_is_understood_stays_whole(prompt):
    assert events_in_order(prompt) == (prompt,)
