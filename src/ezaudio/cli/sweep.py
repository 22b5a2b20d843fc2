"""`ezaudio sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from ezaudio.cli.evaluate import (
    Device,
    Folder,
    Partial,
    Processes,
    Settings,
    note_cache,
    progress_lines,
    read_settings,
)
from ezaudio.cli.options import Quiet, options_from, part_of
from ezaudio.cli.progress import note
from ezaudio.config import load_config
from ezaudio.errors import InputError
from ezaudio.evaluation.options import LAYOUTS, EvaluationOptions


def _axis(text: str) -> Any:
    return Annotated[str | None, typer.Option(show_default=False, help=f"{text}, as 1,3,5.")]


@options_from(EvaluationOptions)
def sweep(
    runs: Annotated[
        Path | None,
        typer.Argument(
            help="A YAML file of finished runs, in place of a grid.", show_default=False
        ),
    ] = None,
    *,
    output: Folder,
    model: Annotated[str, typer.Option(help="The model whose settings are swept.")] = "starter",
    layout: Annotated[str, typer.Option(help=f"{', '.join(LAYOUTS)}.")] = "grid",
    guidance_scale: _axis("CFG scales") = None,  # type: ignore[valid-type]
    guidance_rescale: _axis("Rescaling factors") = None,  # type: ignore[valid-type]
    steps: _axis("Numbers of steps") = None,  # type: ignore[valid-type]
    sampler: _axis("Samplers") = None,  # type: ignore[valid-type]
    settings: Settings = None,
    device: Device = "auto",
    processes: Processes = 1,
    partial: Partial = False,
    quiet: Quiet = False,
    **given: Any,
) -> None:
    """Score a model over a grid of settings, or finished runs: the paper's figures and tables."""
    from ezaudio.evaluation.prepare import prepare
    from ezaudio.evaluation.sweep import grid_cells, measure, run_cells, write_sweep

    if layout not in LAYOUTS:
        raise InputError("layout", layout, f"one of {', '.join(LAYOUTS)}")
    shared = read_settings(settings or [])
    if runs is not None:
        cells = run_cells(runs, shared, output)
    else:
        axes = {
            "guidance_scale": guidance_scale,
            "guidance_rescale": guidance_rescale,
            "steps": steps,
            "sampler": sampler,
        }
        cells = grid_cells(
            model, shared, {name: _values(name, text) for name, text in axes.items()}
        )
    options = load_config(EvaluationOptions, part_of(given, EvaluationOptions))
    with progress_lines(quiet=quiet) as progress:
        plan, setup = prepare(options, output, partial=partial, progress=progress)
        note_cache(setup, quiet=quiet)
        results = measure(cells, plan, setup, processes=processes, device=device)
    if results is None:
        note(f"share {options.shard} is made; score without --shard", quiet=quiet)
        return
    for path in write_sweep(cells, results, output, layout):
        print(path)


def _values(name: str, text: str | None) -> list[Any]:
    if text is None:
        return []
    try:
        values = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError:
        values = None
    if not values or any(isinstance(value, dict | list) for value in values):
        raise InputError(name, text, "values separated by commas")
    return list(values)
