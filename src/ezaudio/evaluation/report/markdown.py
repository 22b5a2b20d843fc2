"""Results as Markdown."""

from __future__ import annotations

from ezaudio.evaluation.metrics import METRICS
from ezaudio.evaluation.report.table import table_of
from ezaudio.evaluation.results import Results, left_out_notes
from ezaudio.reports.markdown import markdown_table


def markdown(results: Results, *, paper: bool = False) -> str:
    """The table with its protocol, its notes, and what its columns mean."""
    table = table_of(results, paper=paper)
    lines = [heading(results), ""]
    lines.append(markdown_table(table.head, table.rows))
    lines += ["", *[f"- {note}" for note in (*left_out_notes(results), *results.notes)], ""]
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
        spent = ", ".join(f"{stage} {value:.1f} s" for stage, value in results.seconds.items())
        lines.append(f"- Time: {spent}.")
    return "\n".join(lines) + "\n"


PAPER_NOTE = "Columns `paper:` repeat what the authors published; they were not measured here."


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
