"""Markdown: tables as the package writes them, and its conversion to HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table.

    Args:
        head: titles of the columns.
        rows: cells; a bar or a line break inside a cell does not end it.

    Returns:
        Lines that are joined by and do not end in a line break.
    """
    lines = [markdown_row(head), markdown_row(["---"] * len(head)), *map(markdown_row, rows)]
    return "\n".join(lines)


def markdown_row(cells: Sequence[str]) -> str:
    """Write one line of a table."""
    escaped = (" ".join(cell.replace("|", "\\|").split()) for cell in cells)
    return f"| {' | '.join(escaped)} |"


def markdown_html(text: str) -> str:
    """Convert Markdown to HTML; HTML and pictures inside the text stay text."""
    return str(_converter().render(text))


@lru_cache(maxsize=1)
def _converter() -> MarkdownIt:
    from markdown_it import MarkdownIt

    converter = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    # A wide table scrolls by itself, so that the page keeps the width of a phone.
    rules = converter.renderer.rules  # type: ignore[attr-defined]
    rules["table_open"] = lambda *_: '<div class="scroll"><table>\n'
    rules["table_close"] = lambda *_: "</table></div>\n"
    return converter
