"""Names of clips that were cut from YouTube, as AudioSet and its relatives write them.

One clip has one name here, `ID_STARTMS`, however its publisher wrote it, so that captions of
several sources meet.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_ID = r"[A-Za-z0-9_-]{11}"
_WITH_START = re.compile(rf"^({_ID})_(\d+(?:\.\d+)?)$")
_BARE = re.compile(rf"^{_ID}$")
CLIP_S = 10.0


def checked_pattern(pattern: str) -> str:
    """Refuse a pattern of file names that cannot be filled, or is the same for every clip.

    Raises:
        ValueError: it has other placeholders than `{clip}` and `{id}`, or none of them.
    """
    try:
        varies = pattern.format(clip="a_0", id="a") != pattern.format(clip="b_0", id="b")
    except (LookupError, ValueError, AttributeError):
        varies = False
    if pattern and not varies:
        raise ValueError("a file name with the placeholder {clip} or {id}, such as {clip}.flac")
    return pattern


AudioPattern = Annotated[str, AfterValidator(checked_pattern)]
"""File of a clip in the audio folder: `{clip}` is the clip's name, `{id}` what it was cut from."""


def clip_name(youtube_id: str, start_s: float) -> str:
    """Join a YouTube id and a start in seconds."""
    return f"{youtube_id}_{round(start_s * 1000)}"


def is_youtube_id(text: str) -> bool:
    """True for eleven letters of the kind that YouTube uses."""
    return bool(_BARE.match(text))


def split_name(text: str, *, unit_s: float) -> tuple[str, float] | None:
    """Take `ID_START` apart; None when it is no such name.

    Args:
        text: without an extension.
        unit_s: what the start is counted in: 1 for seconds, 0.001 for milliseconds.
    """
    found = _WITH_START.match(text)
    return (found[1], float(found[2]) * unit_s) if found else None


def audio_name(clip_id: str, pattern: str) -> str:
    """Fill a pattern such as `{clip}.flac`; empty gives an empty name."""
    return pattern.format(clip=clip_id, id=clip_id.rpartition("_")[0]) if pattern else ""
