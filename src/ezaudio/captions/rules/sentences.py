"""Timeline -> one English sentence, in one of many wordings.

Which wording is taken follows from the clip's name, so that a run that is started again writes the
same sentence, and two clips with the same events do not. Words that order events (`then`, `followed
by`, `before`, `after`) stand only where one begins after the other; `while`, `as`, `joined by` and
the like only where they overlap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from ezaudio.captions.rules.phrases import Phrase, phrases_of
from ezaudio.captions.rules.timeline import Mention, Step, Timeline

T = TypeVar("T")

_TIMES = {2: ("twice", "two times"), 3: ("three times",), 4: ("four times",), 5: ("five times",)}
_OFTEN = ("repeatedly", "many times", "several times")
_SCATTERED = ("intermittently", "from time to time")
_AGAIN = ("again", "once more")

THEN = (", then", " and then", ", followed by", " followed by", ", and after that")
THEN_CLAUSES = (", then", " and then", ", after which", ", and after that")
LAST = (", and finally", ", then finally", ", and lastly")
JOINED = (", joined by", ", overlapped by", ", soon joined by", ", overlaid by")
JOINED_CLAUSES = (
    ", and meanwhile",
    ", during which",
    ", and before that ends,",
    ", and at the same time",
)
TOGETHER = ("{a} together with {b}", "{a} along with {b}", "{a} alongside {b}", "both {a} and {b}")
TOGETHER_CLAUSES = ("{a} while {b}", "{a} as {b}", "{a} at the same time as {b}")
UNDER = (
    "{chain}, with {noun} in the background",
    "{chain}, all with {noun} throughout",
    "with {noun} in the background, {chain}",
    "over {noun}, {chain}",
    "against the sound of {noun}, {chain}",
)
UNDER_CLAUSES = (
    "{clause} throughout, while {chain}",
    "{chain}, and all the while {clause}",
    "while {clause}, {chain}",
)
OPENINGS = ("", "", "", "first ", "at first ", "to begin with, ")


class Picker:
    """A row of choices that follows from a text alone."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = 0

    def pick(self, options: Sequence[T]) -> T:
        """Choose one."""
        self._count += 1
        found = hashlib.sha256(f"{self._seed}\n{self._count}".encode("utf-8", "replace")).digest()
        return options[int.from_bytes(found[:6], "big") % len(options)]


def sentence_of(timeline: Timeline, seed: str) -> str:
    """Say a timeline.

    Args:
        timeline: at least one mention.
        seed: chooses the wording; the clip's name.
    """
    picker = Picker(seed)
    clausal = picker.pick((False, True))
    said = [_said_step(step, picker, clausal) for step in timeline.steps]
    chain = _pair(said, timeline.steps, picker, clausal) or _chain(said, timeline, picker, clausal)
    if timeline.background is not None:
        chain = _over(timeline.background, chain, picker, clausal)
    return f"{chain[:1].upper()}{chain[1:]}."


def _said(mention: Mention, picker: Picker, clausal: bool) -> str:
    phrase = _wording(mention, picker, clausal)
    adverbs = [picker.pick(_AGAIN)] if mention.again else []
    if mention.scattered:
        adverbs.append(picker.pick(_SCATTERED))
    elif mention.count > 1:
        adverbs.append(picker.pick(_TIMES.get(mention.count, _OFTEN)))
    return phrase.said(clausal=clausal, adverb=" ".join(adverbs))


def _wording(mention: Mention, picker: Picker, clausal: bool) -> Phrase:
    """Choose a wording; a clause wants one with a verb of its own."""
    wordings = phrases_of(mention.label)
    verbal = [phrase for phrase in wordings if phrase.verbal]
    return picker.pick(verbal if clausal and verbal else wordings)


def _said_step(step: Step, picker: Picker, clausal: bool) -> str:
    first, *others = (_said(mention, picker, clausal) for mention in step.mentions)
    for index, other in enumerate(others):
        if clausal:
            pattern = picker.pick(TOGETHER_CLAUSES if index == 0 else ("{a} as {b}",))
        else:
            pattern = picker.pick(TOGETHER if index == 0 else TOGETHER[:3])
        first = pattern.format(a=first, b=other)
    return first


def _pair(said: Sequence[str], steps: Sequence[Step], picker: Picker, clausal: bool) -> str | None:
    """Say two single events in a way that only two allow; None to say them as a chain."""
    if len(steps) != 2 or any(len(step.mentions) > 1 for step in steps):
        return None
    a, b = said
    patterns: tuple[str, ...]
    if steps[1].overlaps:
        patterns = (
            (f"{a}, and while this goes on, {b}", f"as {a}, {b}", f"{a} while {b}", "")
            if clausal
            else (f"{a} with {b} in the middle of it", f"{a} with {b} on top of it", "", "")
        )
    else:
        patterns = (
            (f"{a} before {b}", f"{b} after {a}", f"after {a}, {b}", f"{a}, and then {b}", "", "")
            if clausal
            else (f"{a} before {b}", f"{b} after {a}", f"{a} preceding {b}", "", "", "")
        )
    return picker.pick(patterns) or None


def _chain(said: Sequence[str], timeline: Timeline, picker: Picker, clausal: bool) -> str:
    steps = timeline.steps
    ordered = len(steps) > 1
    text = (picker.pick(OPENINGS) if ordered and not timeline.background else "") + said[0]
    link = ""
    for index in range(1, len(steps)):
        if steps[index].overlaps:
            links: Sequence[str] = JOINED_CLAUSES if clausal else JOINED
        elif index == len(steps) - 1 and len(steps) > 2:
            links = LAST
        else:
            links = THEN_CLAUSES if clausal else THEN
        link = picker.pick([other for other in links if other != link])
        text = f"{text}{link} {said[index]}"
    return text


def _over(under: Mention, chain: str, picker: Picker, clausal: bool) -> str:
    pattern = picker.pick(UNDER_CLAUSES if clausal else UNDER)
    phrase = _wording(under, picker, clausal)
    adverb = picker.pick(_SCATTERED) if under.scattered else ""
    noun = phrase.said(clausal=False, adverb=adverb)
    clause = phrase.said(clausal=True, adverb=adverb)
    return pattern.format(chain=chain, noun=noun, clause=clause)
