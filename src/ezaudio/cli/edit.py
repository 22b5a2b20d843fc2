"""`ezaudio edit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ezaudio.audio import read_audio
from ezaudio.cli.generate import Format, check_pictures, checked_model
from ezaudio.cli.options import BatchSize, Loras, Output, Quiet, Spectrogram, options_from, part_of
from ezaudio.cli.progress import Results, progress_bar
from ezaudio.errors import InputError
from ezaudio.pipelines.ezaudio import DEFAULT_BATCH_SIZE, MAX_BATCH_SIZE, EzAudio
from ezaudio.pipelines.lora import choose_adapters
from ezaudio.pipelines.options import (
    EditOptions,
    ModelOptions,
    check_count,
    check_prompt,
    resolve_options,
)
from ezaudio.pipelines.outputs import Wanted, plan_files
from ezaudio.pipelines.spans import check_spans


@options_from(ModelOptions, EditOptions)
def edit(
    sound: Annotated[Path, typer.Argument(help="The sound file.", show_default=False)],
    prompt: Annotated[str, typer.Argument(help="What is heard in the span.", show_default=False)],
    *,
    start: Annotated[
        list[float] | None, typer.Option(help="Where a span begins, in seconds; repeatable.")
    ] = None,
    end: Annotated[
        list[float] | None, typer.Option(help="Where it ends; past the sound's end is allowed.")
    ] = None,
    span: Annotated[
        list[str] | None, typer.Option(help="A span as START:END, in seconds; repeatable.")
    ] = None,
    output: Output = None,
    format: Format = None,
    spectrogram: Spectrogram = False,
    lora: Loras = None,
    batch_size: BatchSize = DEFAULT_BATCH_SIZE,
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Make spans of a sound anew; every sample outside them stays as it is."""
    where, model = checked_model(settings)
    check_count(batch_size, "batch_size", MAX_BATCH_SIZE)
    given = part_of(settings, EditOptions)
    options = resolve_options(EditOptions, model.card.defaults, given)
    check_prompt(prompt)
    spans = _spans(start or [], end or [], span or [])
    check_spans(spans, read_audio(sound).duration_s, model.card.max_duration_s)
    check_pictures(spectrogram)
    loras = choose_adapters(loras=lora or [])
    files = plan_files(
        output,
        [Wanted(f"{sound.stem} edited", takes=options.num)],
        format=format,
        pictures=spectrogram,
    )
    results = Results()
    with files.prepared():
        ready = EzAudio.from_pretrained(
            where.model, device=where.device, dtype=where.dtype, loras=loras
        )
        with progress_bar("editing", quiet=quiet) as callback:
            made = ready.edit(
                sound, prompt, spans, batch_size=batch_size, callback=callback, **given
            )
            for path, item in zip(files.paths, made, strict=True):
                results.add(item.save(path, spectrogram=spectrogram))
        results.show()


def _spans(start: list[float], end: list[float], span: list[str]) -> list[tuple[float, float]]:
    if len(start) != len(end):
        allowed = f"as many as --start, which is given {len(start)} times"
        raise InputError("end", end, allowed)
    pairs = list(zip(start, end, strict=True))
    for text in span:
        first, _, last = text.partition(":")
        try:
            pairs.append((float(first), float(last)))
        except ValueError:
            raise InputError("span", text, "START:END in seconds, such as 1.5:4") from None
    return pairs
