"""How a notebook shows a sound: what it is, a player, and its spectrogram."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING

from ezaudio.errors import OutputError
from ezaudio.spectrogram import draw_spectrogram

if TYPE_CHECKING:
    from ezaudio.pipelines.results import Sound

_LONGEST_WAV_S = 60.0
"""Longer sounds are embedded as MP3, at a tenth of the size."""


def player(sound: Sound) -> str:
    """HTML with the sound itself inside; without a picture where matplotlib is missing."""
    format, kind = ("wav", "wav") if sound.clip.duration_s <= _LONGEST_WAV_S else ("mp3", "mpeg")
    content = base64.b64encode(sound.encode(format)).decode()
    shown = [
        f"<p>{html.escape(repr(sound))}</p>",
        f'<audio controls src="data:audio/{kind};base64,{content}"></audio>',
    ]
    try:
        picture = base64.b64encode(draw_spectrogram(sound.clip)).decode()
    except OutputError:
        return f"<div>{''.join(shown)}</div>"
    shown.append(f'<br><img width="600" alt="spectrogram" src="data:image/png;base64,{picture}">')
    return f"<div>{''.join(shown)}</div>"
