"""A model over a grid of settings, or finished runs: Figures 2 and 3, Tables 1 and 2 of the paper.

Every cell is a system of its own: its sounds are kept, so a larger grid makes only what is new.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from glob import glob
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from ezaudio.checkpoints import read_module_info
from ezaudio.config import Config, load_config
from ezaudio.errors import InputError
from ezaudio.evaluation.compare import of_entry
from ezaudio.evaluation.metrics import METRICS
from ezaudio.evaluation.options import Layout
from ezaudio.evaluation.report.markdown import PAPER_NOTE, heading, interval_note
from ezaudio.evaluation.report.table import ARROWS
from ezaudio.evaluation.results import Results, Row, column_title, left_out_notes, show
from ezaudio.evaluation.run import Setup, evaluate, make_all, require_extractors
from ezaudio.evaluation.systems.base import GenerationPlan
from ezaudio.evaluation.systems.ezaudio_model import EzAudioConfig
from ezaudio.evaluation.training_runs import memory_of_run, model_of_run, step_of_run
from ezaudio.files import write_bytes
from ezaudio.pipelines.catalogue import find_model
from ezaudio.reports.html import text_page
from ezaudio.reports.markdown import markdown_row
from ezaudio.reports.plots import PALETTE, Dot, DotPlot, Line, LinePlot, Plot, can_draw, svg

SHOWN = ("fd", "clap", "caption", "kl", "kad")
"""Metrics that are drawn."""

PARAMETERS, MEMORY, STATE = "parameters (M)", "memory (GiB)", "training state (GB)"
_LABEL_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "table-1": ("captions", "mask_modelling"),
    "table-2": ("clap_threshold", "pairs"),
    "figure-2": ("adaln", "long_skips"),
}


class Cell(Config):
    """One model with one choice of settings.

    Attributes:
        name: of the cell, and of the folder of its sounds.
        model: name or folder.
        settings: of the model.
        labels: what the table says about it, by column.
        series: the curve that it belongs to.
        x: its place on the curve.
        published: what the paper has there, by metric.
    """

    name: str
    model: str
    settings: dict[str, Any] = Field(default_factory=dict)
    labels: dict[str, Any] = Field(default_factory=dict)
    series: str = ""
    x: float | None = None
    published: dict[str, float] = Field(default_factory=dict)

    @property
    def made_with(self) -> dict[str, Any]:
        """Settings without those that change nothing: at a CFG scale of 1 nothing is rescaled."""
        settings = dict(self.settings)
        if settings.get("guidance_scale") == 1 and "guidance_rescale" in settings:
            settings["guidance_rescale"] = 0.0
        return settings


class Run(Config):
    """A finished training run, as a file of runs names it.

    Attributes:
        label: of the run.
        model: model folder, or the output folder of a training run, or its `dit.safetensors`; `*`
            finds several, whose numbers at the end are their steps.
        base: model whose autoencoder and text encoder go with a run's network; the run's own when
            left out.
        columns: what the table says about it.
        published: what the paper has there, by metric, such as `fd`.
    """

    label: str
    model: str
    base: str | None = None
    columns: dict[str, Any] = Field(default_factory=dict)
    published: dict[str, float] = Field(default_factory=dict)


def grid_cells(
    model: str, settings: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]
) -> list[Cell]:
    """Every combination of values; the first axis with several values runs along the curves.

    Args:
        model: name or folder.
        settings: what all cells share.
        axes: values by setting.

    Raises:
        InputError: no axis.
    """
    axes = {name: list(values) for name, values in axes.items() if len(values)}
    if not axes:
        raise InputError("guidance_scale", None, "values of at least one setting, such as 1,3,5")
    along = next((name for name, values in axes.items() if len(values) > 1), next(iter(axes)))
    return [
        _grid_cell(model, settings, dict(zip(axes, chosen, strict=True)), along)
        for chosen in itertools.product(*axes.values())
    ]


def _grid_cell(
    model: str, settings: Mapping[str, Any], values: Mapping[str, Any], along: str
) -> Cell:
    others = {name: value for name, value in values.items() if name != along}
    number, labels = values[along], dict(values)
    if {**settings, **values}.get("guidance_scale") == 1 and "guidance_rescale" in labels:
        labels["guidance_rescale"] = "any"  # the same sounds, made once
    return Cell(
        name=",".join(f"{name}={value}" for name, value in labels.items()),
        model=model,
        settings={**settings, **values},
        labels=labels,
        series=", ".join(f"{name} {value}" for name, value in others.items()) or model,
        x=float(number) if isinstance(number, int | float) else None,
    )


def run_cells(path: Path, settings: Mapping[str, Any], folder: Path) -> list[Cell]:
    """Cells of a YAML file with a list `runs`.

    Args:
        path: the file.
        settings: what all cells share.
        folder: of the sweep; networks of training runs become models below it.

    Raises:
        InputError: the file cannot be read, or a pattern finds no model.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise InputError("runs", str(path), "a readable YAML file") from None
    entries = values.get("runs") if isinstance(values, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InputError("runs", str(path), "a YAML file with a list `runs`")
    runs = [
        of_entry(f"runs[{number}]", partial(_run, entry)) for number, entry in enumerate(entries)
    ]
    return cells_of_runs(runs, settings, folder)


def cells_of_runs(runs: Sequence[Run], settings: Mapping[str, Any], folder: Path) -> list[Cell]:
    """Cells of finished runs.

    Args:
        runs: which.
        settings: what all cells share.
        folder: of the sweep; networks of training runs become models below it.

    Raises:
        InputError: a pattern finds no model.
    """
    cells = []
    for run in runs:
        models = sorted(glob(run.model)) if "*" in run.model else [run.model]
        if not models:
            raise InputError("model", run.model, "a pattern that finds model folders")
        for model in models:
            found = re.search(r"(\d+)\D*$", Path(model).name) if len(models) > 1 else None
            step = step_of_run(Path(model)) if found is None else int(found[1])
            cells.append(_run_cell(run, model, step, settings, folder, of_several=bool(found)))
    return cells


def _run_cell(
    run: Run,
    model: str,
    step: int | None,
    settings: Mapping[str, Any],
    folder: Path,
    *,
    of_several: bool,
) -> Cell:
    name = f"{run.label} @ {step}" if of_several else run.label
    labels = {"run": run.label, **run.columns, **_memory_of(model)}
    if step is not None:
        labels["step"] = step
    name = re.sub(r"[^\w@.+-]+", "-", name)
    model = model_of_run(model, run.base, folder / "models" / name)
    return Cell(
        name=name,
        model=model,
        settings=dict(settings),
        labels=labels | _size_of(model),
        series=run.label,
        x=None if step is None else float(step),
        published=run.published,
    )


def _run(entry: Any) -> Run:
    if not isinstance(entry, dict):
        raise InputError("entry", entry, "a mapping with `label` and `model`")
    return load_config(Run, entry)


def _size_of(model: str) -> dict[str, Any]:
    """Parameters of the network, and what its weights and Adam's state take in float32."""
    found = find_model(model)
    if found.folder is None:
        return {}
    count = read_module_info(found.folder / found.card.dit).parameters
    return {PARAMETERS: round(count / 1e6, 1), STATE: round(16e-9 * count, 2)}


def _memory_of(model: str) -> dict[str, Any]:
    """The most memory that a run says it held."""
    held = memory_of_run(Path(model))
    return {} if held is None else {MEMORY: round(held, 2)}


def different(cells: Sequence[Cell]) -> list[Cell]:
    """One cell for each name: cells that make the same sounds share theirs."""
    return list({cell.name: cell for cell in cells}.values())


def measure(
    cells: Sequence[Cell],
    plan: GenerationPlan,
    setup: Setup,
    *,
    processes: int = 1,
    device: str = "auto",
) -> Results | None:
    """Make and score all cells; floors and anchors once.

    Returns:
        The scores; None when only a share of the sounds was asked for.
    """
    configs = [
        EzAudioConfig(name=cell.name, model=cell.model, settings=cell.made_with, device=device)
        for cell in different(cells)
    ]
    systems = [config.build() for config in configs]
    scored = plan.shard[1] == 1
    if scored:
        require_extractors(setup)
    make_all(list(zip(configs, systems, strict=True)), plan, setup, processes=processes)
    return evaluate(systems, plan, replace(setup, anchors=())) if scored else None


def write_sweep(
    cells: Sequence[Cell], results: Results, folder: Path, layout: Layout
) -> list[Path]:
    """Write `sweep.json`, `sweep.md`, `sweep.html` and, where there are curves, `sweep.svg`."""
    rows = {row.title: row for row in results.systems}
    table = sweep_markdown(cells, results, layout)
    drawn = sweep_plots(cells, results) + size_plots(cells)
    page = text_page("Sweep", table, drawn)
    values = {
        "cells": [cell.model_dump(mode="json") for cell in cells],
        "results": results.model_copy(
            update={"rows": tuple(r.model_copy(update={"clips": ()}) for r in rows.values())}
        ).model_dump(mode="json"),
    }
    contents = {
        "sweep.json": json.dumps(values, indent=1, ensure_ascii=False) + "\n",
        "sweep.md": table,
        "sweep.html": page,
    }
    if drawn and can_draw():
        contents["sweep.svg"] = svg("Sweep", drawn, columns=2)
    for name, content in contents.items():
        write_bytes(folder / name, content.encode())
    return [folder / name for name in contents]


def sweep_markdown(cells: Sequence[Cell], results: Results, layout: Layout) -> str:
    """The table: what was chosen, and every metric."""
    rows = {row.title: row for row in results.systems}
    wanted = _LABEL_COLUMNS.get(layout, ())
    labels = [*wanted, *(n for cell in cells for n in cell.labels if n not in wanted)]
    labels = list(dict.fromkeys(labels))
    columns = results.columns
    paper = {metric for cell in cells for metric in cell.published}
    head = [*labels, "N", *(title for column in columns for title in _titles(column, paper))]
    lines = [heading(results), "", markdown_row(head), markdown_row(["---"] * len(head))]
    for cell in different(cells):
        row = rows[cell.name]
        shown = [t for column in columns for t in _shown(row, column, paper, cell.published)]
        count = f"{row.count} x {row.seeds}" if row.seeds > 1 else str(row.count)
        lines.append(
            markdown_row([*(_said(cell.labels.get(n, "")) for n in labels), count, *shown])
        )
    for floor in (row for row in results.rows if row.kind == "floor"):
        shown = [text for column in columns for text in _shown(floor, column, paper, {})]
        first = [floor.title, *[""] * (len(labels) - 1)]
        lines.append(markdown_row([*first, str(floor.count), *shown]))
    notes = [interval_note(results), *left_out_notes(results), *([PAPER_NOTE] if paper else [])]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def _titles(column: str, paper: Collection[str]) -> list[str]:
    title, metric = column_title(column), column.partition("/")[2]
    titles = [f"{title} {ARROWS[METRICS[metric].better]}"]
    titles += [f"bias of {title}"] if metric == "fd" else []
    return [*titles, *([f"paper: {title}"] if metric in paper else [])]


def _shown(
    row: Row, column: str, paper: Collection[str], published: Mapping[str, float]
) -> list[str]:
    """A score; beside an FD what two equal sets of this size would have; what the paper has."""
    score, metric = row.scores.get(column), column.partition("/")[2]
    shown = [show(score, metric)]
    if metric == "fd":
        bias = None if score is None else score.extra.get("bias")
        shown.append("–" if bias is None else f"{bias:.2f}")
    if metric in paper:
        shown.append(f"{published[metric]:g}" if metric in published else "–")
    return shown


def sweep_plots(cells: Sequence[Cell], results: Results) -> list[Plot]:
    """A plot for each metric that is drawn: curves over a setting or over steps, else dots.

    A model without a place on the axis is a level line among curves.
    """
    rows = {row.title: row for row in results.systems}
    drawn = [column for column in results.columns if column.partition("/")[2] in SHOWN]
    placed = [cell for cell in cells if cell.x is not None]
    steps = any("step" in cell.labels for cell in cells)
    several = len({cell.series for cell in placed}) < len(placed)
    if not placed or (steps and not several):
        return [_dots(results, column) for column in drawn]
    first = placed[0]
    x_title = (
        "training step"
        if steps
        else next((name for name, value in first.labels.items() if value == first.x), "x")
    )
    ends = [f(cell.x or 0.0 for cell in placed) for f in (min, max)]
    cells = [*placed, *(c.model_copy(update={"x": x}) for c in cells if c.x is None for x in ends)]
    plots: list[Plot] = []
    for column in drawn:
        lines = [
            _curve(series, [cell for cell in cells if cell.series == series], rows, column)
            for series in dict.fromkeys(cell.series for cell in cells)
        ]
        title = column_title(column)
        plots.append(LinePlot(f"{title} ({column.partition('/')[0]})", x_title, title, lines))
    return plots


def size_plots(cells: Sequence[Cell]) -> list[Plot]:
    """Parameters and memory of runs, as in Figure 2 (c) and (d); of settings there are none."""
    plots: list[Plot] = []
    for label in (PARAMETERS, MEMORY, STATE):
        known = {cell.series: cell.labels[label] for cell in cells if label in cell.labels}
        if known and not (label == STATE and any(MEMORY in cell.labels for cell in cells)):
            plots.append(DotPlot(label, [Dot(run[:26], float(n)) for run, n in known.items()]))
    return plots


def _dots(results: Results, column: str) -> DotPlot:
    scored = [(row, row.scores[column]) for row in results.rows]
    dots = [
        Dot(row.title[:26], score.value, score.low, score.high, PALETTE[2 * (row.kind == "floor")])
        for row, score in scored
        if score.value is not None
    ]
    return DotPlot(f"{column_title(column)} ({column.partition('/')[0]})", dots)


def _said(value: Any) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _curve(series: str, cells: Sequence[Cell], rows: Mapping[str, Row], column: str) -> Line:
    points, bars = [], []
    for cell in sorted(cells, key=lambda one: one.x or 0.0):
        score = rows[cell.name].scores[column]
        if score.value is not None and cell.x is not None:
            points.append((cell.x, score.value))
            known = score.low is not None and score.high is not None
            bars.append((score.low, score.high) if known else (score.value, score.value))
    return Line(series, tuple(points), tuple(bars))  # type: ignore[arg-type]
