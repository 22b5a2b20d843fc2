"""Plots of reports, drawn with matplotlib as SVG, and small spectrograms.

A plot is a value: what it shows can be read without drawing it. matplotlib comes with
`ezaudio[plot]`; a report without it has tables and no plots.
"""

from __future__ import annotations

import importlib.util
import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ezaudio.errors import OutputError
from ezaudio.spectrogram import log_mel_db

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#4b3f8f", "#c8553d", "#2a7f62", "#b8860b", "#3a6ea5", "#8c4a7f")
ANCHOR = "#9a9aa6"
_PAPER, _INK, _GRID = "#ffffff", "#26262e", "#d8d8e0"
_VARIABLES = {
    _INK: "ink",
    _GRID: "line",
    ANCHOR: "anchor",
    **{colour: f"series-{number}" for number, colour in enumerate(PALETTE)},
}
"""Colours that a page replaces by its own, which follow the reader's system."""

_WIDTH_IN = 4.8
_POINTS_PER_IN = 72
_BESIDE_PT = 3.5
_REACH = 3.0
_MOST_TICKS = 8
_FLOOR_DB = -80.0
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_LINKS = ' xmlns:xlink="http://www.w3.org/1999/xlink"'
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "text.parse_math": False,
    "font.size": 9,
    "figure.facecolor": _PAPER,
    "axes.facecolor": "none",
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "grid.color": _GRID,
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "legend.frameon": False,
}


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


@dataclass(frozen=True)
class DotPlot:
    """Numbers below each other on one scale, with their intervals.

    Attributes:
        title: of the plot.
        dots: from the top.
    """

    title: str
    dots: Sequence[Dot]

    @property
    def height_in(self) -> float:
        """Height of the drawing in inches."""
        return 0.85 + 0.25 * len(self.dots)

    def beyond(self) -> list[Dot]:
        """Dots beyond the scale: more than three widths of the others away."""
        firm = [v for dot in self.dots if not dot.yields for v in dot.ends]
        if not firm:
            return []
        reach = _REACH * (max(firm) - min(firm)) or max(map(abs, firm))
        low, high = min(firm) - reach, max(firm) + reach
        return [d for d in self.dots if d.yields and not low <= min(d.ends) <= max(d.ends) <= high]

    def draw(self, axes: Axes) -> dict[str, str]:
        """Draw; gives what a pointer over an element says, by the element's name."""
        beyond = self.beyond()
        shown = [v for dot in self.dots if dot not in beyond for v in dot.ends]
        for row, dot in enumerate(self.dots):
            if dot in beyond:
                over = dot.value > max(shown)
                said = f"{dot.value:.4g} ▸" if over else f"◂ {dot.value:.4g}"
                across = axes.get_yaxis_transform()
                place, side = (1.0, "right") if over else (0.0, "left")
                axes.text(place, row, said, transform=across, ha=side, va="center", fontsize=8)
                continue
            if dot.low is not None and dot.high is not None:
                axes.plot([dot.low, dot.high], [row, row], color=dot.colour, linewidth=1.6)
            axes.plot([dot.value], [row], "o", color=dot.colour, markersize=6, gid=f"dot-{row}")
        axes.set_yticks(range(len(self.dots)), [dot.label for dot in self.dots])
        axes.set_ylim(len(self.dots) - 0.4, -0.6)
        axes.set_xlim(*_limits(shown))
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        return {f"dot-{row}": _said_of(dot) for row, dot in enumerate(self.dots)}


@dataclass(frozen=True)
class LinePlot:
    """Curves over one axis, with their intervals.

    Attributes:
        title: of the plot.
        x_title: of the axis.
        y_title: of the other.
        lines: the curves.
    """

    title: str
    x_title: str
    y_title: str
    lines: Sequence[Line]

    @property
    def height_in(self) -> float:
        """Height of the drawing in inches."""
        return 3.0 + 0.2 * len(self.lines)

    def draw(self, axes: Axes) -> dict[str, str]:
        """Draw; as `DotPlot.draw`."""
        from matplotlib.transforms import ScaledTranslation

        said: dict[str, str] = {}
        for index, line in enumerate(self.lines):
            colour = PALETTE[index % len(PALETTE)]
            aside = _BESIDE_PT * (index - (len(self.lines) - 1) / 2)  # else intervals hide another
            place = axes.transData + ScaledTranslation(
                aside / _POINTS_PER_IN, 0, axes.figure.dpi_scale_trans
            )
            xs, ys = [x for x, _ in line.points], [y for _, y in line.points]
            axes.plot(xs, ys, "-", color=colour, linewidth=1.6, label=line.label, transform=place)
            for number, (x, y) in enumerate(line.points):
                name = f"dot-{index}-{number}"
                low, high = line.bars[number] if line.bars else (y, y)
                axes.plot([x, x], [low, high], color=colour, linewidth=1, transform=place)
                axes.plot([x], [y], "o", color=colour, markersize=4.5, transform=place, gid=name)
                ends = f" [{low:.4g}, {high:.4g}]" if line.bars else ""
                said[name] = f"{line.label}, {x:g}: {y:.4g}{ends}"
        self._axes(axes)
        return said

    def _axes(self, axes: Axes) -> None:
        xs = sorted({x for line in self.lines for x, _ in line.points})
        ys = [y for line in self.lines for _, y in line.points]
        ys += [y for line in self.lines for bar in line.bars for y in bar]
        axes.set_xlim(*_limits(xs))
        axes.set_ylim(*_limits(ys))
        if len(xs) <= _MOST_TICKS:
            axes.set_xticks(xs, [f"{x:g}" for x in xs])
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(self.x_title)
        axes.set_ylabel(self.y_title)
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2), borderaxespad=0)


