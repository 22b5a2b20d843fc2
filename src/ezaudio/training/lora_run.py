"""From a folder of sounds to an adapter's file: what `ezaudio train lora` does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch

from ezaudio.data.manifest import ClipRow
from ezaudio.errors import InputError
from ezaudio.pipelines import load_components
from ezaudio.pipelines.catalogue import Model, find_model
from ezaudio.pipelines.components import base_of_model, resolve_device, resolve_dtype
from ezaudio.pipelines.outputs import try_to_write
from ezaudio.training.loop import trainer
from ezaudio.training.loop.distributed import Engine
from ezaudio.training.lora_sounds import encode_sounds, find_sounds
from ezaudio.training.tasks.lora import LoRARecipe, LoRATask

RECIPE = Path(__file__).parents[1] / "recipes" / "lora.yaml"

Callback: TypeAlias = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much."""


@dataclass(frozen=True)
class LoRAJob:
    """What is wanted.

    Attributes:
        sounds: a folder, or a list of sounds.
        output: the adapter's file.
        model: a name of the catalogue, or a folder.
        device: None or `auto` takes the best.
        dtype: precision of the frozen network; the adapter is float32.
        resume: go on with a run that was stopped.
    """

    sounds: Path
    output: Path
    model: str = "starter"
    device: str | None = None
    dtype: str | None = None
    resume: bool = False

    @property
    def folder(self) -> Path:
        """Where the run keeps its log and, until it is over, its state."""
        return self.output.with_suffix(".run")


@dataclass(frozen=True)
class Prepared:
    """A run that could begin.

    Attributes:
        task: with model and sounds in memory.
        engine: the processes.
        skipped: why sounds were left out, a line each.
    """

    task: LoRATask
    engine: Engine
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Trained:
    """What a run made.

    Attributes:
        path: the adapter's file; there is none yet where the run was stopped.
        measured: losses on the held-out sounds, with the adapter and without it.
        step: steps done.
        stopped_by: the signal that stopped it; None when it is complete.
    """

    path: Path
    measured: Mapping[str, float]
    step: int
    stopped_by: int | None = None


def prepare(job: LoRAJob, recipe: LoRARecipe, callback: Callback | None = None) -> Prepared:
    """Find and encode the sounds, load the model, and put a fresh adapter on it.

    Every process does it for itself: a folder of one's own sounds is small.

    Raises:
        InputError: a setting, the model or the sounds cannot be used; a run waits to be resumed, or
            there is none; the processes do not divide a batch.
        CheckpointError: the model is damaged.
        OutputError: the adapter could not be written.
    """
    model, root, rows = check_job(job, recipe)
    engine = _engine(job, recipe)
    device = "cpu" if engine.device.type == "cpu" else str(engine.device)
    parts = load_components(model, device=device, dtype=job.dtype)
    base = base_of_model(model, parts.files["dit"])

    def encoding(done: int, total: int) -> None:
        if callback is not None:
            callback("encoding", done, total)

    store, skipped = encode_sounds(root, rows, parts.vae, callback=encoding)
    task = LoRATask(parts, base, store, recipe, engine, file_name=job.output.name)
    return Prepared(task, engine, tuple(skipped))


def check_job(job: LoRAJob, recipe: LoRARecipe) -> tuple[Model, Path, list[ClipRow]]:
    """Refuse what can be refused before anything is loaded.

    Returns:
        The model, the folder of the sounds, and what is known of them.

    Raises:
        InputError: the output, the sounds, the model, device or precision cannot be used.
        OutputError: the adapter could not be written.
    """
    check_output(job)
    root, rows = find_sounds(job.sounds, valid_share=recipe.valid_share)
    model = find_model(job.model)
    resolve_dtype(job.dtype, resolve_device(job.device))
    return model, root, rows


def check_output(job: LoRAJob) -> None:
    """Refuse a place that cannot be written, and a run that would be lost.

    Raises:
        InputError: the ending, or `resume`.
        OutputError: the file cannot be written.
    """
    if job.output.suffix != ".safetensors":
        raise InputError("output", str(job.output), "a file that ends in .safetensors")
    try_to_write(job.output)
    unfinished = any((job.folder / trainer.CHECKPOINTS).glob("[0-9]*"))
    if unfinished and not job.resume:
        allowed = f"--resume goes on with the run in {job.folder}; or remove that folder"
        raise InputError("output", str(job.output), allowed)
    if job.resume and not unfinished:
        raise InputError("resume", str(job.folder), "a folder with an unfinished run")


def fit(prepared: Prepared, job: LoRAJob, callback: trainer.Callback | None = None) -> Trained:
    """Fit the adapter by the loop that trains everything, and write its file at the end.

    The folder of the run keeps log, checkpoints and, in `best`, the adapter that measured best.
    SIGTERM and Ctrl-C save, and leave the rest to `resume`.

    Args:
        prepared: model and sounds.
        job: what is wanted.
        callback: told after each step.

    Raises:
        DivergedError: the loss is not finite, or exploded; the message names the step and its
            sounds.
        InputError: the run that is to be resumed had other sounds, another model or recipe.
        OutputError: the adapter or a checkpoint cannot be written.
    """
    task, engine, recipe = prepared.task, prepared.engine, prepared.task.recipe
    outcome = trainer.train(
        task,
        recipe.run,
        engine,
        folder=job.folder,
        schedule=recipe.optim,
        resume=job.resume,
        callback=callback,
    )
    if outcome.stopped_by is None:
        if engine.main:
            os.replace(outcome.exported[0], job.output)  # the average that measured best
            shutil.rmtree(job.folder / trainer.CHECKPOINTS, ignore_errors=True)
        engine.barrier()
    return Trained(job.output, outcome.measured, outcome.step, outcome.stopped_by)


def _engine(job: LoRAJob, recipe: LoRARecipe) -> Engine:
    """The processes, on the model's device; several share the accelerators of the machine."""
    if recipe.engine.sharding != "none":
        allowed = "none: the network of an adapter fits every process whole"
        raise InputError("engine.sharding", recipe.engine.sharding, allowed)
    place = resolve_device(job.device)
    if place.type == "cuda" and place.index is not None:
        torch.cuda.set_device(place)
    settings = {"device": "cpu" if place.type == "cpu" else "auto"}
    return Engine(recipe.engine.model_copy(update=settings))
