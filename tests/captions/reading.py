"""Reads a rule-written sentence back: which sounds, in which order, which of them overlap.

It knows the words that order and join, and nothing of how the sentence was made: the sounds are
found by looking up what stands between those words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from ezaudio.captions.rules.phrases import phrases_of

FIRST_THEN = [
    ", and after that", ", after which", ", followed by", " followed by", ", then finally",
    ", and finally", ", and lastly", ", and then", " and then", ", then", " preceding", " before",
]  # fmt: skip
OVERLAPPING = [
    ", and before that ends,", ", and while this goes on,", ", and at the same time",
    ", and meanwhile", ", soon joined by", ", joined by", ", overlapped by", ", overlaid by",
    ", during which",
]  # fmt: skip
SIMULTANEOUS = [
    " at the same time as", " together with", " along with", " alongside", " while", " as",
]  # fmt: skip
OPENINGS = ("first ", "at first ", "to begin with, ")
TIMES = {"twice": 2, "two times": 2, "three times": 3, "four times": 4, "five times": 5}
TAIL = re.compile(
    r"(?: heard)?(?P<again> again| once more)?"
    r"(?P<times> (?:twice|two times|three times|four times|five times|repeatedly|many times"
    r"|several times|intermittently|from time to time))?$"
)


@dataclass(frozen=True)
class Read:
    """One sound of a sentence. `rank` orders onsets; sounds with one rank begin together."""

    label: str
    rank: int
    again: bool
    times: int | None  # None for an uncounted repetition
    overlaps: bool  # with what was said before it
    background: bool = False


@cache
def lookup(labels: tuple[str, ...]) -> dict[str, str]:
    return {
        text: label
        for label in labels
        for phrase in phrases_of(label)
        for text in (phrase.nominal, phrase.clause)
    }


def read_sentence(sentence: str, labels: list[str]) -> list[Read]:
    """Take a sentence apart.

    Raises:
        ValueError: something between the joining words is no sound of the table.
    """
    names = lookup(tuple(labels))
    assert sentence.endswith(".")
    text = sentence[:1].lower() + sentence[1:-1]
    under, chain = _background(text)
    found = _chain(_straight(chain), names)
    if under is None:
        return found
    label, again, times = _sound(under, names)
    return [Read(label, -1, again, times, overlaps=False, background=True), *found]


def _straight(chain: str) -> str:
    """Turn the sentences that only two sounds allow into chains."""
    if turned := re.match(r"^after (.+?), (.+)$", chain):
        return f"{turned[1]}, then {turned[2]}"
    if turned := re.match(r"^as (.+?), (.+)$", chain):
        return f"{turned[1]}, and meanwhile {turned[2]}"
    if inside := re.match(r"^(.+?) with (.+) (?:in the middle of it|on top of it)$", chain):
        return f"{inside[1]}, joined by {inside[2]}"
    if turned := re.match(r"^((?:(?!, and).)+) after (?!that\b|which\b)(.+)$", chain):
        return f"{turned[2]}, then {turned[1]}"
    return chain


def _background(text: str) -> tuple[str | None, str]:
    for pattern in (
        r"^(?P<chain>.+), with (?P<under>.+) in the background$",
        r"^(?P<chain>.+), all with (?P<under>.+) throughout$",
        r"^with (?P<under>.+?) in the background, (?P<chain>.+)$",
        r"^over (?P<under>.+?), (?P<chain>.+)$",
        r"^against the sound of (?P<under>.+?), (?P<chain>.+)$",
        r"^(?P<under>.+?) throughout, while (?P<chain>.+)$",
        r"^(?P<chain>.+), and all the while (?P<under>.+)$",
        r"^while (?P<under>.+?), (?P<chain>.+)$",
    ):
        if found := re.match(pattern, text):
            return found["under"], found["chain"]
    return None, text


def _chain(text: str, names: dict[str, str]) -> list[Read]:
    for opening in OPENINGS:
        text = text.removeprefix(opening)
    links = sorted([*FIRST_THEN, *OVERLAPPING], key=len, reverse=True)
    parts = re.split("(" + "|".join(re.escape(link) for link in links) + ") ", text)
    found: list[Read] = []
    for rank, index in enumerate(range(0, len(parts), 2)):
        overlaps = index > 0 and parts[index - 1] in OVERLAPPING
        for part in _together(parts[index]):
            label, again, times = _sound(part, names)
            found.append(Read(label, rank, again, times, overlaps))
    return found


def _together(text: str) -> list[str]:
    if text.startswith("both "):
        first, rest = text.removeprefix("both ").split(" and ", 1)
        return [first, *_together(rest)]
    links = "|".join(re.escape(link) for link in SIMULTANEOUS)
    return re.split(f"(?:{links}) ", text)


def _sound(text: str, names: dict[str, str]) -> tuple[str, bool, int | None]:
    if text in names:
        return names[text], False, 1
    tail = TAIL.search(text)
    assert tail is not None
    plain = text[: tail.start()]
    for candidate in (plain, f"{plain} heard"):
        if candidate in names:
            said = (tail["times"] or "").strip()
            return names[candidate], bool(tail["again"]), TIMES.get(said) if said else 1
    raise ValueError(f"no sound: {text!r}")