@dataclass(frozen=True)
class Histogram:
    """Counts side by side.

    Attributes:
        title: of the plot; may be empty.
        labels: of the bars.
        counts: their heights.
        every: each how many bars have their label below them.
    """

    title: str
    labels: Sequence[str]
    counts: Sequence[int]
    every: int = 1

    height_in = 1.9

    def draw(self, axes: Axes) -> dict[str, str]:
        """Draw; as `DotPlot.draw`."""
        from matplotlib.ticker import MaxNLocator

        for index, bar in enumerate(axes.bar(range(len(self.counts)), self.counts, width=0.85)):
            bar.set_gid(f"bar-{index}")
            bar.set_color(PALETTE[0])
        places = range(0, len(self.labels), self.every)
        axes.set_xticks(places, [self.labels[index] for index in places])
        axes.set_xlim(-0.6, max(1, len(self.counts)) - 0.4)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.grid(visible=False, axis="x")
        pairs = zip(self.labels, self.counts, strict=True)
        return {f"bar-{i}": f"{label}: {count:,}" for i, (label, count) in enumerate(pairs)}


Plot: TypeAlias = "DotPlot | LinePlot | Histogram"


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def svg(title: str, plots: Sequence[Plot], *, columns: int = 1) -> str:
    """Draw plots row by row as one SVG on white ground.

    Args:
        title: of the whole, for readers who do not see it.
        plots: at least one.
        columns: how many stand beside each other.

    Raises:
        OutputError: matplotlib is not installed.
    """
    across = min(columns, len(plots))
    rows = [plots[begin : begin + across] for begin in range(0, len(plots), across)]
    heights = [max(plot.height_in for plot in row) for row in rows]
    said: dict[str, str] = {}
    buffer = io.BytesIO()
    with _drawing(title) as figure:
        figure.set_size_inches(_WIDTH_IN * across, sum(heights))
        axes = figure.subplots(len(rows), across, squeeze=False, height_ratios=heights)
        for number, place in enumerate(axes.ravel()):
            if number >= len(plots):
                place.set_axis_off()
                continue
            place.set_title(plots[number].title)
            for name, text in plots[number].draw(place).items():
                for artist in place.findobj(lambda a, name=name: a.get_gid() == name):
                    artist.set_gid(f"{name}-of-{number}")
                said[f"{name}-of-{number}"] = text
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    return _named(buffer.getvalue().decode(), title, said)


def inline_svg(plot: Plot) -> str:
    """Draw one plot for a page: no prologue, and the page's colours in place of its own."""
    text = svg(plot.title, [plot])
    text = text[text.index("<svg") :].strip().replace(f"fill: {_PAPER}", "fill: none")
    text = text.replace(_LINKS, "").replace("xlink:href", "href")  # HTML knows no namespaces
    return re.sub("|".join(_VARIABLES), lambda found: f"var(--{_VARIABLES[found[0]]})", text)


def spectrogram_thumbnail(samples: npt.NDArray[np.float32], sample_rate: int) -> bytes:
    """Draw a log-mel spectrogram as a small PNG, (S,) to at most 240 x 64 pixels.

    Raises:
        OutputError: matplotlib is not installed.
    """
    level = log_mel_db(samples, sample_rate, mels=64)
    columns = np.linspace(0, level.shape[1] - 1, min(240, level.shape[1])).astype(int)
    _require()
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    shown, darkest = level[:, columns], _FLOOR_DB
    imsave(buffer, shown, vmin=darkest, vmax=0, format="png", cmap="magma", origin="lower")
    return buffer.getvalue()


def spectrogram_rgb(samples: npt.NDArray[np.float32], sample_rate: int) -> npt.NDArray[np.uint8]:
    """Draw a log-mel spectrogram as an image, (mels, frames, 3), low frequencies at the bottom.

    Raises:
        OutputError: matplotlib is not installed.
    """
    _require()
    from matplotlib import colormaps

    level = log_mel_db(samples, sample_rate)[::-1]  # (mels, frames), dB below the loudest
    image: npt.NDArray[np.uint8] = colormaps["inferno"](1 - level / _FLOOR_DB, bytes=True)
    return image[..., :3]


@contextmanager
def _drawing(title: str) -> Iterator[Figure]:
    _require()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # The salt makes names inside the file the same in every run, and others in every plot.
    with rc_context({**_STYLE, "svg.hashsalt": title}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # scripts without font
        yield Figure(layout="constrained")


def _require() -> None:
    if not can_draw():
        raise OutputError("a plot needs matplotlib: pip install 'ezaudio[plot]'")


def _named(text: str, title: str, said: Mapping[str, str]) -> str:
    """Say what a drawing and its elements are; leave names out that every drawing has."""
    text = re.sub(r' id="\w+_\d+"', "", text)
    for name, words in said.items():
        text = text.replace(f'<g id="{name}">', f"<g><title>{escape(words)}</title>", 1)
    label = f'role="img" aria-label="{escape(title)}"'
    text = re.sub(
        r'(<svg [^>]*?)width="([\d.]+)pt" height="[\d.]+pt"', rf"\1{label}", text, count=1
    )
    return text


def _said_of(dot: Dot) -> str:
    ends = "" if dot.low is None or dot.high is None else f" [{dot.low:.4g}, {dot.high:.4g}]"
    return f"{dot.label}: {dot.value:.4g}{ends}"


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Ends of a scale with a margin, also around a single value."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    return low - margin, high + margin
