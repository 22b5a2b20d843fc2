"""`ezaudio train`."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ezaudio.cli.options import Quiet
from ezaudio.cli.progress import SEPARATOR, STOPPED_BY, note, progress_bars

if TYPE_CHECKING:
    import torch
    from rich.progress import TaskID

    from ezaudio.training.loop.task import Plan
    from ezaudio.training.loop.trainer import Callback, Job, Progress
    from ezaudio.training.recipe import Recipe
    from ezaudio.training.runner import Ended


_RATE_SIZE = 768
_RATE_S = 0.3
_SHARE_OF_RATE = 0.4
"""Of the rate of large matrix products, what a step reaches where no step was tried."""

"""Columns that name, bar, count and time left take."""


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A YAML file, or a bundled recipe: starter, paper-l, …", show_default=False
        ),
    ],
    *,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A value of the recipe, such as stages.align.run.steps=500; repeatable.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the folder of the run stands.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would take, and do nothing.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train what a recipe says, stage by stage; under torchrun on many processes."""
    from ezaudio.training.recipe import read_recipe

    read = read_recipe(recipe, values or [])
    if dry_run:
        show_plan(read)
        return
    from ezaudio.training.loop.distributed import Engine
    from ezaudio.training.runner import is_begun, run_recipe

    engine = Engine(read.engine)
    try:
        if resume and engine.main and not is_begun(read):
            note("nothing to go on with: this run begins.", quiet=quiet)
        with progress_lines(quiet=quiet or not engine.main) as tell:
            ended = run_recipe(read, engine, resume=resume, tell=tell)
        if engine.main:
            show_end(ended, quiet=quiet)
    finally:
        engine.close()
    last = ended[-1].outcome
    if last is not None and last.stopped_by is not None:
        raise typer.Exit(STOPPED_BY + last.stopped_by)


def show_plan(recipe: Recipe) -> None:
    """Print what each stage takes."""
    import os

    from ezaudio.nn.precision import fast_in_bfloat16

    world = int(os.environ.get("WORLD_SIZE", "1"))
    device, half = recipe.engine.where(), recipe.engine.in_bfloat16()
    slow = half and not fast_in_bfloat16(device)
    matrices: float | None = None
    for job in recipe.jobs():
        plan = job.plan(world)
        # A bfloat16 step without instructions for it may take minutes, which is no trial.
        speed = "of a trial step here"
        rate = plan.trial(device, half and not slow) if plan.trial is not None else None
        if rate is None:
            matrices = matrices or matrix_rate(device, bf16=half and not slow)
            rate, speed = _SHARE_OF_RATE * matrices, "guessed from matrix products here"
        if slow:
            speed += ", in float32: this processor has no instructions for bfloat16"
        for name, value in plan_lines(job, plan, rate=rate, speed=speed, world=world):
            print(f"{name:>12}  {value}")
        print()


def plan_lines(
    job: Job, plan: Plan, *, rate: float, speed: str, world: int
) -> list[tuple[str, str]]:
    """Say what a stage takes, as names and values.

    Args:
        job: The stage.
        plan: What was counted.
        rate: Operations per second that a step makes on a process.
        speed: How that was found.
        world: Processes.
    """
    trained = "" if plan.trainable == plan.parameters else f", {_count(plan.trainable)} trained"
    memory = f"{_gib(plan.state_bytes)} of weights, gradients, optimiser and averages"
    if plan.activation_bytes:
        memory += f"; about {_gib(plan.activation_bytes)} of activations"
    lines = [
        ("stage", f"{job.name} -> {job.folder}"),
        ("parameters", f"{_count(plan.parameters)}{trained}"),
        ("memory", memory),
        ("steps", f"{job.run.steps:,}"),
    ]
    if plan.step_flops:
        step_s = plan.step_flops / world / rate
        all_s = step_s * job.run.steps
        total = f"{_time(all_s)} in all"
        if job.run.hours and all_s > 3600 * job.run.hours:
            steps = int(3600 * job.run.hours / step_s)
            total = f"{job.run.hours:g} h in all, which are about {steps:,} steps"
        rates = f"{world} x {rate / 1e9:,.0f} GFLOP/s, {speed}"
        lines += [
            ("time", f"about {_time(step_s)} a step, {total}, by {rates}"),
            ("operations", f"{plan.step_flops / 1e9:,.1f} GFLOP a step"),
        ]
    if job.run.hours:
        lines.append(("bound", f"{job.run.hours:g} h, whichever comes first"))
    return [*lines, *plan.notes.items()]


def matrix_rate(device: torch.device, *, bf16: bool) -> float:
    """Operations per second of large matrix products on this machine, measured in 0.3 s."""
    import torch

    kind = torch.bfloat16 if bf16 else torch.float32
    a = torch.ones(_RATE_SIZE, _RATE_SIZE, device=device, dtype=kind)
    float((a @ a)[0, 0])
    count, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < _RATE_S:
        product = a @ a
        float(product[0, 0])  # waits for it
        count += 1
    return 2.0 * _RATE_SIZE**3 * count / spent


@contextmanager
def progress_lines(*, quiet: bool) -> Iterator[Callable[[Job], Callback | None]]:
    """Give what asks for each stage who is told of its steps: a bar on stderr."""
    if quiet:
        yield lambda job: None
        return
    bar = progress_bars(facts=True, transient=False, refresh_per_second=2)

    def tell(job: Job) -> Callback:
        lines: list[TaskID] = []  # none before the first step: what cannot begin has no bar

        def callback(progress: Progress) -> None:
            total = progress.steps
            if progress.progress > progress.step / progress.steps:  # hours bound the run
                total = max(progress.step, round(progress.step / progress.progress))
            if not lines:
                bar.start()
                lines.append(bar.add_task(job.name, total=total, facts=""))
            bar.update(lines[0], completed=progress.step, total=total, facts=facts(progress))

        return callback

    try:
        yield tell
    finally:
        if bar.tasks:
            bar.stop()


def facts(progress: Progress) -> str:
    """What is worth seeing of a step, the most important first."""
    values = progress.values
    shown = [f"loss {values['loss']:.4f}", f"{progress.step_s * 1000:.0f} ms"]
    if "gradient_norm" in values:
        shown.append(f"norm {values['gradient_norm']:.2f}")
    if "sound_s" in values and progress.step_s:
        shown.append(f"{values['sound_s'] / progress.step_s:.0f} x real time")
    shown.append(_gib(progress.memory_bytes))
    return SEPARATOR.join(shown)


def show_end(ended: list[Ended], *, quiet: bool) -> None:
    """Print the files that were made on stdout, and how stages ended on stderr."""
    for each in ended:
        outcome, name = each.outcome, each.job.name
        if outcome is None:
            note(f"{name}: was complete.", quiet=quiet)
            continue
        measured = outcome.measured.get(each.job.run.best_by)
        loss = "" if measured is None else f", {each.job.run.best_by} {measured:.4f}"
        if outcome.stopped_by is None:
            note(f"{name}: {outcome.step} steps{loss}.", quiet=quiet)
        else:
            by = signal.Signals(outcome.stopped_by).name
            note(f"{name}: stopped by {by} after step {outcome.step}; --resume goes on.")
        for path in outcome.exported:
            print(path)


def _count(number: int) -> str:
    return f"{number / 1e6:,.1f} M" if number >= 1e5 else f"{number:,}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**27 else f"{size / 2**20:.1f} MiB"


def _time(seconds: float) -> str:
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
