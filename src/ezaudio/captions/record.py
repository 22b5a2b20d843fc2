"""What goes in and what comes out: an `Item` is one clip to be captioned, a `CaptionRecord` is one
caption with its provenance, a `Failure` is one attempt that gave none.

The marks that a record carries, its language and whether many do not want to read it, are rules of
thumb that need no model: what to do about them is chosen at export.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from importlib.resources import files
from pathlib import Path

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_LETTERS = str.maketrans("013457@$", "oieastas")
_FEWEST_WORDS = 4


@dataclass(frozen=True, slots=True)
class Event:
    """One sound event inside a clip.

    Attributes:
        label: name of the kind of sound.
        start_s: onset in seconds, from the clip's start.
        end_s: offset in seconds; equal to `start_s` for an event without length.
    """

    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Item:
    """A clip to be captioned, with what its publisher says about it.

    Attributes:
        clip_id: names the clip; `YOUTUBEID_STARTMS` where the publisher uses YouTube's clips.
        audio: path of the sound file, relative to the audio folder; empty when there is none.
        start_s: start of the clip in the file or in the original recording, in seconds.
        end_s: end of the same; equal to `start_s` when unknown.
        licence: as the publisher states it.
        captions: sentences that exist already.
        tags: names of what is heard, without times.
        events: what is heard, with times.
    """

    clip_id: str
    audio: str = ""
    start_s: float = 0.0
    end_s: float = 0.0
    licence: str = ""
    captions: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of an input file that gives no clip.

    Attributes:
        where: file and line.
        reason: in words; lines of one kind share one reason, so that they can be counted.
        text: the line, shortened.
    """

    where: str
    reason: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class CaptionRecord:
    """One caption of one clip.

    Attributes:
        clip_id, audio, start_s, end_s, licence: as in `Item`.
        caption: one sentence.
        source: registry name of the source that wrote it.
        model: what wrote it: a model's name, `rules`, or `published`.
        prompt_hash: of the prompt file, the first 16 hexadecimal digits of its SHA-256; empty where
            no prompt was used.
        language: `en`, `other`, or `unknown` where the caption is too short to tell.
        profane: a word of the list occurs in the caption.
        score: CLAP similarity of sound and caption; None before the filter.
        score_model: hash of the CLAP weights.
        created: when the caption was written or imported (UTC).
    """

    clip_id: str
    caption: str
    source: str
    model: str
    prompt_hash: str
    audio: str
    start_s: float
    end_s: float
    licence: str
    language: str
    profane: bool
    score: float | None
    score_model: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that gave no caption: a bad line, a refused answer, a failed request.

    Attributes:
        clip_id: the clip; file and line for a bad line of an input file.
        source: registry name of the source.
        reason: short, from a small set, so that failures can be counted.
        detail: what came, shortened.
        attempt: 1 for the first try; 0 where nothing was tried.
        final: no caption came of this clip in this run.
        created: when (UTC).
    """

    clip_id: str
    source: str
    reason: str
    detail: str
    attempt: int
    final: bool
    created: datetime


def now() -> datetime:
    """The time, in UTC, to the microsecond that a shard keeps."""
    return datetime.now(timezone.utc)


def digest(*parts: object) -> str:
    """Hash plain values: 32 hexadecimal digits, the same on every machine."""
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def file_state(path: str | Path) -> str:
    """Size and time of a file, to tell whether it was replaced; empty when it is not there."""
    try:
        stat = os.stat(path) if path else None
    except OSError:
        stat = None
    return "" if stat is None else f"{stat.st_size} {stat.st_mtime_ns}"


def digest_of_items(items: Sequence[Item], salt: Iterable[str] = ()) -> str:
    """Hash a chunk of clips, to tell whether its shard is still of these clips."""
    hashed = hashlib.sha256("\n".join(salt).encode())
    for item in items:
        hashed.update(repr(item).encode("utf-8", "replace"))
    return hashed.hexdigest()[:32]


def shortened(text: str, limit: int = 200) -> str:
    """Cut a text for a report; control characters become spaces."""
    plain = "".join(c if c.isprintable() else " " for c in text[: 4 * limit])
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


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
