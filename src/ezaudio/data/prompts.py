"""Prompts for clips: the publisher's captions, and many wordings of a label and of what was made
from several clips.

A label such as "dog barking" and its sentence "A dog barking." are put into many wordings, so that
a model learns the kind of sound and not one string. Scenes of several sounds say how they lie: one
after the other, at the same time, one behind the other, again and again. The wordings in `HELD_OUT`
are never used in training: they measure paraphrases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch

from ezaudio.data.clips import ClipRow

SCENES = ("single", "once", "repeat", "far", "sequence", "overlay", "background")
"""How the sounds of a row lie: one sound (as it comes, once, several times, far away); `sequence`:
the first, then the second; `overlay`: both at once; `background`: the second far behind the first.
"""
PAIRS = ("sequence", "overlay", "background")
"""Scenes of two sounds; a clip that is one has the two as its `events`."""

TEMPLATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "single": (  # the plain ones appear twice because users type them most
            "{a}",
            "{a}",
            "{A}.",
            "{label}",
            "the sound of {a}",
            "sound effect of {a}",
            "a recording of {a}",
            "{label} sound effect",
            "audio of {label}",
            "you can hear {a}",
            "{A}, close by",
        ),
        "once": ("{a}, once", "{a} once", "{a}, a single time", "one time {a}", "{A}. Only once."),
        "repeat": (
            "{a} {times}",
            "{A}, {times}.",
            "{a}, repeated",
            "{a} again and again",
            "repeated {label}",
            "{a} over and over",
        ),
        "far": (
            "{a} in the distance",
            "{a} far away",
            "distant {label}",
            "{A}, far off.",
            "{label} in the background",
        ),
        "sequence": (
            "{a} then {b}",
            "{a}, then {b}",
            "{a} and then {b}",
            "{a} followed by {b}",
            "{A}, followed by {b}.",
            "first {a}, then {b}",
            "{b} after {a}",
            "after {a}, {b}",
            "{a} before {b}",
            "before {b}, {a}",
            "{A}. Then {b}.",
            "{label}, then {label_b}",
        ),
        "overlay": (
            "{a} and {b}",
            "{A} and {b}.",
            "{a} while {b}",
            "{a} with {b}",
            "{a} together with {b}",
            "{a} and {b} at the same time",
            "both {a} and {b}",
            "{a} as {b} goes on",
            "{a} mixed with {b}",
            "{label} and {label_b}",
        ),
        "background": (
            "{a} with {b} in the background",
            "{A}, with {b} in the background.",
            "{a}, {b} in the distance",
            "{a} nearby and {b} far away",
            "{a} over distant {label_b}",
            "in front {a}, behind it {b}",
            "{b} in the background and {a} close by",
        ),
    }
)
"""Wordings used in training, by scene."""

HELD_OUT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "single": (
            "please make {a}",
            "what {a} sounds like",
            "field recording, {label}",
            "I want to hear {a}",
        ),
        "once": ("{a}, just one time", "no more than one {label}"),
        "repeat": ("{a} in quick succession", "{a}, time after time"),
        "far": ("{a} from afar", "{a}, a long way off"),
        "sequence": (
            "{a}, and afterwards {b}",
            "{b}, preceded by {a}",
            "start with {a} and end with {b}",
            "{a} giving way to {b}",
        ),
        "overlay": ("{a} alongside {b}", "{a} accompanied by {b}", "{a} plus {b}"),
        "background": ("{a} up close, {b} further back", "{a}, and faintly {b}"),
    }
)
"""Wordings kept for measuring, by scene."""

_TIMES = {2: "twice", 3: "three times", 4: "four times", 5: "five times"}


def fill(template: str, rows: Sequence[ClipRow], times: int = 2) -> str:
    """One wording for the sounds of one or two clips.

    Args:
        template: With the fields `a`, `A` (as a sentence begins), `label`, `b`, `label_b`, `times`.
        rows: What is heard, in order.
        times: How often, for `repeat`.
    """
    first, second = rows[0], rows[-1]
    return template.format(
        a=_inside(first),
        A=_sentence(first),
        label=first.label or _inside(first),
        b=_inside(second),
        label_b=second.label or _inside(second),
        times=_TIMES.get(times, "many times"),
    )


def training_prompts(row: ClipRow) -> list[str]:
    """Every wording that training may use for a clip; at least one, duplicates are weights.

    A clip that is itself a scene of several sounds (its `events`) is worded as one. A clip without
    a label has its captions only.
    """
    captions = list(row.captions)
    if row.scene in PAIRS:
        return [fill(text, row.event_rows()) for text in TEMPLATES[row.scene]] + captions
    if not row.label:
        return [row.caption, *captions]
    wordings = [fill(template, [row]) for template in TEMPLATES[row.scene]]
    inverted = _inverted(row.label) if row.scene == "single" else None
    return wordings + captions + ([inverted, f"a {inverted}"] if inverted else [])


def held_out_prompts(row: ClipRow) -> list[str]:
    """Wordings that training never uses."""
    rows = row.event_rows() if row.scene in PAIRS else [row]
    return [fill(template, rows) for template in HELD_OUT[row.scene]]


def wording(
    scene: str,
    rows: Sequence[ClipRow],
    *,
    generator: torch.Generator,
    times: int = 2,
    held_out: bool = False,
) -> str:
    """A random wording for what is heard.

    Args:
        scene: One of `SCENES`; "single" speaks for the clip itself, captions and mixes included.
        rows: What is heard, in order.
        generator: Of the choice.
        times: How often, for `repeat`.
        held_out: Take a wording that training never uses.
    """
    if scene == "single":
        choices = held_out_prompts(rows[0]) if held_out else training_prompts(rows[0])
    else:
        templates = (HELD_OUT if held_out else TEMPLATES)[scene]
        choices = [fill(template, rows, times) for template in templates]
    return choices[int(torch.randint(len(choices), (), generator=generator))]


def caption_of(row: ClipRow, *, generator: torch.Generator) -> str:
    """One of a clip's captions as it is; the label of a clip without any."""
    choices = [text for text in (row.caption, *row.captions) if text.strip()] or [row.label]
    return choices[int(torch.randint(len(choices), (), generator=generator))]


def _sentence(row: ClipRow) -> str:
    return row.caption.strip().rstrip(".") or row.label


def _inside(row: ClipRow) -> str:
    """The caption as it stands inside a sentence; an acronym keeps its capitals."""
    sentence = _sentence(row)
    if len(sentence) > 1 and sentence[1].isupper():
        return sentence
    return sentence[:1].lower() + sentence[1:]


def _inverted(label: str) -> str | None:
    """Turn "dog barking" into "barking dog"; only for a noun and a participle."""
    words = label.split()
    if len(words) == 2 and words[1].endswith("ing") and not words[0].endswith("ing"):
        return f"{words[1]} {words[0]}"
    return None
