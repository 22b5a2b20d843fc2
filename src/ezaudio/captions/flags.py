"""Marks that a record carries: its language, and whether it holds a word that many do not want to
read.

Both are rules of thumb that need no model: they mark, and what to do about it is chosen at export.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from importlib.resources import files

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_LETTERS = str.maketrans("013457@$", "oieastas")
_FEWEST_WORDS = 4


def language_of(text: str) -> str:
    """Guess a language: `en`, `other`, or `unknown` when there is too little to tell.

    Letters of another script make it `other`; so do common words of other languages where common
    English words are missing.
    """
    accented, plain = 0.0, text.isascii()
    if not plain:
        letters = [c for c in text if c.isalpha()]
        latin = sum("LATIN" in unicodedata.name(c, "") for c in letters)
        if letters and latin < 0.8 * len(letters):
            return "other"
        accented = sum(not c.isascii() for c in letters) / max(1, len(letters))
    words = [word.lower() for word in _WORD.findall(text)]
    english = sum(word in _words("english") for word in words)
    foreign = sum(word in _words("foreign") for word in words)
    if foreign > english or (english == 0 and accented > 0.03):
        return "other"
    if english:
        return "en"
    return "other" if foreign and len(words) >= _FEWEST_WORDS else "unknown"


def is_profane(text: str) -> bool:
    """Tell whether a word of the list occurs, also with digits for letters."""
    plain = text.lower()
    words = set(re.findall(r"[a-z]+", plain))
    if "".join(c for c in plain if c in "013457@$"):
        words |= set(re.findall(r"[a-z]+", plain.translate(_LETTERS)))
    return not words.isdisjoint(_words("profane"))


@cache
def _words(name: str) -> frozenset[str]:
    text = (files("ezaudio.captions") / "words" / f"{name}.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return frozenset(word for line in lines for word in line.split())
