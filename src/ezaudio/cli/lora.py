"""`ezaudio lora train` (also `ezaudio train lora`) and `ezaudio lora merge`."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ezaudio.cli.options import Quiet, Settings, options_from, part_of
from ezaudio.cli.progress import STOPPED_BY, note, progress_bars
from ezaudio.config import load_config
from ezaudio.errors import InputError
from ezaudio.pipelines.options import ModelOptions

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from ezaudio.training.loop.trainer import Progress
    from ezaudio.training.lora_run import Trained
    from ezaudio.training.tasks.lora import LoRAPlan

"""Columns that the name, the bar, the count and the time left take."""

lora = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Fit a model to your own sounds with a small adapter, or merge adapters into a model.",
)


Sounds = Annotated[
    Path,
    typer.Argument(
        help="A folder of sounds, or a CSV file with the columns file and caption.",
        show_default=False,
    ),
]


@lora.command()
@options_from(ModelOptions)
def train(
    sounds: Sounds,
    *,
    values: Settings = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The adapter's file, NAME.safetensors.")
    ],
    recipe: Annotated[
        Path | None, typer.Option(help="Another recipe than the bundled lora.yaml.")
    ] = None,
    exclude: Annotated[
        list[Path] | None,
        typer.Option(
            "--exclude", show_default=False, help="A list of sounds to keep out; repeatable."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was stopped.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")
    ] = False,
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Fit an adapter to your own sounds, and print the name of its file; under torchrun on many
    processes.

    Captions come from captions.csv in the folder, from NAME.txt beside NAME.wav, or from the names
    of the files.
    """
    from ezaudio.training.lora_run import RECIPE, LoRAJob, check_job, fit, is_complete, prepare
    from ezaudio.training.tasks.lora import LoRARecipe

    wanted = load_config(LoRARecipe, recipe or RECIPE, values or [])
    where = load_config(ModelOptions, part_of(settings, ModelOptions))
    place = (where.model, where.device, where.dtype)
    job = LoRAJob(sounds, output, *place, resume, tuple(exclude or ()))
    check_job(job, wanted)
    main = os.environ.get("RANK", "0") == "0"  # torchrun's; only the first process speaks
    quiet = quiet or not main
    if resume and is_complete(job, wanted):
        note("was complete.", quiet=quiet)
        return
    with _bar(quiet=quiet) as callback:
        prepared = prepare(job, wanted, callback)
        try:
            for line in prepared.skipped:
                note(f"left out: {line}", quiet=quiet)
            if dry_run:
                if main:
                    _show(prepared.task.plan(), job.folder)
                return
            note(_heard(prepared.task.plan()), quiet=quiet)
            made = fit(prepared, job, None if callback is None else callback.step)
        finally:
            prepared.engine.close()
    _show_end(made, quiet=quiet, main=main)


@lora.command()
def merge(
    model: Annotated[
        str, typer.Argument(help="Name of a model, or its folder.", show_default=False)
    ],
    adapters: Annotated[
        list[str],
        typer.Argument(
            metavar="LORA", help="Adapters as PATH or PATH:STRENGTH.", show_default=False
        ),
    ],
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="The new model's folder.")],
    name: Annotated[str | None, typer.Option(help="Of the new model.")] = None,
) -> None:
    """Write a model with adapters in its weights as a model folder of its own."""
    from ezaudio.pipelines.lora import choose_adapters
    from ezaudio.pipelines.merge import merge_model

    if name is not None and not name.strip():
        raise InputError("name", name, "a name")
    for path in merge_model(model, choose_adapters(loras=adapters), output, name=name):
        print(path)


def _heard(plan: LoRAPlan) -> str:
    measured = f", {plan.held_out} of them held out" if plan.held_out else ""
    return (
        f"{plan.sounds + plan.held_out} sounds, {plan.seconds:.1f} s{measured}; "
        f"{plan.trainable:,} parameters beside {plan.parameters:,}"
    )


def _show_end(made: Trained, *, quiet: bool, main: bool) -> None:
    """Print the adapter's file; a run that was stopped leaves with the signal's number."""
    if made.stopped_by is not None:
        by = signal.Signals(made.stopped_by).name
        note(f"stopped by {by} after step {made.step}; --resume goes on.", quiet=not main)
        raise typer.Exit(STOPPED_BY + made.stopped_by)
    if "base_loss" in made.measured:
        with_it, without = made.measured["valid_loss"], made.measured["base_loss"]
        note(f"loss {with_it:.4f} with the adapter, {without:.4f} without it", quiet=quiet)
    if main:
        print(made.path)


def _show(plan: LoRAPlan, folder: Path) -> None:
    print(f"sounds      {plan.sounds} to learn from, {plan.held_out} held out")
    print(f"length      {plan.seconds:.1f} s in all")
    print(f"network     {plan.parameters:,} parameters, frozen")
    print(f"adapter     {plan.trainable:,} parameters, {plan.state_bytes / 1e6:.1f} MB in training")
    print(f"steps       {plan.steps}")
    print(f"log, state  {folder}")


class _Lines:
    """A line of progress for each stage, from the first word of it on.

    Args:
        bars: Where the lines stand.
    """

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int, facts: str = "") -> None:
        """Move the line of a stage."""
        if not self.tasks:
            self.bars.start()
        if stage not in self.tasks:
            self.tasks[stage] = self.bars.add_task(stage, total=total, facts=facts)
        self.bars.update(self.tasks[stage], completed=done, facts=facts)

    def step(self, progress: Progress) -> None:
        """Move the line of the training."""
        from ezaudio.cli.train import facts

        self("training", progress.step, progress.steps, facts(progress))


@contextmanager
def _bar(*, quiet: bool) -> Iterator[_Lines | None]:
    """Give what moves bars on stderr; None when nothing is to be shown."""
    if quiet:
        yield None
        return
    bars = progress_bars(facts=True)
    try:
        yield _Lines(bars)
    finally:
        if bars.tasks:
            bars.stop()
