"""Finished training runs side by side: a table and a picture of their validation losses.

    python benchmarks/training_curves.py RUNS/NAME-s0 RUNS/NAME-s1 RUNS/OTHER-s0 ... \
        --picture curves.png [--against NAME]

Runs whose folders differ in the seed at their end alone (`-s0`, `-s1`, ...) are one line: the mean,
and the range. Runs of several stages are shown from their last stage on, counted in steps of all
stages. Runs with one seed see the same batches, so a run is compared with the one of `--against`
that has its seed. The time of a step is the median of a run, of the least disturbed of its seeds.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ezaudio.training.recipe import DiffusionRecipe, read_recipe
from ezaudio.training.tasks.plan import measure

COLOURS = {"full": "tab:blue", "single": "tab:orange", "sola": "tab:green"}
ROWS, FRAMES = 8, 75


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        name: folder without the seed.
        seed: the number at the folder's end.
        recipe: what it depended on.
        steps: at which it was measured, stages before the last one counted.
        losses: on the validation split, of the average that measured best.
        by_level: the last losses by noise level.
        step_s: median time of a step of the last stage.
    """

    name: str
    seed: int
    recipe: DiffusionRecipe
    steps: tuple[int, ...]
    losses: tuple[float, ...]
    by_level: dict[int, float]
    step_s: float


def read_run(folder: Path) -> Run:
    """Read a run from its folder.

    Raises:
        ValueError: the folder's name ends in no seed, or nothing was measured.
    """
    found = re.fullmatch(r"(.+?)-s(\d+)", folder.name)
    if found is None:
        raise ValueError(f"{folder}: a name that ends in -s and the seed is wanted")
    logs = sorted(folder.rglob("log.jsonl"), key=lambda path: (path.stat().st_mtime_ns, path))
    *earlier, lines = [_lines(log) for log in logs] or [[]]
    measured = [line for line in lines if "valid_loss" in line]
    if not measured:
        raise ValueError(f"{folder}: no validation loss was logged")
    recipe = read_recipe(_recipe_of(folder, logs[-1]))
    assert isinstance(recipe, DiffusionRecipe)
    before = sum(stage[-1]["step"] for stage in earlier if stage)
    levels = {
        int(key.removeprefix("valid_loss_t")): value
        for key, value in measured[-1].items()
        if re.fullmatch(r"valid_loss_t\d+", key)
    }
    return Run(
        name=found[1],
        seed=int(found[2]),
        recipe=recipe,
        steps=tuple(before + line["step"] for line in measured),
        losses=tuple(line["valid_loss"] for line in measured),
        by_level=levels,
        step_s=statistics.median(line["step_s"] for line in lines if "step_s" in line),
    )


def _lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def _recipe_of(folder: Path, log: Path) -> Path:
    """The recipe beside the log, or in a folder above it."""
    for place in (log.parent, folder):
        if (place / "recipe.yaml").is_file():
            return place / "recipe.yaml"
    raise ValueError(f"{folder}: no recipe.yaml")


def grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by name, in the order in which they came, seeds ascending."""
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        groups.setdefault(run.name, []).append(run)
    return {name: groups[name] for name in dict.fromkeys(run.name for run in runs)}


def lowest(run: Run) -> float:
    """Loss at the end of a run."""
    return run.losses[-1]


def row(name: str, runs: Sequence[Run], reference: Sequence[Run]) -> dict[str, Any]:
    """What the table says of the runs of one name.

    Args:
        name: of the runs.
        runs: one per seed.
        reference: runs that theirs are compared with, seed by seed.
    """
    stage = list(runs[0].recipe.stages.values())[-1]
    parameters, _, kept = measure(runs[0].recipe.model, stage, rows=ROWS, frames=FRAMES)
    ends = [lowest(run) for run in runs]
    known = {run.seed: lowest(run) for run in reference}
    apart = [lowest(run) - known[run.seed] for run in runs if run.seed in known]
    return {
        "name": name,
        "parameters": parameters,
        "memory_mib": round((kept + 16 * parameters) / 2**20, 1),
        "step_s": min(run.step_s for run in runs),
        "seeds": len(runs),
        "loss": round(statistics.mean(ends), 4),
        "loss_range": [round(min(ends), 4), round(max(ends), 4)],
        "above_reference": [round(value, 4) for value in apart],
    }


def draw(groups: dict[str, list[Run]], path: Path) -> None:
    """Draw mean and range of the validation loss over steps, and its last value by noise level."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    curves, levels = figure.subplots(1, 2, width_ratios=(3, 2))
    kinds = {runs[0].recipe.model.adaln.kind for runs in groups.values()}
    for place, (name, runs) in enumerate(groups.items()):
        model = runs[0].recipe.model
        colour = COLOURS[model.adaln.kind] if len(kinds) > 1 else f"C{place}"
        style = "-" if model.long_skips else "--"
        values = list(zip(*(run.losses for run in runs), strict=True))
        mean = [statistics.mean(value) for value in values]
        curves.plot(runs[0].steps, mean, style, color=colour, label=name)
        low, high = [min(value) for value in values], [max(value) for value in values]
        curves.fill_between(runs[0].steps, low, high, color=colour, alpha=0.12, lw=0)
        known = sorted(runs[0].by_level)
        means = [statistics.mean(run.by_level[level] for run in runs) for level in known]
        levels.plot(known, means, style, color=colour, marker=".")
    ends = [lowest(run) for runs in groups.values() for run in runs]
    curves.set(xlabel="step", ylabel="validation loss", ylim=(min(ends) - 0.01, max(ends) + 0.12))
    levels.set(xlabel="diffusion step", ylabel="validation loss at the end")
    curves.legend(frameon=False)
    for axes in (curves, levels):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| runs | parameters | memory | step | seeds | validation loss (range) | above reference |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in rows:
        low, high = each["loss_range"]
        apart = ", ".join(f"{value:+.4f}" for value in each["above_reference"])
        loss = f"{each['loss']:.4f} ({low:.4f} to {high:.4f})"
        lines.append(
            f"| {each['name']} | {each['parameters']:,} | {each['memory_mib']:.0f} MiB "
            f"| {1000 * each['step_s']:.0f} ms | {each['seeds']} | {loss} | {apart} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read runs, print the table, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders NAME-sSEED of finished runs")
    parser.add_argument("--picture", type=Path, help="PNG")
    parser.add_argument("--report", type=Path, help="the table as JSON")
    parser.add_argument("--against", help="name of the runs that others are compared with")
    options = parser.parse_args(arguments)
    try:
        groups = grouped([read_run(folder) for folder in options.runs])
    except ValueError as error:
        parser.error(str(error))
    reference = groups.get(options.against or next(iter(groups)), [])
    rows = [row(name, runs, reference) for name, runs in groups.items()]
    sys.stdout.write(table(rows) + "\n")
    if options.report:
        options.report.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if options.picture:
        draw(groups, options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
