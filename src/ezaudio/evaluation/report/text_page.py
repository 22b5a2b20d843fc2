"""A report's Markdown as one HTML page: headings, paragraphs, lists and tables are all it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;color:#26262e;margin:1rem auto;padding:0 1rem}"
    "figure{display:inline-block;width:min(100%,520px);margin:.5rem}"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.88rem;"
    "font-variant-numeric:tabular-nums;margin:1rem 0}"
    "th,td{padding:.3rem .6rem;border-bottom:1px solid #d8d8e0;text-align:left;white-space:nowrap}"
    "thead th{border-bottom:2px solid #26262e}"
)


def text_page(title: str, text: str, *, pictures: Sequence[str] = (), width_px: int) -> str:
    """Build the page.

    Args:
        title: of the page; a heading of its own where the text has none.
        text: Markdown as the reports of this package have it.
        pictures: SVG, shown after the first heading.
        width_px: widest the page gets.
    """
    blocks = list(_blocks(text))
    if not blocks or not blocks[0].startswith("<h1>"):
        blocks.insert(0, f"<h1>{escape(title)}</h1>")
    figures = "".join(f"<figure>{picture}</figure>" for picture in pictures)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}body{{max-width:{width_px}px}}</style>"
        f"{blocks[0]}{figures}{''.join(blocks[1:])}</html>"
    )


def _blocks(text: str) -> Iterator[str]:
    for kind, lines in groupby(text.splitlines(), key=lambda line: line[:2].strip()[:1]):
        block = [line for line in lines if line.strip()]
        if kind == "|":
            yield _table(block)
        elif kind == "-":
            yield f"<ul>{''.join(f'<li>{_inline(line[2:])}</li>' for line in block)}</ul>"
        elif kind == "#":
            yield "".join(f"<h1>{_inline(line.lstrip('# '))}</h1>" for line in block)
        else:
            yield from (f"<p>{_inline(line)}</p>" for line in block)


def _table(lines: Sequence[str]) -> str:
    head, _, *body = [line.strip().strip("|").split(" | ") for line in lines]
    top = "".join(f"<th>{_inline(cell)}</th>" for cell in head)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_inline(cell)}</td>' for cell in row)}</tr>" for row in body
    )
    return (
        f"<div class=scroll><table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _inline(text: str) -> str:
    return escape(text.strip()).replace("`", "")
