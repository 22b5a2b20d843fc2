"""Results as JSON, Markdown and one HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ezaudio.audio import read_audio
from ezaudio.checkpoints import write_bytes
from ezaudio.errors import EzAudioError
from ezaudio.evaluation.metrics import METRICS
from ezaudio.evaluation.paper import PaperRow, published
from ezaudio.evaluation.results import ClipScores, Results, Row, column_title, show
from ezaudio.reports.html import data_url, html_page, sound_url
from ezaudio.reports.markdown import markdown_table
from ezaudio.reports.plots import (
    ANCHOR,
    PALETTE,
    Dot,
    DotPlot,
    can_draw,
    spectrogram_thumbnail,
)

ARROWS = {"lower": "↓", "higher": "↑", "real": "≈"}
PAPER_NOTE = "Columns `paper:` repeat what the authors published; they were not measured here."
MOST_CARDS = 12
"""Clips of a system that can be played on the page, the worst first."""

_MOST_TAKES = 3
_OF_PAPER = ("fd", "kl", "is", "clap")
_NO_NETWORK = ("waveform", "prints")
_RANKED = ("kl", "clap", "caption", "kl_sigmoid")
_COLOURS = {"system": PALETTE[0], "floor": PALETTE[2], "anchor": ANCHOR}
_LONGEST_LABEL = 26


def write_reports(results: Results, folder: Path, *, paper: bool = False) -> list[Path]:
    """Write `scores.json`, `report.md` and `report.html`.

    Args:
        results: what was found.
        folder: where to write; sounds that the results name lie below it.
        paper: put the paper's numbers into a column of their own.

    Raises:
        OutputError: a file cannot be written.
    """
    paths = [folder / name for name in ("scores.json", "report.md", "report.html")]
    results.save(paths[0])
    write_bytes(paths[1], markdown(results, paper=paper).encode())
    write_bytes(paths[2], page(results, folder, paper=paper).encode())
    return paths


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        head: titles of the columns.
        rows: cells, the first of each row being its title.
        kinds: kind of each row.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    kinds: tuple[str, ...]


def table_of(results: Results, *, paper: bool = False) -> Table:
    """Lay the results out: a row per system, floor and anchor, a column per metric."""
    columns = results.columns
    extractors = {column.partition("/")[0] for column in columns}
    many = len(extractors.difference(_NO_NETWORK)) > 1
    head = ["", "N"]
    for column in columns:
        extractor, _, name = column.partition("/")
        own = f" ({extractor})" if many and extractor not in _NO_NETWORK else ""
        head.append(f"{column_title(column)} {ARROWS[METRICS[name].better]}{own}")
        if name == "fd":
            head.append("bias of FD")
        if paper and name in _OF_PAPER:
            head.append(f"paper: {column_title(column)}")
    rows = tuple(_cells(row, columns, paper) for row in results.rows)
    return Table(tuple(head), rows, tuple(row.kind for row in results.rows))


def _cells(row: Row, columns: tuple[str, ...], paper: bool) -> tuple[str, ...]:
    count = f"{row.count} x {row.seeds}" if row.seeds > 1 else str(row.count)
    cells = [row.title, count]
    of_paper = published(row.title)
    for column in columns:
        name = column.partition("/")[2]
        score = row.scores.get(column)
        cells.append(show(score, name))
        if name == "fd":
            bias = None if score is None else score.extra.get("bias")
            cells.append("–" if bias is None else f"{bias:.2f}")
        if paper and name in _OF_PAPER:
            cells.append(_published(of_paper, name))
    return tuple(cells)


def _published(row: PaperRow | None, name: str) -> str:
    value = None if row is None else getattr(row, {"is": "inception"}.get(name, name))
    return "–" if value is None else f"{value:g}"


def markdown(results: Results, *, paper: bool = False) -> str:
    """The table with its protocol, its notes, and what its columns mean."""
    table = table_of(results, paper=paper)
    lines = [heading(results), "", markdown_table(table.head, table.rows)]
    lines += ["", *[f"- {note}" for note in results.notes], ""]
    seen: set[str] = set()
    for column in results.columns:
        name = column.partition("/")[2]
        if name not in seen:
            seen.add(name)
            lines.append(f"- **{METRICS[name].title}**: {METRICS[name].meaning}.")
    lines += ["", f"- {interval_note(results)}"]
    if paper:
        lines.append(f"- {PAPER_NOTE}")
    if results.seconds:
        lines.append(f"- Time: {_spent(results)}.")
    return "\n".join(lines) + "\n"


def heading(results: Results) -> str:
    """One line that says under which protocol the table stands."""
    against = f", against {results.reference}" if results.reference else ""
    return (
        f"Protocol `{results.protocol.name}`, hash `{results.hash}`; clips `{results.clip_set}`"
        f"{against}."
    )


def interval_note(results: Results) -> str:
    """What the brackets mean."""
    settings = results.protocol.settings
    return (
        f"Brackets: {settings.level:.0%} confidence intervals, by bootstrap over clips for scores "
        f"of clips and by leaving out {settings.jackknife_groups} groups of clips in turn for "
        "statistics of sets. "
        "↓ lower is better, ↑ higher is better, ≈ as recordings have it."
    )


def page(results: Results, folder: Path, *, paper: bool = False) -> str:
    """Build the HTML page: the table, plots, and the worst clips with players and spectrograms.

    Args:
        results: what was found.
        folder: where the sounds that the results name lie.
        paper: put the paper's numbers into a column of their own.
    """
    return html_page(
        "scores.html",
        "Scores: " + ", ".join(row.title for row in results.systems),
        script="sort.js",
        heading=heading(results),
        table=table_of(results, paper=paper),
        notes=[*results.notes, interval_note(results), *([PAPER_NOTE] if paper else [])],
        plots=list(_plots(results)),
        systems=[_clips_of(row, folder) for row in results.systems],
        meanings=[_meaning(column) for column in results.columns],
        seconds=_spent(results),
    )


def _spent(results: Results) -> str:
    return ", ".join(f"{stage} {value:.1f} s" for stage, value in results.seconds.items())


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
