"""`ezaudio paper`: the paper's figures and tables, one command each, at full size and in small."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ezaudio.cli.evaluate import Device, Folder, Processes, progress_lines
from ezaudio.cli.options import Quiet, options_from, part_of
from ezaudio.cli.progress import note
from ezaudio.config import load_config
from ezaudio.errors import InputError
from ezaudio.evaluation.options import EvaluationOptions
from ezaudio.evaluation.paper import (
    ABLATION,
    CAPTIONS,
    FACTORS,
    PROTOCOL,
    RESCALED_AT,
    SCALES,
    TRAINED,
    PaperRun,
)

if TYPE_CHECKING:
    from ezaudio.cli.paper_small import Small
    from ezaudio.evaluation.sweep import Cell, Run
    from ezaudio.training.recipe import Recipe


@dataclass(frozen=True)
class Wanted:
    """A command line, taken apart.

    Attributes:
        experiment: name in `EXPERIMENTS`.
        output: where everything goes.
        options: how it is scored.
        small: sizes and data of the experiment in small; None for full size.
        train: train at full size what is not trained yet.
        model: that Figure 3 looks at.
        systems: file of systems for Table 3.
        device: where sounds are made.
        processes: how many make sounds.
        quiet: no progress.
    """

    experiment: str
    output: Path
    options: EvaluationOptions
    small: Small | None
    train: bool
    model: str | None
    systems: Path | None
    device: str
    processes: int
    quiet: bool

    def ablation(self) -> dict[str, Any]:
        """How the ablations are sampled."""
        return {**ABLATION, **({"steps": 10} if self.small is not None else {})}


@options_from(EvaluationOptions)
def paper(
    experiment: Annotated[
        str,
        typer.Argument(
            help="figure-2, table-1, table-2, table-3, figure-3, or figure-4: the listening test.",
            show_default=False,
        ),
    ],
    *,
    output: Folder,
    small: Annotated[
        bool, typer.Option("--small", help="In minutes: small networks, few sounds.")
    ] = False,
    clips: Annotated[
        Path | None,
        typer.Option(
            help="--small: a list of recordings; else the bundled model makes the sounds.",
            show_default=False,
        ),
    ] = None,
    train_steps: Annotated[
        int, typer.Option(help="--small: steps of each network, all stages together.", min=6)
    ] = 180,
    train: Annotated[
        bool, typer.Option("--train", help="Train what is not trained yet, at full size too.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="figure-3: the model; else xl.", show_default=False)
    ] = None,
    systems: Annotated[
        Path | None,
        typer.Option(
            help="table-3: a file of systems (`ezaudio compare --show-peers`); else l and xl.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    processes: Processes = 1,
    quiet: Quiet = False,
    **given: Any,
) -> None:
    """Reproduce a figure or a table of the paper."""
    if experiment not in EXPERIMENTS:
        raise InputError("experiment", experiment, f"one of {', '.join(EXPERIMENTS)}")
    scaled = None
    if small:
        from ezaudio.cli.paper_small import Small

        scaled = Small(output / "data", clips, train_steps)
    elif clips is not None:
        raise InputError("clips", str(clips), "only with --small")
    options = load_config(EvaluationOptions, part_of(given, EvaluationOptions))
    wanted = Wanted(
        experiment, output, options, scaled, train, model, systems, device, processes, quiet
    )
    for path in EXPERIMENTS[experiment](wanted):
        print(path)


def _trained(wanted: Wanted) -> list[Path]:
    """Figure 2, Tables 1 and 2: compare trained networks."""
    from ezaudio.evaluation.sweep import cells_of_runs

    experiment = TRAINED[wanted.experiment]
    places = [(run, _run_folder(run, wanted)) for run in experiment.runs]
    runs: list[Run] = []
    for run, folder in places:
        models = experiment.checkpoints(folder) or [folder]
        runs += [_sweep_run(run, model, wanted) for model in models]
    cells = cells_of_runs(runs, wanted.ablation(), wanted.output)
    return _scored(cells, wanted, {"": cells})


def _sweep_run(run: PaperRun, model: Path, wanted: Wanted) -> Run:
    from ezaudio.evaluation.sweep import Run

    columns = dict(run.columns)
    if wanted.small is not None and "pairs" in columns:
        columns["pairs"] = wanted.small.pairs(run.recipe)
    published = {} if wanted.small is not None else dict(run.published)
    return Run(label=run.label, model=str(model), columns=columns, published=published)


def _run_folder(run: PaperRun, wanted: Wanted) -> Path:
    """The folder of a finished run, trained first where that is wanted.

    Raises:
        InputError: it is not finished; the message says how to train it.
    """
    from ezaudio.training.recipe import read_recipe
    from ezaudio.training.runner import is_done

    recipe: Recipe = read_recipe(run.recipe)
    if wanted.small is not None:
        recipe = wanted.small.recipe(run.recipe, wanted.output / "runs" / run.recipe)
    jobs = recipe.jobs()
    done = all(is_done(job) for job in jobs)
    if not done and not wanted.train and wanted.small is None:
        allowed = f"a finished run: `ezaudio train {run.recipe}`, or --train"
        raise InputError("runs", str(jobs[-1].folder), allowed)
    if not done:
        _train(recipe, wanted)
    return jobs[-1].folder


def _train(recipe: Recipe, wanted: Wanted) -> None:
    from ezaudio.cli.train import progress_lines as bars
    from ezaudio.training.loop.distributed import Engine
    from ezaudio.training.runner import run_recipe

    engine = Engine(recipe.engine)
    with bars(quiet=wanted.quiet) as tell:
        ended = run_recipe(recipe, engine, resume=True, tell=tell)
    last = ended[-1].outcome
    if last is not None and last.stopped_by is not None:
        raise KeyboardInterrupt


def _figure_3(wanted: Wanted) -> list[Path]:
    """Scores over CFG scales, and over rescaling factors at one scale."""
    from ezaudio.evaluation.sweep import grid_cells

    model = wanted.model or ("starter" if wanted.small is not None else "xl")
    scales: tuple[float, ...] = SCALES
    factors: tuple[float, ...] = FACTORS
    if wanted.small is not None:
        scales, factors = (1.0, 3.0, 5.0), (0.0, 0.5, 1.0)
    shared = wanted.ablation()
    if wanted.small is not None:
        shared.pop("eta")
    scaled = grid_cells(model, {**shared, "guidance_rescale": 0.0}, {"guidance_scale": scales})
    rescaled = grid_cells(
        model, {**shared, "guidance_scale": RESCALED_AT}, {"guidance_rescale": factors}
    )
    return _scored([*scaled, *rescaled], wanted, {"cfg-scale": scaled, "rescaling": rescaled})


def _scored(cells: list[Cell], wanted: Wanted, parts: Mapping[str, list[Cell]]) -> list[Path]:
    """Make and score all cells, and write a report of each part, with its name as its folder."""
    from ezaudio.evaluation.options import Layout
    from ezaudio.evaluation.prepare import prepare
    from ezaudio.evaluation.sweep import measure, write_sweep

    layout: Layout = "grid"
    if wanted.experiment in ("figure-2", "table-1", "table-2"):
        layout = wanted.experiment  # type: ignore[assignment]
    with progress_lines(quiet=wanted.quiet) as progress:
        plan, setup = prepare(_options(wanted), wanted.output, partial=True, progress=progress)
        results = measure(cells, plan, setup, processes=wanted.processes, device=wanted.device)
    if results is None:
        note(f"share {wanted.options.shard} is made; score without --shard", quiet=wanted.quiet)
        return []
    written: list[Path] = []
    for name, own in parts.items():
        folder = wanted.output / name
        folder.mkdir(parents=True, exist_ok=True)
        titles = {cell.name for cell in own}
        rows = tuple(r for r in results.rows if r.kind != "system" or r.title in titles)
        written += write_sweep(own, results.model_copy(update={"rows": rows}), folder, layout)
    return written


def _options(wanted: Wanted) -> EvaluationOptions:
    """What the paper scores, where the user says nothing else."""
    options = wanted.options
    if wanted.small is not None:
        data = wanted.small.prepared()
        changes: dict[str, Any] = {"manifest": str(data), "split": "valid", "limit": 24}
    else:
        changes = {"protocol": PROTOCOL, "manifest": CAPTIONS}
    given = options.model_fields_set
    return options.model_copy(update={n: v for n, v in changes.items() if n not in given})


def _table_3(wanted: Wanted) -> list[Path]:
    """Systems side by side, in the paper's rows and columns."""
    from ezaudio.checkpoints import read_module_info
    from ezaudio.evaluation.compare import differences, read_systems
    from ezaudio.evaluation.partial import keep_what_is_there
    from ezaudio.evaluation.prepare import prepare
    from ezaudio.evaluation.report import write_reports
    from ezaudio.evaluation.report.table_3 import table_3
    from ezaudio.evaluation.run import evaluate, make_all, require_extractors
    from ezaudio.evaluation.systems.ezaudio_model import EzAudioConfig
    from ezaudio.files import write_bytes
    from ezaudio.pipelines.catalogue import find_model

    configs: list[Any] = [
        EzAudioConfig(name=name, model=model, device=wanted.device)
        for name, model in (("EzAudio-L", "l"), ("EzAudio-XL", "xl"))
    ]
    if wanted.small is not None:
        configs = [EzAudioConfig(name="starter", model="starter", device=wanted.device)]
    if wanted.systems is not None:
        configs = list(read_systems(wanted.systems))
    built = [config.build() for config in configs]
    with progress_lines(quiet=wanted.quiet) as progress:
        plan, setup = prepare(_options(wanted), wanted.output, partial=True, progress=progress)
        plan, setup = keep_what_is_there(built, plan, setup)
        require_extractors(setup)
        make_all(list(zip(configs, built, strict=True)), plan, setup, processes=wanted.processes)
        results = evaluate(built, plan, replace(setup, anchors=()))
    sizes = {}
    for config in configs:
        found = find_model(config.model) if isinstance(config, EzAudioConfig) else None
        if found is not None and found.folder is not None:
            sizes[config.name] = read_module_info(found.folder / found.card.dit).parameters
    write_bytes(wanted.output / "table-3.md", table_3(results, sizes).encode())
    rest = [
        *write_reports(results, wanted.output, paper=True),
        *differences(results, wanted.output),
    ]
    return [wanted.output / "table-3.md", *rest]


