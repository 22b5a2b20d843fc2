"""How a kind of sound is said: "a dog barking", "a dog barks", with several wordings for each.

The table `words/phrases.txt` has wordings for the classes of AudioSet; any other label is said as
"the sound of ...". The file explains its own notation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

_VERB = re.compile(r"(\S*?)~(0?)([ey+]?)(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Phrase:
    """One wording.

    Attributes:
        nominal: "a dog barking", "a gunshot".
        clause: "a dog barks"; "a gunshot is heard".
        verbal: False where the wording has no verb of its own.
    """

    nominal: str
    clause: str
    verbal: bool

    def said(self, *, clausal: bool, adverb: str = "") -> str:
        """Say it as a clause or as a noun, with an adverb such as "twice" at its end."""
        text = self.clause if clausal else self.nominal
        if not adverb:
            return text
        return f"{text} {adverb}" if clausal or self.verbal else f"{text} heard {adverb}"


def phrases_of(label: str) -> tuple[Phrase, ...]:
    """Give the wordings of a label, at least one."""
    return _table().get(label) or _plain(label)


@cache
def _table() -> Mapping[str, tuple[Phrase, ...]]:
    text = (files("ezaudio.captions.rules") / "words" / "phrases.txt").read_text(encoding="utf-8")
    lines = (line.partition(" = ") for line in text.splitlines() if not line.startswith("#"))
    return MappingProxyType(
        {
            label.strip(): tuple(_phrase(wording.strip()) for wording in wordings.split(" | "))
            for label, equals, wordings in lines
            if equals
        }
    )


def _phrase(wording: str) -> Phrase:
    verb = _VERB.search(wording)
    if verb is None:
        plain = wording.removesuffix("*")
        is_heard = "are heard" if wording.endswith("*") else "is heard"
        return Phrase(plain, f"{plain} {is_heard}", verbal=False)
    stem, plural, ending = verb.groups()
    participle, finite = _forms(stem, ending, plural=bool(plural))
    before, after = wording[: verb.start()], wording[verb.end() :]
    return Phrase(before + participle + after, before + finite + after, verbal=True)


def _forms(stem: str, ending: str, *, plural: bool) -> tuple[str, str]:
    """Inflect: bark~ barking/barks, clos~e closing/closes, hum~+ humming/hums, cr~y
    crying/cries.
    """
    if ending == "y":
        return f"{stem}ying", f"{stem}y" if plural else f"{stem}ies"
    if ending == "e":
        return f"{stem}ing", f"{stem}e" if plural else f"{stem}es"
    if ending == "+":
        return f"{stem}{stem[-1]}ing", stem if plural else f"{stem}s"
    return f"{stem}ing", stem if plural else f"{stem}s"


@cache
def _plain(label: str) -> tuple[Phrase, ...]:
    """Say a label that the table lacks: its first name, without what stands in brackets."""
    name = re.sub(r"\s*\(.*?\)", "", label).partition(",")[0].strip() or label.strip()
    second = name[1:2]
    if not second.isupper():  # an acronym stays as it is
        name = name[:1].lower() + name[1:]
    if name.endswith("music"):
        return (Phrase(name, f"{name} plays", verbal=False),)
    text = f"the sound of {name}"
    return (Phrase(text, f"{text} is heard", verbal=False),)
