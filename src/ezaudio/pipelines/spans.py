"""Where an edit happens: spans, the windows around them, and the seams.

Spans are in samples at the model's rate, windows in latent frames. A window holds one span or
several near ones and the context that the model hears; a long sound is never processed as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ezaudio.audio_levels import peak_guard
from ezaudio.errors import InputError

Samples: TypeAlias = npt.NDArray[np.float32]

MIN_SPAN_S = 0.05
_SPANS = "a list of pairs of start and end in seconds, such as [(1.5, 4.0)]"
MAX_SPAN_SHARE = 0.9
"""Longest span over the longest duration of the model; the rest is left for context."""


@dataclass(frozen=True)
class Span:
    """Samples `start` up to `end`, which are made anew."""

    start: int
    end: int


@dataclass(frozen=True)
class Window:
    """What is processed at once.

    Attributes:
        first: first latent frame.
        stop: frame after the last.
        spans: what is made anew in it.
    """

    first: int
    stop: int
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class WindowLimits:
    """How large windows are.

    Attributes:
        hop: samples per latent frame.
        context: frames wanted on each side of the spans.
        most: longest window in frames.
    """

    hop: int
    context: int
    most: int


def check_spans(
    spans: Sequence[tuple[float, float]], duration_s: float, max_duration_s: float
) -> list[tuple[float, float]]:
    """Sort spans and join those that overlap or touch.

    Args:
        spans: (start, end) in seconds.
        duration_s: of the sound.
        max_duration_s: longest sound that the model makes.

    Raises:
        InputError: there is no span, or one is empty, too long, or begins after the sound's end.
    """
    longest = MAX_SPAN_SHARE * max_duration_s
    joined: list[tuple[float, float]] = []
    for start, end in sorted(_pairs(spans)):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    for start, end in joined:
        if start > duration_s + MIN_SPAN_S:
            raise InputError("start", start, f"0 to {duration_s:g} s, the length of the sound")
        if end - start > longest:
            allowed = f"spans of at most {longest:g} s with this model"
            raise InputError("span", f"{start:g} to {end:g}", allowed)
    return joined


def _pairs(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    listed = isinstance(spans, Sequence | np.ndarray) and not isinstance(spans, str)
    if not listed or len(spans) == 0:
        raise InputError("spans", spans, _SPANS)
    pairs = [_pair(span) for span in spans]
    for start, end in pairs:
        if not (math.isfinite(start) and start >= 0):
            raise InputError("start", start, "0 or more, in seconds")
        if not (math.isfinite(end) and end >= start + MIN_SPAN_S):
            raise InputError("end", end, f"at least {MIN_SPAN_S:g} s after the start, {start:g} s")
    return pairs


def _pair(span: object) -> tuple[float, float]:
    """Two numbers."""
    values = tuple(span) if isinstance(span, Sequence | np.ndarray) else ()
    if len(values) != 2 or isinstance(span, str):
        raise InputError("spans", span, _SPANS)
    try:
        return float(values[0]), float(values[1])
    except (TypeError, ValueError):
        raise InputError("spans", span, _SPANS) from None


def spans_in_samples(
    spans: Sequence[tuple[float, float]], length: int, sample_rate: int
) -> list[Span]:
    """Round checked spans to samples; one that begins just past the end begins at it."""
    rounded = [
        Span(min(round(start * sample_rate), length), round(end * sample_rate))
        for start, end in spans
    ]
    return [span for span in rounded if span.end > span.start]


def plan_windows(spans: Sequence[Span], length: int, limits: WindowLimits) -> list[Window]:
    """Put spans into windows, in order.

    The context of a window ends where the next window's first span begins: what is still to be
    replaced is not heard.

    Args:
        spans: sorted, disjoint.
        length: of the sound with its extension, in samples.
        limits: of a window.
    """
    windows: list[Window] = []
    waiting = list(spans)
    while waiting:
        group = [waiting.pop(0)]
        while waiting and _belongs(group, waiting[0], limits):
            group.append(waiting.pop(0))
        stop = waiting[0].start if waiting else length
        windows.append(_window(group, stop, limits))
    return windows


def _belongs(group: Sequence[Span], span: Span, limits: WindowLimits) -> bool:
    near = span.start - group[-1].end <= 2 * limits.context * limits.hop
    reach = -(-span.end // limits.hop) - group[0].start // limits.hop
    return near and reach <= MAX_SPAN_SHARE * limits.most


def _window(group: Sequence[Span], stop: int, limits: WindowLimits) -> Window:
    hop = limits.hop
    begin, end = group[0].start // hop, -(-group[-1].end // hop)
    left = min(limits.context, begin)
    right = min(limits.context, max(0, -(-stop // hop) - end))
    spare = max(0, limits.most - (end - begin))
    if left + right > spare:
        left = min(left, max(spare - right, spare // 2))
        right = min(right, spare - left)
    return Window(begin - left, end + right, tuple(group))


def frames_to_regenerate(window: Window, hop: int) -> npt.NDArray[np.bool_]:
    """True for each frame of the window that a span touches, `(T,)`."""
    regenerate = np.zeros(window.stop - window.first, dtype=bool)
    for span in window.spans:
        regenerate[span.start // hop - window.first : -(-span.end // hop) - window.first] = True
    return regenerate


def join(
    original: Samples, made: Samples, span: Span, *, kept: int, fade: int, ceiling: float
) -> Samples:
    """Give the new samples of a span, seams included.

    The cross-fades lie inside the span, so that nothing outside it changes. Where the original has
    no samples inside (the span begins where the sound ends), the difference between the original
    and the decoded sound just before the span is mirrored into it and faded out: no step, no click.

    Args:
        original: the sound before the edit, with its extension, `(S,)`.
        made: what the model made, at the same places; only read near the span.
        span: what is replaced.
        kept: length of the sound without its extension; nothing after it is original.
        fade: longest cross-fade in samples.
        ceiling: the new part alone is made quieter until its peak is at most this.

    Returns:
        `(span.end - span.start,)`.
    """
    new = peak_guard(made[span.start : span.end], ceiling).astype(np.float32, copy=True)
    fade = min(fade, (span.end - span.start) // 3)
    if fade == 0:
        return new
    falling = (0.5 + 0.5 * np.cos(np.pi * (np.arange(fade) + 1) / (fade + 1))).astype(np.float32)
    if span.start > 0:
        if span.start + fade <= kept:
            old = original[span.start : span.start + fade]
            new[:fade] += (old - new[:fade]) * falling
        else:
            _continue(original, made, span, new, falling[: min(fade, span.start)], ceiling)
    if span.end < kept:
        old = original[span.end - fade : span.end]
        new[-fade:] += (old - new[-fade:]) * falling[::-1]
    return new


def _continue(
    original: Samples, made: Samples, span: Span, new: Samples, falling: Samples, ceiling: float
) -> None:
    """Fade out the difference before the span, mirrored at its start; changes `new`."""
    before = slice(span.start - len(falling), span.start)
    difference = (original[before] - made[before])[::-1]
    bound = max(ceiling, float(np.abs(original[before]).max()))
    smoothed = new[: len(falling)] + difference * falling
    new[: len(falling)] = np.clip(smoothed, -bound, bound)