def _figure_4(wanted: Wanted) -> list[Path]:
    """The listening test, from the sounds of Table 3."""
    from ezaudio.evaluation.listening.options import StudyOptions
    from ezaudio.evaluation.listening.study import build_study
    from ezaudio.evaluation.prepare import prepare
    from ezaudio.evaluation.run import in_order
    from ezaudio.evaluation.systems.folder import FolderConfig

    if not (wanted.output / "sounds").is_dir() or wanted.systems is not None:
        _table_3(wanted)
    plan, setup = prepare(_options(wanted), wanted.output, partial=True)
    folders = sorted(p for p in (wanted.output / "sounds").iterdir() if p.is_dir())
    systems = {
        folder.name: FolderConfig(name=folder.name, folder=folder).build().sounds(plan, folder)[0]
        for folder in folders
    }
    real = setup.reference
    if real is not None:
        real = in_order(real, [item.name for item in plan.items])
    prompts = min(30, len(plan.items))
    study = build_study(
        systems,
        real,
        StudyOptions(prompts=prompts, checks=min(3, prompts)),
        wanted.output / "study",
    )
    note(f"{len(study.trials)} sounds of {len(study.systems)} systems: ezaudio listen serve "
         f"{wanted.output / 'study'}", quiet=wanted.quiet)  # fmt: skip
    return [wanted.output / "study"]


EXPERIMENTS: Mapping[str, Callable[[Wanted], list[Path]]] = {
    "figure-2": _trained,
    "table-1": _trained,
    "table-2": _trained,
    "table-3": _table_3,
    "figure-3": _figure_3,
    "figure-4": _figure_4,
}
"""What can be reproduced."""
