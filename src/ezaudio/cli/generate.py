"""`ezaudio generate`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ezaudio.cli.options import (
    AsJson,
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
from ezaudio.cli.streams import DASH, check_stdout, write_stdout
from ezaudio.config import load_config
from ezaudio.errors import InputError, OutputError
from ezaudio.pipelines.options import (
    DEFAULT_BATCH_SIZE,
    MAX_BATCH_SIZE,
    GenerateOptions,
    ModelOptions,
    check_count,
    check_prompt,
    resolve_options,
)

if TYPE_CHECKING:
    from ezaudio.pipelines.catalogue import Model
    from ezaudio.pipelines.generate import Request
    from ezaudio.pipelines.outputs import Files

Format = format_option()

_NO_SOUND_ALONE = frozenset(
    ("a", "an", "the", "in", "on", "at", "of", "to", "and", "or", "then", "with", "from", "by",
     "is", "are", "as", "into", "over", "under", "while", "after", "before", "near", "through")
)  # fmt: skip
"""Words that are no prompt of their own: where one stands alone, a sentence lost its quotes."""


@options_from(ModelOptions, GenerateOptions)
def generate(
    prompts: Annotated[
        list[str] | None,
        typer.Argument(
            help='What is heard, in quotes; several make several sounds, "" makes any sound.'
        ),
    ] = None,
    *,
    output: Output = None,
    prompts_file: Annotated[
        Path | None,
        typer.Option(
            show_default=False,
            help="A prompt a line (.txt), .csv, or .jsonl; - is the standard input.",
        ),
    ] = None,
    format: Format = None,  # type: ignore[valid-type]
    spectrogram: Spectrogram = False,
    manifest: Annotated[
        Path | None,
        typer.Option(show_default=False, help="Write a list (CSV) of what was made there."),
    ] = None,
    lora: Loras = None,
    batch_size: BatchSize = DEFAULT_BATCH_SIZE,
    as_json: AsJson = False,
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Make sounds from prompts, and print the names of their files in the order of the prompts."""
    where, model = checked_model(settings)
    check_count(batch_size, "batch_size", MAX_BATCH_SIZE)
    texts = _sentences(prompts or [], output, quiet=quiet)
    requests = _requests(texts, prompts_file, model, part_of(settings, GenerateOptions))
    check_pictures(spectrogram)

    from ezaudio.pipelines.ezaudio import EzAudio
    from ezaudio.pipelines.generate import check_requests
    from ezaudio.pipelines.lora import choose_adapters
    from ezaudio.pipelines.manifest import Made

    check_requests(requests, model.card.max_duration_s)
    loras = choose_adapters(loras=lora or [])
    in_folder = prompts_file is not None or len(requests) > 1
    files = _files(requests, output, format, pictures=spectrogram, folder=in_folder)
    made = Made(manifest)

    def load() -> EzAudio:
        return EzAudio.from_pretrained(
            where.model, device=where.device, dtype=where.dtype, loras=loras
        )

    if files is None:
        with progress_bar("generating", quiet=quiet) as callback:
            [(_, sound)] = load().generate_each(requests, callback=callback)
        write_stdout(sound, format)
        return
    with files.prepared(), made, Results(as_json=as_json) as results:
        ready = load()
        samples = sum(r.options.num * r.options.duration_s for r in requests) * ready.sample_rate
        files.check_space(int(samples))
        with progress_bar("generating", quiet=quiet) as callback:
            sounds = ready.generate_each(requests, batch_size=batch_size, callback=callback)
            for index, sound in sounds:
                path = files.save(index, sound, spectrogram=spectrogram)
                made.add(index, path, sound)
                results.add(index, path, sound)


def checked_model(settings: dict[str, Any]) -> tuple[ModelOptions, Model]:
    """Find the model and check where it is to run, without loading it."""
    from ezaudio.pipelines.catalogue import find_model
    from ezaudio.pipelines.components import check_defaults, resolve_device, resolve_dtype

    where = load_config(ModelOptions, part_of(settings, ModelOptions))
    model = find_model(where.model)
    resolve_dtype(where.dtype, resolve_device(where.device))
    check_defaults(model)
    return where, model


def check_pictures(wanted: bool) -> None:
    """Refuse pictures where nothing can draw them, before the work begins."""
    if wanted and importlib.util.find_spec("matplotlib") is None:
        raise OutputError("a spectrogram needs matplotlib: pip install 'ezaudio[plot]'")


def _sentences(prompts: list[str], output: Path | None, *, quiet: bool) -> list[str]:
    """Put a sentence together that came as single words, since its quotes were left out.

    Words are prompts of their own where the output is a folder and each could be one.
    """
    if len(prompts) < 2 or any(len(prompt.split()) != 1 for prompt in prompts):
        return prompts
    folder = output is not None and not output.suffix and str(output) != DASH
    if folder and not _NO_SOUND_ALONE & {prompt.casefold() for prompt in prompts}:
        return prompts
    sentence = " ".join(prompts)
    note(f'read as one prompt: "{sentence}" (quotes keep prompts apart)', quiet=quiet)
    return [sentence]


def _files(
    requests: list[Request],
    output: Path | None,
    format: str | None,
    *,
    pictures: bool,
    folder: bool,
) -> Files | None:
    """Names of the files to come; None for the standard output."""
    from ezaudio.formats import format_of
    from ezaudio.pipelines.outputs import Wanted, plan_files

    if str(output) == DASH:
        if pictures:
            raise InputError("spectrogram", True, "a file as output; there is no place beside -")
        format_of("", format or "wav")
        check_stdout(sum(request.options.num for request in requests))
        return None
    wanted = [Wanted(r.prompt, r.output, r.options.num) for r in requests]
    return plan_files(output, wanted, format=format, pictures=pictures, folder=folder)


def _requests(
    prompts: list[str], file: Path | None, model: Model, given: dict[str, Any]
) -> list[Request]:
    from ezaudio.pipelines.generate import Request, row_options
    from ezaudio.pipelines.rows import read_rows

    defaults = model.card.defaults
    options = resolve_options(GenerateOptions, defaults, given)
    if file is not None:
        if prompts:
            raise InputError("prompts_file", str(file), "either this or prompts, not both")
        return read_rows(file, defaults, given, tell=note)
    if not prompts:
        raise InputError("prompt", None, "at least one prompt in quotes, or --prompts-file")
    return [
        Request(check_prompt(prompt), row_options(options, row))
        for row, prompt in enumerate(prompts)
    ]
