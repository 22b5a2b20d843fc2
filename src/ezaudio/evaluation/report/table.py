"""The cells of the table, for Markdown and HTML alike."""

from __future__ import annotations

from dataclasses import dataclass

from ezaudio.evaluation.metrics import METRICS
from ezaudio.evaluation.paper import PaperRow, published
from ezaudio.evaluation.results import Results, Row, column_title, show

ARROWS = {"lower": "↓", "higher": "↑", "real": "≈"}


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
    many = len(extractors - {"waveform", "prints"}) > 1
    head = ["", "N"]
    for column in columns:
        extractor, _, name = column.partition("/")
        own = f" ({extractor})" if many and extractor not in ("waveform", "prints") else ""
        head.append(f"{column_title(column)} {ARROWS[METRICS[name].better]}{own}")
        if name == "fd":
            head.append("bias of FD")
        if paper and name in ("fd", "kl", "is", "clap"):
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
        if paper and name in ("fd", "kl", "is", "clap"):
            cells.append(_published(of_paper, name))
    return tuple(cells)


def _published(row: PaperRow | None, name: str) -> str:
    value = None if row is None else getattr(row, {"is": "inception"}.get(name, name))
    return "–" if value is None else f"{value:g}"
