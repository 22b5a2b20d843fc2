"""From a folder of sounds to an adapter's file: what `ezaudio train lora` does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ezaudio.data.manifest import ClipRow
from ezaudio.errors import EzAudioError, InputError
from ezaudio.pipelines import load_components
from ezaudio.pipelines.catalogue import Model, find_model
from ezaudio.pipelines.components import base_of_model, resolve_device, resolve_dtype
from ezaudio.pipelines.outputs import try_to_write
from ezaudio.training.lora import LoRARecipe, LoRATask
from ezaudio.training.lora_sounds import encode_sounds, find_sounds
from ezaudio.training.run import Run, use_threads

RECIPE = Path(__file__).parents[1] / "recipes" / "lora.yaml"
_STATE = "state.pt"

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
        skipped: why sounds were left out, a line each.
    """

    task: LoRATask
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class Trained:
    """What a run made.

    Attributes:
        path: the adapter's file.
        measured: losses on the held-out sounds, with the adapter and without it.
    """

    path: Path
    measured: Mapping[str, float]


def prepare(job: LoRAJob, recipe: LoRARecipe, callback: Callback | None = None) -> Prepared:
    """Find and encode the sounds, load the model, and put a fresh adapter on it.

    Raises:
        InputError: a setting, the model or the sounds cannot be used; a run waits to be resumed, or
            there is none.
        CheckpointError: the model is damaged.
        OutputError: the adapter could not be written.
    """
    model, root, rows = check_job(job, recipe)
    use_threads(recipe.run)
    parts = load_components(model, device=job.device, dtype=job.dtype)
    base = base_of_model(model, parts.files["dit"])

    def encoding(done: int, total: int) -> None:
        if callback is not None:
            callback("encoding", done, total)

    store, skipped = encode_sounds(root, rows, parts.vae, callback=encoding)
    task = LoRATask(parts, base, store, recipe, file_name=job.output.name)
    return Prepared(task, tuple(skipped))


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
    unfinished = (job.folder / _STATE).exists()
    if unfinished and not job.resume:
        allowed = f"--resume goes on with the run in {job.folder}; or remove that folder"
        raise InputError("output", str(job.output), allowed)
    if job.resume and not unfinished:
        raise InputError("resume", str(job.folder), "a folder with an unfinished run")


def fit(prepared: Prepared, job: LoRAJob, callback: Callback | None = None) -> Trained:
    """Fit the adapter, and write its file at every save and at the end.

    Ctrl-C keeps the state for `resume`.

    Raises:
        EzAudioError: the loss is not finite; the message names the step and its sounds.
        InputError: the run that is to be resumed had other sounds, another model or recipe.
        OutputError: the adapter or the state cannot be written.
    """
    task, recipe = prepared.task, prepared.task.recipe
    run = Run(job.folder, recipe.run, task.parts())

    def step(run: Run) -> dict[str, float]:
        rate = recipe.optim.rate_at(run.progress, run.step) / recipe.optim.rate
        values = task.step(run.step, rate)
        for name, value in values.items():
            if not math.isfinite(value):
                what, sounds = name.replace("_", " "), task.describe(run.step)
                raise EzAudioError(f"step {run.step}: the {what} is {value}; sounds: {sounds}")
        if callback is not None:
            callback("training", run.step + 1, recipe.run.steps)
        return values

    def at_save(run: Run) -> dict[str, float]:
        measured = task.validate()
        task.export(job.output.parent, step=run.step)
        return measured

    try:
        run.loop(step, at_save)
    except KeyboardInterrupt:
        run.save()
        raise
    with suppress(OSError):
        (job.folder / _STATE).unlink()
    return Trained(job.output, task.measured)
