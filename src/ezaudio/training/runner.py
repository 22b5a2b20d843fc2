"""From a recipe to weights: its stages one after another, each resumable."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import yaml

from ezaudio.checkpoints import write_bytes
from ezaudio.config import dump_config
from ezaudio.errors import InputError, OutputError
from ezaudio.training.loop.checkpointing import differences
from ezaudio.training.loop.distributed import Engine
from ezaudio.training.loop.trainer import CHECKPOINTS, Callback, Job, Outcome, train
from ezaudio.training.recipe import Recipe

RECIPE = "recipe.yaml"
DONE = "done.json"
Tell: TypeAlias = Callable[[Job], Callback | None]
"""Asked for each stage who is told of its steps."""


@dataclass(frozen=True)
class Ended:
    """A stage that ended.

    Attributes:
        job: The stage.
        outcome: How; None where it was complete before.
    """

    job: Job
    outcome: Outcome | None


def run_recipe(
    recipe: Recipe, engine: Engine, *, resume: bool = False, tell: Tell | None = None
) -> list[Ended]:
    """Train all stages of a recipe.

    Args:
        recipe: What to train.
        engine: The processes.
        resume: Go on where the folders stand; complete stages are left alone.
        tell: Who is told of the steps.

    Returns:
        The stages up to the last one, or up to the one that a signal stopped.

    Raises:
        InputError: A folder has a run and `resume` is not set, or it is a run of another recipe.
        EzAudioError: As `train`.
    """
    ended: list[Ended] = []
    for job in recipe.jobs():
        if resume and is_done(job):
            ended.append(Ended(job, None))
            continue
        outcome = run_job(job, engine, resume=resume, callback=tell(job) if tell else None)
        ended.append(Ended(job, outcome))
        if outcome.stopped_by is not None:
            break
    return ended


def run_job(
    job: Job, engine: Engine, *, resume: bool = False, callback: Callback | None = None
) -> Outcome:
    """Train one stage."""
    check_folder(job, resume=resume)
    engine.barrier()
    task = job.make(engine)
    if engine.main:
        _write(job.folder / RECIPE, dump_config(job.config))
    outcome = train(
        task,
        job.run,
        engine,
        folder=job.folder,
        schedule=job.schedule,
        resume=resume,
        callback=callback,
    )
    if engine.main and outcome.stopped_by is None:
        facts = {"steps": job.run.steps, "step": outcome.step, "measured": outcome.measured}
        _write(job.folder / DONE, json.dumps(facts) + "\n")
    engine.barrier()
    return outcome


def is_done(job: Job) -> bool:
    """Whether a stage is complete, with as many steps as it is to have."""
    try:
        facts = json.loads((job.folder / DONE).read_text(encoding="utf-8"))
        return bool(facts["steps"] == job.run.steps)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def is_begun(recipe: Recipe) -> bool:
    """Whether there is anything to go on with."""
    return any(is_done(job) or _has_run(job) for job in recipe.jobs())


def _has_run(job: Job) -> bool:
    return any((job.folder / CHECKPOINTS).glob("[0-9]*"))


def check_folder(job: Job, *, resume: bool) -> None:
    """Refuse to lose a run, or to go on with another one.

    Raises:
        InputError: See `run_recipe`.
    """
    has_run = _has_run(job)
    if has_run and not resume:
        allowed = "a folder without checkpoints, or --resume to go on with the run there"
        raise InputError("output", str(job.folder), allowed)
    if not has_run:
        return
    try:
        before = yaml.safe_load((job.folder / RECIPE).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return
    now = yaml.safe_load(dump_config(job.config))
    for field, old, new in differences(before, now):
        raise InputError(field, new, f"{old!r}, as in the run that is to go on in {job.folder}")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from None
    write_bytes(path, text.encode())
