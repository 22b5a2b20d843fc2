"""What an answer of a model has to look like before it may become a caption.

A caption is one English sentence about sounds. Small blemishes are removed (quotation marks around
the whole, "Caption:" before it); anything else is refused with a reason that can be counted.
"""

from __future__ import annotations

import re
import unicodedata

from pydantic import Field

from ezaudio.captions.record import language_of
from ezaudio.config import Config

_LONGEST_RAW = 4000
_LABEL = re.compile(r"^\W{0,3}(?:audio )?(?:caption|answer|output|sentence)\W{0,3}\s*:\s*", re.I)
_QUOTES = "\"'“”‘’`*"
_MARKUP = re.compile(r"<[a-z/!][^>]*>|https?://|www\.|```|^\s*[#\-*•]\s|\[/?[A-Z]+\]|[{}|\\]", re.I)
_REFUSAL = re.compile(
    r"\b(?:i(?:['’]m| am)? (?:sorry|unable|cannot|can['’]?t|afraid)|as an (?:ai|assistant|language)"
    r"|i do(?: not|n['’]t) have|language model|cannot (?:help|assist|comply|provide|listen)"
    r"|unable to (?:listen|process|hear|provide))\b",
    re.I,
)
_PREAMBLE = re.compile(
    r"^(?:sure|certainly|of course|here(?:['’]s| is| are)|okay|the (?:following|caption)"
    r"|based on)\b",
    re.I,
)
_ABOUT = re.compile(
    r"\bthe (?:audio|clip|recording|sound ?(?:clip|track|file)?|segment|track|file)s? "
    r"(?:clip |file )?(?:features?|contains?|consists?|includes?|begins?|starts?|captures?"
    r"|depicts?|presents?|is of)\b"
    r"|\bin (?:this|the) (?:audio|clip|recording)\b|\bthis (?:audio|clip|recording|sound)\b",
    re.I,
)
_SPEECH = re.compile(
    r"[\"“”][^\"“”]*\w+\W+\w+[^\"“”]*[\"“”]"
    r"|(?:^|\s)[‘'][^'’]*\w+\W+\w+[^'’]*[’'](?=\W|$)"
    r"|\b(?:say|says|saying|said|tells?|telling|announc(?:es|ing)|explain(?:s|ing)|ask(?:s|ing))"
    r" (?:that|about|how|why|if|whether|him|her|them|us|you)\b"
    r"|\b(?:talk|speak|lectur|discuss)(?:s|es|ing)?"
    r" (?:about|of(?! the)|on the (?:topic|subject))\b"
    r"|\bdiscuss(?:es|ing)? (?!with\b)\w+",
    re.I,
)
_TIMES = re.compile(r"\b\d+(?:\.\d+)?\s*(?:s|sec|secs|seconds?|ms|hz|khz|db)\b", re.I)
_END = re.compile(r"[.!?]+[\"”’')\]]*\s+(?=\S)")
_NO_END = re.compile(r"\b(?:e\.g|i\.e|etc|vs|mr|mrs|dr|st|no)\.$", re.I)


class Rules(Config):
    """What is asked of an answer.

    Attributes:
        fewest_words, most_words: length.
        language: `en`, or `any`.
        speech_content: allow what somebody says to be told; models invent it.
        times: allow seconds and other numbers with units.
    """

    fewest_words: int = Field(3, ge=1)
    most_words: int = Field(50, ge=1)
    language: str = Field("en", pattern="^(en|any)$")
    speech_content: bool = False
    times: bool = False


def check(text: str | None, rules: Rules) -> tuple[str, str]:
    """Tidy an answer and judge it.

    Returns:
        The caption and an empty reason, or what came and the reason why it is refused.
    """
    if text is None or not text.strip():
        return "", "empty answer"
    if len(text) > _LONGEST_RAW:
        return text[:_LONGEST_RAW], "too long"
    if any(unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs") and c not in "\n\r\t" for c in text):
        return text, "control characters"
    plain = _tidied(text)
    for reason, at_fault in (
        ("refusal", _REFUSAL.search(plain)),
        ("markup", _MARKUP.search(plain)),
        ("preamble", _PREAMBLE.search(plain)),
        ("speaks about the recording", _ABOUT.search(plain)),
        ("speech content", not rules.speech_content and _SPEECH.search(plain)),
        ("times", not rules.times and _TIMES.search(plain)),
        ("several sentences", _several(text, plain)),
    ):
        if at_fault:
            return plain, reason
    return plain, _language(plain, rules) or _length(plain, rules)


def _tidied(text: str) -> str:
    plain = " ".join(text.split())
    plain = _LABEL.sub("", plain).strip("* ")
    if len(plain) > 2 and plain[0] in _QUOTES and plain[-1] in _QUOTES:
        plain = plain.strip(_QUOTES).strip()
    plain = plain.strip()
    if plain and plain[-1] not in ".!?":
        plain = f"{plain.rstrip(',;:')}."
    return plain[:1].upper() + plain[1:]


def _several(text: str, plain: str) -> bool:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(not line[0].islower() for line in lines[1:]):
        return True
    ends = (end.start() for end in _END.finditer(plain))
    return any(not _NO_END.search(plain[: end + 1]) for end in ends)


def _length(plain: str, rules: Rules) -> str:
    words = len(re.findall(r"\w+", plain))
    if words < rules.fewest_words:
        return "too short"
    return "too long" if words > rules.most_words else ""


def _language(plain: str, rules: Rules) -> str:
    return "language" if rules.language == "en" and language_of(plain) == "other" else ""
