"""Small pictures without a drawing library: plots as SVG, spectrograms as PNG."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from ezaudio.spectrogram import log_mel_db

PALETTE = ("#4b3f8f", "#c8553d", "#2a7f62", "#b8860b", "#3a6ea5", "#8c4a7f")
_INK, _FAINT = "#26262e", "#d8d8e0"
_FLOOR_DB = -80.0
_BESIDE = 5.0
_REACH = 3.0
_VIEW_BOX = re.compile(r'viewBox="0 0 (\d+) (\d+)"')


@dataclass(frozen=True)
class Dot:
    """A number with its interval in a plot.

    Attributes:
        label: what it is.
        value: the number.
        low: lower end of the interval, where it has one.
        high: upper end.
        colour: of the dot.
        yields: whether it may lie beyond the scale, where it would squeeze the others.
    """

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    colour: str = PALETTE[0]
    yields: bool = False

    @property
    def ends(self) -> list[float]:
        """All its numbers."""
        return [v for v in (self.value, self.low, self.high) if v is not None]


@dataclass(frozen=True)
class Line:
    """A curve of a plot.

    Attributes:
        label: what it is.
        points: (x, y) in order of x.
        bars: (low, high) of each point, where they are known.
    """

    label: str
    points: tuple[tuple[float, float], ...]
    bars: tuple[tuple[float, float], ...] = ()


def dot_plot(title: str, dots: Sequence[Dot]) -> str:
    """Numbers below each other on one scale, with their intervals."""
    width, left, right, row = 560, 190, 16, 24
    height = 34 + row * len(dots) + 24
    ends, beyond = _ends(dots)
    scale = _Scale(min(ends), max(ends), left, width - right)
    parts = [_text(left, 18, title, weight="600")]
    for value in scale.ticks():
        x = scale(value)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="28" y2="{height - 22}" stroke="{_FAINT}"/>'
        )
        parts.append(_text(x, height - 8, f"{value:g}", anchor="middle", size=11))
    for index, dot in enumerate(dots):
        y = 42 + row * index
        parts.append(_text(left - 8, y + 4, dot.label, anchor="end"))
        if dot in beyond:
            over = dot.value > max(ends)
            said = f"{dot.value:.4g} ▸" if over else f"◂ {dot.value:.4g}"
            place, anchor = (width - right, "end") if over else (left, "start")
            parts.append(_text(place, y + 4, said, anchor=anchor, size=11))
            continue
        if dot.low is not None and dot.high is not None:
            parts.append(
                f'<line x1="{scale(dot.low):.1f}" x2="{scale(dot.high):.1f}" y1="{y}" y2="{y}" '
                f'stroke="{dot.colour}" stroke-width="2"/>'
            )
        parts.append(f'<circle cx="{scale(dot.value):.1f}" cy="{y}" r="4.5" fill="{dot.colour}"/>')
    return _svg(width, height, title, parts)


def _ends(dots: Sequence[Dot]) -> tuple[list[float], list[Dot]]:
    """Ends of the scale, and the dots beyond it: more than three widths of the others away."""
    firm = [v for dot in dots if not dot.yields for v in dot.ends]
    if not firm:
        return [v for dot in dots for v in dot.ends], []
    reach = _REACH * (max(firm) - min(firm)) or max(map(abs, firm))
    low, high = min(firm) - reach, max(firm) + reach
    beyond = [d for d in dots if d.yields and not low <= min(d.ends) <= max(d.ends) <= high]
    return [v for dot in dots if dot not in beyond for v in dot.ends], beyond


def line_plot(title: str, x_title: str, y_title: str, lines: Sequence[Line]) -> str:
    """Curves over one axis, with their intervals."""
    width, height, left, right, top, bottom = 560, 340, 62, 16, 30, 46
    legend = 18 * len(lines)
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    ys += [y for line in lines for bar in line.bars for y in bar]
    across = _Scale(min(xs), max(xs), left, width - right)
    up = _Scale(min(ys), max(ys), height - bottom, top)
    parts = [_text(left, 18, title, weight="600")]
    for value in up.ticks():
        y = up(value)
        parts.append(
            f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_FAINT}"/>'
        )
        parts.append(_text(left - 6, y + 4, f"{value:g}", anchor="end", size=11))
    for value in sorted(set(xs)):
        parts.append(
            _text(across(value), height - bottom + 16, f"{value:g}", anchor="middle", size=11)
        )
    parts.append(_text((left + width - right) / 2, height - 8, x_title, anchor="middle"))
    parts.append(
        f'<text transform="translate(14 {(top + height - bottom) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle" fill="{_INK}" font-size="12">{escape(y_title)}</text>'
    )
    for index, line in enumerate(lines):
        colour = PALETTE[index % len(PALETTE)]
        aside = _BESIDE * (index - (len(lines) - 1) / 2)  # else intervals hide each other
        path = " ".join(f"{across(x) + aside:.1f},{up(y):.1f}" for x, y in line.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for number, (x, y) in enumerate(line.points):
            bar = line.bars[number] if line.bars else (y, y)
            parts.append(_upright(across(x) + aside, up(bar[0]), up(bar[1]), colour))
            parts.append(_dot(across(x) + aside, up(y), colour))
        y_legend = height + 4 + 18 * index
        parts.append(f'<circle cx="{left + 6}" cy="{y_legend}" r="4.5" fill="{colour}"/>')
        parts.append(_text(left + 18, y_legend + 4, line.label))
    return _svg(width, height + legend, title, parts)


def side_by_side(title: str, pictures: Sequence[str], *, columns: int = 2) -> str:
    """Pictures of `line_plot` or `dot_plot` as one picture, row by row."""
    sizes = [tuple(int(n) for n in _VIEW_BOX.findall(picture)[0]) for picture in pictures]
    width, height = (max(size[axis] for size in sizes) for axis in (0, 1))
    placed = [
        picture.replace(
            "<svg ",
            f'<svg x="{number % columns * width}" y="{number // columns * height}" '
            f'width="{size[0]}" height="{size[1]}" ',
            1,
        )
        for number, (picture, size) in enumerate(zip(pictures, sizes, strict=True))
    ]
    across, down = min(columns, len(pictures)), -(-len(pictures) // columns)
    ground = f'<rect width="{across * width}" height="{down * height}" fill="#fff"/>'
    return _svg(across * width, down * height, title, [ground, *placed])


def spectrogram_thumbnail(samples: npt.NDArray[np.float32], sample_rate: int) -> bytes:
    """A log-mel spectrogram as a small PNG in shades of one colour scale."""
    level = log_mel_db(samples, sample_rate, mels=64)[::-1]
    columns = np.linspace(0, level.shape[1] - 1, min(240, level.shape[1])).astype(int)
    shown = np.clip((level[:, columns] - _FLOOR_DB) / -_FLOOR_DB * 255, 0, 255).astype(np.uint8)
    return palette_png(shown)


def palette_png(indices: npt.NDArray[np.uint8]) -> bytes:
    """An image (height, width) of indices into a dark-to-light scale, as PNG."""
    height, width = indices.shape
    raw = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(indices))
    steps = np.linspace(0, 1, 256)[:, None]
    stops = np.array([[8, 6, 20], [75, 40, 130], [200, 70, 90], [250, 160, 90], [252, 250, 200]])
    at = steps[:, 0] * (len(stops) - 1)
    colours = np.stack([np.interp(at, np.arange(len(stops)), stops[:, c]) for c in range(3)], 1)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", colours.astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(raw, 9)),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


class _Scale:
    """Numbers to places, with a margin and round ticks."""

    def __init__(self, low: float, high: float, start: float, stop: float) -> None:
        margin = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
        self.low, self.high = low - margin, high + margin
        self.start, self.stop = start, stop

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self) -> list[float]:
        rough = (self.high - self.low) / 5
        power = 10.0 ** np.floor(np.log10(rough))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
        first = np.ceil(self.low / step)
        return [
            float(round(first * step + i * step, 10))
            for i in range(int((self.high - first * step) / step) + 1)
        ]


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'


def _upright(x: float, low: float, high: float, colour: str) -> str:
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{colour}"/>'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, weight: str = "400"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}" fill="{_INK}">{escape(text)}</text>'
    )


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif" '
        f'style="max-width:{width}px;width:100%;background:#fff">' + "".join(parts) + "</svg>"
    )
