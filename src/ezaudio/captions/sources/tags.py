"""Tags without times -> a sentence that claims no order; shared by the weakly labelled sources."""

from __future__ import annotations

from collections.abc import Sequence

from ezaudio.captions.base import Allowance, Attempt, ClipOutcome
from ezaudio.captions.record import Item
from ezaudio.captions.rules.phrases import Phrase, phrases_of
from ezaudio.captions.rules.sentences import Picker

_FRAMES = (
    "{all}.",
    "{all}.",
    "A recording of {all}.",
    "{all} can be heard.",
    "The sound of {all}.",
    "Audio of {all}.",
)
_MOST_TAGS = 6


class TagWriter:
    """Joins the names of what is heard.

    Args:
        said: False where labels are phrases already, such as VGGSound's "dog barking".
    """

    model = "rules"
    prompt_hash = ""

    def __init__(self, *, said: bool = True) -> None:
        self._said = said

    def write(self, items: Sequence[Item], allowance: Allowance) -> list[ClipOutcome]:
        """One sentence for each clip."""
        return [self._outcome(item) for item in items]

    def close(self) -> None:
        """Nothing is held."""

    def _outcome(self, item: Item) -> ClipOutcome:
        if not item.tags:
            return ClipOutcome(failures=(Attempt("no tag"),))
        return ClipOutcome((tag_sentence(item.tags, item.clip_id, said=self._said),))


def tag_sentence(tags: Sequence[str], seed: str, *, said: bool = True) -> str:
    """Say some tags.

    Args:
        tags: at least one; beyond six the last are left out.
        seed: chooses the wording.
        said: take the wordings of the table of phrases; False takes the tags as they are.
    """
    picker = Picker(seed)
    unique = list(dict.fromkeys(tags))[:_MOST_TAGS]
    nouns = [picker.pick(_wordings(tag, said)) for tag in unique]
    text = nouns[0] if len(nouns) == 1 else f"{', '.join(nouns[:-1])} and {nouns[-1]}"
    frame = picker.pick(_FRAMES)
    if text.startswith("the sound") or text.startswith("a recording"):
        frame = _FRAMES[0]
    sentence = frame.format(all=text)
    return sentence[:1].upper() + sentence[1:]


def _wordings(tag: str, said: bool) -> tuple[str, ...]:
    phrases: tuple[Phrase, ...] = phrases_of(tag) if said else ()
    return tuple(phrase.nominal for phrase in phrases) or (tag.partition(",")[0].strip() or tag,)
