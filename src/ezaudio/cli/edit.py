"""`ezaudio edit`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from ezaudio.cli.generate import Format, check_pictures, checked_model
from ezaudio.cli.options import (
    AsJson,
    BatchSize,
    Loras,
    Output,
    Quiet,
    Spectrogram,
    options_from,
    part_of,
)
from ezaudio.cli.progress import Results, note, progress_bar
from ezaudio.cli.streams import DASH, check_stdout, sound_file, write_stdout
from ezaudio.errors import InputError
from ezaudio.formats import LOSSLESS_FORMATS, format_of
from ezaudio.pipelines.options import (
    DEFAULT_BATCH_SIZE,
    MAX_BATCH_SIZE,
    EditOptions,
    ModelOptions,
    check_count,
    check_prompt,
    resolve_options,
)


@options_from(ModelOptions, EditOptions)
def edit(
    sound: Annotated[
        Path, typer.Argument(help="The sound file; - is the standard input.", show_default=False)
    ],
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
    as_json: AsJson = False,
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
    check_pictures(spectrogram)

    from ezaudio.audio import read_audio
    from ezaudio.pipelines.ezaudio import EzAudio
    from ezaudio.pipelines.lora import choose_adapters
    from ezaudio.pipelines.outputs import Wanted, plan_files
    from ezaudio.pipelines.spans import check_spans

    loras = choose_adapters(loras=lora or [])
    to_stdout = str(output) == DASH
    if to_stdout:
        format_of("", format or "wav")
        check_stdout(options.num)
        spectrogram = False
    with sound_file(sound) as source:
        check_spans(spans, read_audio(source, mono=False).duration_s, model.card.max_duration_s)
        names = [Wanted(f"{source.stem} edited", takes=options.num)]
        files = plan_files(
            None if to_stdout else output, names, format=format, pictures=spectrogram
        )
        with nullcontext() if to_stdout else files.prepared():
            ready = EzAudio.from_pretrained(
                where.model, device=where.device, dtype=where.dtype, loras=loras
            )
            with progress_bar("editing", quiet=quiet) as callback:
                made = ready.edit(
                    source, prompt, spans, batch_size=batch_size, callback=callback, **given
                )
            if to_stdout:
                write_stdout(made[0], format)
                return
            with Results(as_json=as_json) as results:
                for index, item in enumerate(made):
                    path = files.save(index, item, spectrogram=spectrogram)
                    results.add(index, path, item)
            if path.suffix.lower().lstrip(".") not in LOSSLESS_FORMATS:
                note("this format codes all samples anew; .wav and .flac keep them", quiet=quiet)


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
