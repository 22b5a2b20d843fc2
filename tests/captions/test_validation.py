from __future__ import annotations

import pytest

from ezaudio.captions.record import is_profane, language_of
from ezaudio.captions.validation import Rules, check

GOOD = [
    ("A dog barks twice, then a door slams.", "A dog barks twice, then a door slams."),
    ('"A dog barks near a road."', "A dog barks near a road."),
    ("Caption: a dog barks near a road", "A dog barks near a road."),
    ("**Caption:** a dog barks near a road", "A dog barks near a road."),
    ("  A dog\n barks.  ", "A dog barks."),
    ("A man speaks over Dr. Smith's engine.", "A man speaks over Dr. Smith's engine."),
    ("People talk, e.g. children, in a hall.", "People talk, e.g. children, in a hall."),
    ("A crowd's cheers rise as the band's drums roll.",) * 2,
    ("Wind blows while a man speaks in the background.",) * 2,
    ("A woman discusses with a child near a fountain.",) * 2,
    ("A dog’s bark echoes after a car’s horn.",) * 2,
]
BAD = [
    ("", "empty answer"),
    (None, "empty answer"),
    ("   \n", "empty answer"),
    ("I'm sorry, I can't help with that.", "refusal"),
    ("As an AI language model I cannot hear.", "refusal"),
    ("I am unable to listen to audio files", "refusal"),
    ("Here is the caption: a dog barks near", "preamble"),
    ("Sure, a dog barks near a road", "preamble"),
    ("The audio features a dog barking.", "speaks about the recording"),
    ("A dog barks in this recording of a road.", "speaks about the recording"),
    ("The clip contains a dog that barks.", "speaks about the recording"),
    ("A dog barks. A door slams.", "several sentences"),
    ("A dog barks\nA door slams", "several sentences"),
    ("A man says 'get out of here' loudly.", "speech content"),
    ("A man says “get out” loudly to a dog.", "speech content"),
    ("A woman says that the train is late.", "speech content"),
    ("A man talks about the weather.", "speech content"),
    ("A man discusses politics while it rains.", "speech content"),
    ("A woman explaining how an engine works.", "speech content"),
    ("Rain.", "too short"),
    ("rain " * 60, "too long"),
    ("<b>A dog</b> barks at a cat", "markup"),
    ("A dog barks, see https://dogs.example now", "markup"),
    ('{"caption": "a dog barks at a cat"}', "markup"),
    ("A dog \u200bbarks at a cat", "control characters"),
    ("A dog \u202ebarks at a cat", "control characters"),
    ("A dog barks for 3.5 seconds at a cat", "times"),
    ("Un chien aboie dans la rue avec des voitures", "language"),
    ("犬が吠えている音がします 車が通ります", "language"),
]


@pytest.mark.parametrize(("answer", "caption"), GOOD)
def test_a_plain_sentence_passes_and_is_tidied(answer: str, caption: str) -> None:
    assert check(answer, Rules()) == (caption, "")


@pytest.mark.parametrize(("answer", "reason"), BAD)
def test_anything_else_is_refused_with_its_reason(answer: str | None, reason: str) -> None:
    assert check(answer, Rules())[1] == reason


def test_the_rules_can_be_changed() -> None:
    assert check("Ein Hund bellt und eine Tür schlägt zu", Rules(language="any"))[1] == ""
    assert check("A man says that it rains.", Rules(speech_content=True))[1] == ""
    assert check("Rain.", Rules(fewest_words=1))[1] == ""


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A dog barks in the distance.", "en"),
        ("Ein Hund bellt in der Ferne und ein Auto fährt.", "other"),
        ("Un perro ladra en la calle", "other"),
        ("Собака лает на улице", "other"),
        ("Café music plays in the background.", "en"),
        ("Rain.", "unknown"),
        ("123 456", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_language_is_guessed(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize("text", ["What the FUCK is that", "a $hitty engine", "sh1t happens"])
def test_a_profane_word_is_seen_also_in_disguise(text: str) -> None:
    assert is_profane(text)


@pytest.mark.parametrize(
    "text",
    [
        "A cock crows in Scunthorpe.",
        "An ass brays, 4 times.",
        "A tit chirps.",
        "Glasses chink.",
        "Hello 5555",
    ],
)
def test_an_innocent_word_is_not(text: str) -> None:
    assert not is_profane(text)
