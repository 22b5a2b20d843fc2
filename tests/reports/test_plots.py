"""Plots as a reader sees them: what stands where, in which words and colours."""

from __future__ import annotations

import io
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from ezaudio.errors import OutputError
from ezaudio.reports import plots
from ezaudio.reports.html import text_page
from ezaudio.reports.plots import (
    Dot,
    DotPlot,
    Histogram,
    Line,
    LinePlot,
    inline_svg,
    spectrogram_rgb,
    spectrogram_thumbnail,
    svg,
)

NAMESPACE = "{http://www.w3.org/2000/svg}"


def named(text: str) -> dict[str, ElementTree.Element]:
    """Elements that say something, by what they say."""
    root = ElementTree.fromstring(text)
    groups = [(group, group.find(f"{NAMESPACE}title")) for group in root.iter(f"{NAMESPACE}g")]
    return {title.text or "": group for group, title in groups if title is not None}


def across(group: ElementTree.Element) -> float:
    (use,) = group.iter(f"{NAMESPACE}use")
    return float(use.attrib["x"])


def test_numbers_keep_their_order_on_the_scale_and_say_their_interval() -> None:
    found = named(svg("FD", [DotPlot("FD", [Dot("a", 1.0, 0.5, 1.5), Dot("b <&>", 2.0)])]))
    assert [*found] == ["a: 1 [0.5, 1.5]", "b <&>: 2"]
    assert across(found["a: 1 [0.5, 1.5]"]) < across(found["b <&>: 2"])


def test_an_anchor_far_away_does_not_squeeze_what_is_compared() -> None:
    near = [Dot("ours", 63.0, 43.0, 83.0), Dot("real", 20.0)]
    far = [Dot("silence", 6092.0, yields=True), Dot("noise", 90.0, yields=True)]
    plot = DotPlot("FD", [*near, *far])
    assert [dot.label for dot in plot.beyond()] == ["silence"]
    text = svg("FD", [plot])
    found = named(text)
    places = [across(group) for group in found.values()]
    width = float(ElementTree.fromstring(text).attrib["viewBox"].split()[2])
    assert len(places) == 3
    assert max(places) - min(places) > 0.5 * width
    assert "6092 ▸" in text
    assert not DotPlot("FD", [*near, far[1]]).beyond()


@pytest.mark.parametrize(
    "plot",
    [
        DotPlot("x", [Dot("a", 0.0), Dot("b", 0.0)]),
        LinePlot("x", "x", "y", [Line("one", ((1.0, 2.0),))]),
        Histogram("", ["0"], [0]),
        DotPlot("what costs $5 and $6 in 日本", [Dot("$x_1$ <i>", 1.0)]),
    ],
)
def test_equal_numbers_no_counts_and_any_words_can_be_drawn(plot: plots.Plot) -> None:
    assert ElementTree.fromstring(svg("one", [plot])).attrib["aria-label"] == "one"


def test_words_stay_words_and_are_never_formulas() -> None:
    text = svg("costs", [DotPlot("from $5 to $6", [Dot("ours", 1.0)])])
    said = [element.text for element in ElementTree.fromstring(text).iter(f"{NAMESPACE}text")]
    assert {"from $5 to $6", "ours"} <= set(said)


def test_curves_say_their_points_and_stand_beside_each_other() -> None:
    lines = [
        Line("a", ((1.0, 2.0), (3.0, 3.0)), ((1.5, 2.5), (2.5, 3.5))),
        Line("b", ((1.0, 2.0), (3.0, 3.0))),
    ]
    found = named(svg("CLAP", [LinePlot("CLAP", "guidance", "CLAP", lines)]))
    assert next(iter(found)) == "a, 1: 2 [1.5, 2.5]"
    assert across(found["a, 1: 2 [1.5, 2.5]"]) < across(found["b, 1: 2"])  # else one hides another


def test_several_plots_are_one_picture_with_every_number() -> None:
    counted = Histogram("counts", ["a", "b", "c"], [3, 0, 12_000])
    found = named(svg("three", [counted, DotPlot("d", [Dot("x", 1.0)]), counted], columns=2))
    assert {"a: 3", "b: 0", "c: 12,000", "x: 1"} == set(found)


def test_a_drawing_is_the_same_in_every_run() -> None:
    plot = DotPlot("FD", [Dot("a", 1.0, 0.5, 1.5)])
    assert svg("FD", [plot]) == svg("FD", [plot])


def test_a_page_gives_its_drawings_the_colours_of_the_readers_system() -> None:
    plot = DotPlot("FD", [Dot("a", 1.0), Dot("b", 2.0, colour=plots.ANCHOR)])
    text = inline_svg(plot)
    assert text.startswith("<svg")
    assert "xlink" not in text
    assert not re.findall(r"#[0-9a-f]{6}\b", text)
    assert {"var(--ink)", "var(--line)", "var(--series-0)", "var(--anchor)"} <= set(
        re.findall(r"var\(--[\w-]+\)", text)
    )
    page = text_page("x", "", [plot])
    known = set(re.findall(r"--[\w-]+(?=:)", page))
    assert set(re.findall(r"var\((--[\w-]+)\)", page)) <= known
    assert not re.findall(r' id="\w+_\d+"', page)  # names that a second drawing has too


def test_a_page_without_matplotlib_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "can_draw", lambda: False)
    monkeypatch.setattr("ezaudio.reports.html.can_draw", lambda: False)
    plot = DotPlot("FD", [Dot("a", 1.0)])
    page = text_page("x", "The table.", [plot])
    assert "The table." in page
    assert "<svg" not in page
    assert "ezaudio[plot]" in page
    assert "ezaudio[plot]" not in text_page("x", "The table.")
    with pytest.raises(OutputError, match=r"ezaudio\[plot\]"):
        svg("FD", [plot])
    with pytest.raises(OutputError, match=r"ezaudio\[plot\]"):
        spectrogram_thumbnail(np.zeros(2400, np.float32), 24_000)


def test_a_spectrogram_is_a_small_picture_with_low_frequencies_at_the_bottom() -> None:
    times = np.arange(48_000) / 24_000
    tone = np.sin(2 * np.pi * 200 * times).astype(np.float32)
    small = imread(io.BytesIO(spectrogram_thumbnail(tone, 24_000)), format="png")[..., :3].mean(2)
    assert small.shape == (64, 240)
    assert small[40:].max() > 0.7 > 0.3 > small[:24].max()
    image = spectrogram_rgb(tone, 24_000)
    assert (image.dtype, image.shape[2]) == (np.uint8, 3)
    assert image[image.shape[0] // 2 :].max() > image[: image.shape[0] // 3].max()


def test_drawing_leaves_the_settings_of_matplotlib_alone() -> None:
    import matplotlib

    before = matplotlib.rcParams.copy()
    svg("FD", [DotPlot("FD", [Dot("a", 1.0)])])
    assert matplotlib.rcParams == before
    assert "matplotlib.pyplot" not in sys.modules
