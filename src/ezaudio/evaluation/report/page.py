"""Results as one HTML page that needs no other file: tables, plots, sounds, spectrograms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ezaudio.audio import read_audio
from ezaudio.errors import EzAudioError
from ezaudio.evaluation.metrics import METRICS
from ezaudio.evaluation.report.markdown import PAPER_NOTE, heading, interval_note
from ezaudio.evaluation.report.table import ARROWS, table_of
from ezaudio.evaluation.results import (
    ClipScores,
    Results,
    Row,
    column_title,
    left_out_notes,
)
from ezaudio.reports.html import data_url, html_page, sound_url
from ezaudio.reports.plots import (
    ANCHOR,
    PALETTE,
    Dot,
    DotPlot,
    can_draw,
    spectrogram_thumbnail,
)

MOST_CARDS = 12
"""Clips of a system that can be played on the page, the worst first."""

_MOST_TAKES = 3
_RANKED = ("kl", "clap", "caption", "kl_sigmoid")
_COLOURS = {"system": PALETTE[0], "floor": PALETTE[2], "anchor": ANCHOR}
_LONGEST_LABEL = 26


def page(results: Results, folder: Path, *, paper: bool = False) -> str:
    """Build the HTML page: the table, plots, and the worst clips with players and spectrograms.

    Args:
        results: what was found.
        folder: where the sounds that the results name lie.
        paper: put the paper's numbers into a column of their own.
    """
    notes = [*left_out_notes(results), *results.notes, interval_note(results)] + (
        [PAPER_NOTE] if paper else []
    )
    spent = ", ".join(f"{stage} {value:.1f} s" for stage, value in results.seconds.items())
    return html_page(
        "scores.html",
        "Scores: " + ", ".join(row.title for row in results.systems),
        script="sort.js",
        heading=heading(results),
        table=table_of(results, paper=paper),
        notes=notes,
        plots=list(_plots(results)),
        systems=[_clips_of(row, folder) for row in results.systems],
        meanings=[_meaning(column) for column in results.columns],
        seconds=spent,
    )


def _meaning(column: str) -> tuple[str, str]:
    extractor, _, name = column.partition("/")
    return f"{METRICS[name].title} ({extractor})", METRICS[name].meaning


def _plots(results: Results) -> Iterator[DotPlot]:
    for column in results.columns:
        dots = [
            Dot(
                row.title[:_LONGEST_LABEL],
                score.value,
                score.low,
                score.high,
                _COLOURS[row.kind],
                yields=row.kind == "anchor",
            )
            for row in results.rows
            if (score := row.scores.get(column)) is not None and score.value is not None
        ]
        extractor, _, name = column.partition("/")
        arrow = ARROWS[METRICS[name].better]
        yield DotPlot(f"{column_title(column)} {arrow} ({extractor})", dots)


def _clips_of(row: Row, folder: Path) -> dict[str, Any]:
    """What the page shows of a system's clips."""
    column = ranking_column(row)
    ranked = worst_first(row, column)
    columns = sorted({name for clip in row.clips for name in clip.scores})
    return {
        "title": row.title,
        "order": f"worst first by {column_title(column)}" if column else "in order",
        "cards": [_card(clip, column, folder) for clip in ranked[:MOST_CARDS]],
        "columns": [column_title(name) for name in columns],
        "clips": [
            {
                "name": clip.name,
                "caption": clip.caption,
                "means": [_mean(clip, name) for name in columns],
            }
            for clip in ranked
        ],
    }


def ranking_column(row: Row) -> str | None:
    """The column by which clips are ranked: KL where there are recordings, else CLAP."""
    scored = {name for clip in row.clips for name in clip.scores}
    for name in _RANKED:
        for column in sorted(scored):
            if column.partition("/")[2] == name:
                return column
    return None


def worst_first(row: Row, column: str | None) -> list[ClipScores]:
    """Clips of a row, the worst first; clips without the score come last."""
    if column is None:
        return list(row.clips)
    higher = METRICS[column.partition("/")[2]].better == "higher"

    def badness(clip: ClipScores) -> float:
        mean = _mean(clip, column)
        if mean is None:
            return float("-inf")
        return -mean if higher else mean

    return sorted(row.clips, key=badness, reverse=True)


def _mean(clip: ClipScores, column: str) -> float | None:
    """A clip's score, averaged over its seeds."""
    values = [value for value in clip.scores.get(column, ()) if value is not None]
    return sum(values) / len(values) if values else None


def _card(clip: ClipScores, column: str | None, folder: Path) -> dict[str, Any]:
    mean = None if column is None else _mean(clip, column)
    return {
        "caption": clip.caption or clip.name,
        "name": clip.name,
        "score": "" if column is None or mean is None else f"{column_title(column)} {mean:.3f}",
        "takes": [_take(folder / file) for file in clip.files[:_MOST_TAKES]],
    }


def _take(path: Path) -> dict[str, str]:
    """A sound and its picture, or why there is none."""
    try:
        clip = read_audio(path)
        sound = sound_url(clip)
    except EzAudioError as error:
        return {"reason": str(error), "sound": "", "picture": ""}
    picture = ""
    if can_draw():
        thumbnail = spectrogram_thumbnail(clip.samples, clip.sample_rate)
        picture = data_url(thumbnail, "image/png")
    return {"reason": "", "sound": sound, "picture": picture}
