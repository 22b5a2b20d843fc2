"""Prompts for clips whose publisher gave only a label and one sentence.

A label such as "dog barking" and its sentence "A dog barking." are put into many wordings, so that
a model learns the kind of sound and not one string. `HELD_OUT` wordings are never used in training:
they measure paraphrases.
"""

from __future__ import annotations

from ezaudio.data.manifest import ClipRow

TEMPLATES = (
    "{caption}",
    "{caption}",
    "{Caption}.",
    "{label}",
    "the sound of {caption}",
    "a recording of {caption}",
    "{label} sound effect",
    "audio of {label}",
    "you can hear {caption}",
    "{Caption}, close by",
)
"""Wordings used in training; the plain ones appear twice because users type them most."""

HELD_OUT = (
    "please make {caption}",
    "what {caption} sounds like",
    "field recording, {label}",
    "I want to hear {caption}",
)
"""Wordings kept for measuring."""


def _inverted(label: str) -> str | None:
    """Turn "dog barking" into "barking dog"; only for a noun and a participle."""
    words = label.split()
    if len(words) == 2 and words[1].endswith("ing") and not words[0].endswith("ing"):
        return f"{words[1]} {words[0]}"
    return None


def fill(template: str, row: ClipRow) -> str:
    """One wording for one clip."""
    sentence = row.caption.strip().rstrip(".")
    keep = len(sentence) > 1 and sentence[1].isupper()  # an acronym stays as it is
    lower = sentence if keep else sentence[:1].lower() + sentence[1:]
    return template.format(caption=lower, Caption=sentence, label=row.label)


def training_prompts(row: ClipRow) -> list[str]:
    """Every wording that training may use for a clip; at least one, duplicates are weights."""
    wordings = [fill(template, row) for template in TEMPLATES]
    inverted = _inverted(row.label)
    return wordings + ([inverted, f"a {inverted}"] if inverted else [])


def held_out_prompts(row: ClipRow) -> list[str]:
    """Wordings that training never uses."""
    return [fill(template, row) for template in HELD_OUT]
