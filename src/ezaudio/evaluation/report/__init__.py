"""Results as JSON, Markdown and one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

from ezaudio.evaluation.report.markdown import markdown
from ezaudio.evaluation.report.page import page
from ezaudio.evaluation.results import Results
from ezaudio.files import write_bytes


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


__all__ = ["markdown", "page", "write_reports"]
