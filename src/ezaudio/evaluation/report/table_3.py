"""Table 3 of the paper: its rows and columns, with what was measured beside what was published."""

from __future__ import annotations

from collections.abc import Mapping

from ezaudio.evaluation.metrics import METRICS
from ezaudio.evaluation.paper import TABLE_3, PaperRow, published
from ezaudio.evaluation.report.markdown import PAPER_NOTE, heading, interval_note
from ezaudio.evaluation.report.table import ARROWS
from ezaudio.evaluation.results import Results, Row, column_title, left_out_notes, show
from ezaudio.reports.markdown import markdown_row

_METRICS = {"fd": "fd", "kl": "kl", "is": "inception", "clap": "clap"}
_NOT_MEASURED = PaperRow("", None, None, None, None, None)


def table_3(results: Results, parameters: Mapping[str, int] | None = None) -> str:
    """Build the table as Markdown; systems that the paper lacks stand below its rows.

    Args:
        results: what was measured.
        parameters: of systems that the paper lacks, by title, where they are known.
    """
    sizes = parameters or {}
    columns = [c for c in results.columns if c.partition("/")[2] in _METRICS]
    columns += [c for c in results.columns if c.partition("/")[2] == "caption"]
    head = ["Method", "Model", "# Params", "Pretrain Data", "Text Encoder", "N"]
    for column in columns:
        metric = column.partition("/")[2]
        head.append(f"{column_title(column)} {ARROWS[METRICS[metric].better]}")
        head += [f"paper: {column_title(column)}"] if metric in _METRICS else []
    measured = [row for row in results.rows if row.kind == "system" or _is_truth(row)]
    by_paper = {known.title: row for row in measured if (known := published(row.title))}
    lines = [markdown_row(head), markdown_row(["---"] * len(head))]
    for paper in TABLE_3.values():
        lines.append(
            markdown_row(_cells(paper.title, paper, by_paper.get(paper.title), columns, None))
        )
    for row in measured:
        if published(row.title) is None:
            size = sizes.get(row.title)
            cells = _cells(row.title, _NOT_MEASURED, row, columns, size)
            lines.append(markdown_row(cells))
    notes = [PAPER_NOTE, *left_out_notes(results), interval_note(results)]
    parts = [heading(results), "", *lines, "", *(f"- {note}" for note in notes)]
    return "\n".join(parts) + "\n"


def _is_truth(row: Row) -> bool:
    return row.title == "real: the recordings"


def _cells(
    title: str, paper: PaperRow, row: Row | None, columns: list[str], size: int | None
) -> list[str]:
    own = "–" if size is None else f"{size / 1e6:.1f}M"
    cells = [title, paper.model, paper.parameters or own, paper.data, paper.text]
    cells.append("–" if row is None else str(row.count))
    for column in columns:
        metric = column.partition("/")[2]
        cells.append(show(None if row is None else row.scores.get(column), metric))
        if metric in _METRICS:
            value = getattr(paper, _METRICS[metric])
            cells.append("–" if value is None else f"{value:g}")
    return cells
