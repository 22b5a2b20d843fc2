"""Which events a prompt puts one after another.

"a dog barking, then rain" names two events and their order; "rain after a dog barking" names the
same. A model that has not learnt such sentences can still follow them: each event is read in its
own part of the sound (`Condition.in_turn`), as in FreeAudio (arXiv:2507.08557), whose windows a
language model plans. Here the plan is what the sentence says, in English.
"""

from __future__ import annotations

import re

MOST_EVENTS = 6
"""A sentence that seems to name more of them is read as a whole."""

_NEXT = (
    r"(?:then|next|finally|later|afterwards|after that|followed by|giving way to|before"
    r"|(?:and )?(?:end|ending|ends) with)"
)
_FORWARD = re.compile(rf"\s*[,;.]?\s*\b(?:and\s+)?{_NEXT}\b\s*,?\s*", re.IGNORECASE)
_BACKWARD = re.compile(r"\s*,?\s*\b(?:after|preceded by)\b\s*", re.IGNORECASE)
_LEADING = re.compile(r"^(after|before)\s+(.+?),\s*(.+)$", re.IGNORECASE)
_OPENING = re.compile(r"^(?:at first|first|(?:start|starts|starting|begin) with)\b[,:]?\s*", re.I)
_NO_EVENT = frozenset(
    ("it", "they", "he", "she", "this", "that", "another", "each", "one", "other", "which")
)
"""A part that begins so speaks of another part."""


def events_in_order(prompt: str) -> tuple[str, ...]:
    """Split a prompt into the events that it puts in order, first to last.

    Args:
        prompt: a sentence in English.

    Returns:
        Two events or more; the prompt alone where it names no order, or one that is not understood.
    """
    text = " ".join(prompt.split()).rstrip(".")
    events = _events(text)
    return events if _are_events(events) else (prompt,)


def _events(text: str) -> tuple[str, ...]:
    leading = _LEADING.match(text)
    if leading:
        word, other, main = leading.groups()
        parts = [other, main] if word.lower() == "after" else [main, other]
    else:
        parts = _FORWARD.split(text)
        if len(parts) == 1:
            parts = _BACKWARD.split(text)[::-1]
    return tuple(_OPENING.sub("", part.strip(" ,;.")).strip() for part in parts)


def _are_events(parts: tuple[str, ...]) -> bool:
    firsts = [part.lower().removeprefix("the ").partition(" ")[0] for part in parts]
    said = all(any(c.isalpha() for c in part) for part in parts)
    apart = len({part.lower() for part in parts}) == len(parts)
    return 2 <= len(parts) <= MOST_EVENTS and said and apart and not _NO_EVENT & set(firsts)
