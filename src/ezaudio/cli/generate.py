"""`ezaudio generate`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Any

import typer

from ezaudio.cli.options import (
    BatchSize,
    Loras,
    Output,
    Quiet,
    Spectrogram,
    format_option,
    options_from,
    part_of,
)
from ezaudio.cli.progress import Results, note, progress_bar
from ezaudio.errors import InputError, OutputError
from ezaudio.pipelines.catalogue import Model, find_model
from ezaudio.pipelines.components import check_defaults, resolve_device, resolve_dtype
from ezaudio.pipelines.ezaudio import DEFAULT_BATCH_SIZE, MAX_BATCH_SIZE, EzAudio
from ezaudio.pipelines.generate import Request, check_requests
from ezaudio.pipelines.lora import choose_adapters
from ezaudio.pipelines.options import (
    GenerateOptions,
    ModelOptions,
    check_count,
    check_prompt,
    resolve_options,
)
from ezaudio.pipelines.outputs import Wanted, plan_files
from ezaudio.pipelines.rows import read_rows

Format = format_option()


@options_from(ModelOptions, GenerateOptions)
def generate(
    prompts: Annotated[list[str] | None, typer.Argument(help="What is heard.")] = None,
    *,
    output: Output = None,
    prompts_file: Annotated[
        Path | None,
        typer.Option(show_default=False, help="A prompt a line (.txt), .csv, or .jsonl."),
    ] = None,
    format: Format = None,  # type: ignore[valid-type]
    spectrogram: Spectrogram = False,
    lora: Loras = None,
    batch_size: BatchSize = DEFAULT_BATCH_SIZE,
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Make sounds from prompts, and print the names of their files."""
    where, model = checked_model(settings)
    check_count(batch_size, "batch_size", MAX_BATCH_SIZE)
    requests = _requests(prompts or [], prompts_file, model, part_of(settings, GenerateOptions))
    check_requests(requests, model.card.max_duration_s)
    check_pictures(spectrogram)
    loras = choose_adapters(loras=lora or [])
    files = plan_files(
        output,
        [Wanted(r.prompt, r.output, r.options.num) for r in requests],
        format=format,
        pictures=spectrogram,
        folder=prompts_file is not None or len(requests) > 1,
    )
    results = Results()
    with files.prepared():
        ready = EzAudio.from_pretrained(
            where.model, device=where.device, dtype=where.dtype, loras=loras
        )
        samples = sum(r.options.num * r.options.duration_s for r in requests) * ready.sample_rate
        files.check_space(int(samples))
        with progress_bar("generating", quiet=quiet) as callback:
            made = ready.generate_each(requests, batch_size=batch_size, callback=callback)
            for index, sound in made:
                results.add(sound.save(files.paths[index], spectrogram=spectrogram))
        results.show()


def checked_model(settings: dict[str, Any]) -> tuple[ModelOptions, Model]:
    """Find the model and check where it is to run, without loading it."""
    where = resolve_model_options(settings)
    model = find_model(where.model)
    resolve_dtype(where.dtype, resolve_device(where.device))
    check_defaults(model)
    return where, model


def resolve_model_options(settings: dict[str, Any]) -> ModelOptions:
    """Read the options that choose model, device and precision."""
    from ezaudio.config import load_config

    return load_config(ModelOptions, part_of(settings, ModelOptions))


def check_pictures(wanted: bool) -> None:
    """Refuse pictures where nothing can draw them, before the work begins."""
    if wanted and importlib.util.find_spec("matplotlib") is None:
        raise OutputError("a spectrogram needs matplotlib: pip install 'ezaudio[plot]'")


def _requests(
    prompts: list[str], file: Path | None, model: Model, given: dict[str, Any]
) -> list[Request]:
    defaults = model.card.defaults
    options = resolve_options(GenerateOptions, defaults, given)
    if file is not None:
        if prompts:
            raise InputError("prompts_file", str(file), "either this or prompts, not both")
        return read_rows(file, defaults, given, tell=note)
    if not prompts:
        raise InputError("prompt", "", "at least one prompt, or --prompts-file")
    return [Request(check_prompt(prompt), options) for prompt in prompts]
