"""Results as one HTML page that needs no other file: tables, plots, sounds, spectrograms."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

from ezaudio.audio import encode_audio, read_audio, resample
from ezaudio.errors import EzAudioError
from ezaudio.evaluation.metrics import METRICS
from ezaudio.evaluation.pictures import PALETTE, Dot, dot_plot, spectrogram_thumbnail
from ezaudio.evaluation.report.markdown import PAPER_NOTE, heading, interval_note
from ezaudio.evaluation.report.table import table_of
from ezaudio.evaluation.results import ClipScores, Results, Row, column_title

WORST = 12
_RANKED = ("kl", "clap", "caption", "kl_sigmoid")
_PLAYED_HZ = 24_000
_TEMPLATE = Path(__file__).with_name("page.html")
_KINDS = {"system": PALETTE[0], "floor": PALETTE[2], "anchor": "#9a9aa6"}


def page(results: Results, folder: Path, *, paper: bool = False) -> str:
    """Build the page.

    Args:
        results: what was found.
        folder: where the sounds that the results name lie.
        paper: put the paper's numbers into a column of their own.
    """
    notes = [*results.notes, interval_note(results)] + ([PAPER_NOTE] if paper else [])
    spent = ", ".join(f"{stage} {value:.1f} s" for stage, value in results.seconds.items())
    return Template(_TEMPLATE.read_text(encoding="utf-8")).safe_substitute(
        title=escape(", ".join(row.title for row in results.systems)),
        heading=escape(heading(results)).replace("`", ""),
        table=_table(results, paper),
        notes="".join(f"<li>{escape(note)}</li>" for note in notes),
        meanings="".join(_meaning(column) for column in results.columns),
        plots="".join(f"<figure>{_plot(results, column)}</figure>" for column in results.columns),
        clips="".join(_clips_of(row, folder) for row in results.systems),
        seconds=escape(spent),
    )


def _table(results: Results, paper: bool) -> str:
    table = table_of(results, paper=paper)
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = []
    for cells, kind in zip(table.rows, table.kinds, strict=True):
        first = f"<th scope=row>{escape(cells[0])}</th>"
        rest = "".join(f"<td>{_small_interval(cell)}</td>" for cell in cells[1:])
        rows.append(f'<tr class="{kind}">{first}{rest}</tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _small_interval(cell: str) -> str:
    value, bracket, interval = cell.partition(" [")
    if not bracket:
        return escape(cell)
    return f"{escape(value)}<small>[{escape(interval)}</small>"


def _meaning(column: str) -> str:
    metric = METRICS[column.partition("/")[2]]
    extractor = column.partition("/")[0]
    return f"<dt>{escape(metric.title)} ({escape(extractor)})</dt><dd>{escape(metric.meaning)}</dd>"


def _plot(results: Results, column: str) -> str:
    dots = []
    for row in results.rows:
        score = row.scores.get(column)
        if score is not None and score.value is not None:
            anchor = row.kind == "anchor"
            ends = (score.value, score.low, score.high)
            dots.append(Dot(row.title[:26], *ends, _KINDS[row.kind], yields=anchor))
    extractor = column.partition("/")[0]
    return dot_plot(f"{column_title(column)} ({extractor})", dots)


def _clips_of(row: Row, folder: Path) -> str:
    column = ranking_column(row)
    ranked = worst_first(row, column)
    cards = "".join(_card(clip, column, folder) for clip in ranked[:WORST])
    columns = sorted({name for clip in row.clips for name in clip.scores})
    head = "".join(f"<th>{escape(column_title(name))}</th>" for name in columns)
    body = "".join(_clip_row(clip, columns) for clip in ranked)
    by = f"worst first by {column_title(column)}" if column else "in order"
    return (
        f"<section><h2>{escape(row.title)}: clips, {escape(by)}</h2><div class=cards>{cards}</div>"
        f"<details><summary>All {len(ranked)} clips</summary><table class=sortable><thead><tr>"
        f"<th>clip</th><th>caption</th>{head}</tr></thead><tbody>{body}</tbody></table></details>"
        "</section>"
    )


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
        values = [v for v in clip.scores.get(column, ()) if v is not None]
        if not values:
            return float("-inf")
        mean = sum(values) / len(values)
        return -mean if higher else mean

    return sorted(row.clips, key=badness, reverse=True)


def _card(clip: ClipScores, column: str | None, folder: Path) -> str:
    said = escape(clip.caption or clip.name)
    values = [v for v in clip.scores.get(column or "", ()) if v is not None]
    score = f"{column_title(column)} {sum(values) / len(values):.3f}" if column and values else ""
    sounds = "".join(_sound(folder / file, take) for take, file in enumerate(clip.files[:3]))
    return f"<article><h3>{said}</h3><p>{escape(score)} · {escape(clip.name)}</p>{sounds}</article>"


def _sound(path: Path, take: int) -> str:
    try:
        clip = read_audio(path)
    except EzAudioError as error:
        return f"<p>{escape(str(error))}</p>"
    played = encode_audio(
        resample(clip.samples, clip.sample_rate, _PLAYED_HZ), _PLAYED_HZ, format="mp3"
    )
    picture = base64.b64encode(spectrogram_thumbnail(clip.samples, clip.sample_rate)).decode()
    sound = base64.b64encode(played).decode()
    return (
        f'<img alt="spectrogram of take {take}" src="data:image/png;base64,{picture}">'
        f'<audio controls preload=none src="data:audio/mpeg;base64,{sound}"></audio>'
    )


def _clip_row(clip: ClipScores, columns: Sequence[str]) -> str:
    cells = []
    for column in columns:
        values = [v for v in clip.scores.get(column, ()) if v is not None]
        mean = sum(values) / len(values) if values else None
        cells.append("<td>–</td>" if mean is None else f"<td data-value={mean:.6g}>{mean:.3f}</td>")
    return f"<tr><td>{escape(clip.name)}</td><td>{escape(clip.caption)}</td>{''.join(cells)}</tr>"
