"""`ezaudio caption`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ezaudio.cli.caption_steps import (
    AUDIO_HELP,
    SOUNDS_HELP,
    FilterOptions,
    RunOptions,
    Show,
    dedup_step,
    do_later,
    executor_of,
    filter_settings,
    filter_step,
    label_step,
    later_steps,
    root_from,
    root_of,
    source_of,
    tell_estimate,
)
from ezaudio.cli.options import FLAGS, Quiet, options_from
from ezaudio.config import load_config
from ezaudio.errors import InputError

FLAGS.update({"audio_pattern": "--files", "chat.model": "--model", "chat.base_url": "--server"})
FLAGS.update({"score.dtype": "--dtype", "score.batch_size": "--batch-size"})
FLAGS.update({"audio_root": "--audio", "model_path": "--model-path"})

caption = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Caption recordings that nobody has labelled; filter and clean captions.",
)

Set = Annotated[Path, typer.Argument(help="Folder of a caption set.", show_default=False)]
Sets = Annotated[list[Path], typer.Argument(help="Folders of caption sets.", show_default=False)]
NewSet = Annotated[Path, typer.Option("-o", "--output", help="Folder of the caption set.")]
Audio = Annotated[str, typer.Option(help=AUDIO_HELP)]
AsJson = Annotated[bool, typer.Option("--json", help="The summary as JSON.")]


@caption.command()
@options_from(RunOptions)
def run(
    source: Annotated[str, typer.Argument(help="Where captions come from; `sources` lists them.")],
    inputs: Annotated[list[Path], typer.Argument(help="Published files, or recordings.")],
    *,
    output: NewSet,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting, such as chat.concurrency=32; repeatable."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Spend money without a --max-cost.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again where every try had failed.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be asked and cost.")
    ] = False,
    dedup: Annotated[
        bool, typer.Option("--dedup", help="Then drop duplicates, into OUTPUT/unique.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    **given: Any,
) -> None:
    """Write captions with a source; started again, it goes on where it was.

    With --dedup, --clap, --report and --manifest the other steps follow in one go: the filtered set
    lies in OUTPUT/filtered, and report and manifest are of the last step.
    """
    from ezaudio.captions.run import require_access

    options = load_config(RunOptions, {k: v for k, v in given.items() if v is not None})
    captioner = source_of(source, options, settings or [], inputs)
    executor, show = executor_of(options), Show(as_json, quiet)
    later = later_steps(options, root_from(inputs, options.audio), dedup=dedup)
    if not dry_run:
        require_access(captioner)
    if captioner.asks() or dry_run:
        costs = tell_estimate(captioner, inputs, output, quiet=quiet)
        if costs and options.max_cost is None and not (yes or dry_run):
            raise InputError("max_cost", None, "a budget, or --yes to run without one")
    if dry_run:
        return
    label_step(captioner, inputs, output, (options, executor, retry_failed), show)
    do_later(output, later, executor, show)


@caption.command("filter")
@options_from(FilterOptions)
def filter_command(
    given: Set, *, output: NewSet, as_json: AsJson = False, quiet: Quiet = False, **values: Any
) -> None:
    """Score captions with CLAP and keep those that fit their sound."""
    options = load_config(FilterOptions, {k: v for k, v in values.items() if v is not None})
    chosen = filter_settings(options, root_of([given], options.audio))
    filter_step(given, output, chosen, executor_of(options), Show(as_json, quiet))


@caption.command("dedup")
def dedup_command(
    given: Sets,
    *,
    output: NewSet,
    within: Annotated[
        str, typer.Option(help="Compare captions inside each clip, or in the whole set.")
    ] = "clip",
    similarity: Annotated[
        float, typer.Option(help="Share of common words from which captions are the same.")
    ] = 0.8,
    sounds: Annotated[str, typer.Option(help=SOUNDS_HELP)] = "no",
    audio: Audio = "",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Join sets into one, and drop what is there twice, exactly or nearly."""
    from ezaudio.captions.dedup import DedupSettings

    values = {"within": within, "similarity": similarity, "sounds": sounds}
    chosen = load_config(DedupSettings, values | {"audio_root": root_of(given, audio)})
    dedup_step(given, output, chosen, Show(as_json, quiet))


@caption.command("report")
def report_command(
    given: Set,
    target: Annotated[Path, typer.Argument(help="The HTML file.", show_default=False)],
    *,
    audio: Audio = "",
    pairs: Annotated[int, typer.Option(help="Random pairs with players.")] = 50,
    seed: Annotated[int, typer.Option(help="Chooses them.")] = 0,
) -> None:
    """Write a report: sources, scores, lengths, words of order, random pairs to listen to."""
    from ezaudio.captions.report import write_report

    write_report(given, target, audio_root=audio, pairs=pairs, seed=seed)
    print(target)


@caption.command("export")
def export_command(
    given: Set,
    target: Annotated[Path, typer.Argument(help="*.csv, *.jsonl, *.parquet", show_default=False)],
    *,
    audio: Audio = "",
    valid: Annotated[float, typer.Option(help="Share of clips for the split `valid`.")] = 0.0,
    profane: Annotated[bool, typer.Option("--profane", help="Keep what is flagged.")] = False,
    any_language: Annotated[
        bool, typer.Option("--any-language", help="Keep captions that are not English.")
    ] = False,
    without_audio: Annotated[
        bool, typer.Option("--without-audio", help="Do not look for the sound files.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the manifest that training reads: a row a clip, with all of its captions."""
    from ezaudio.captions.export import ExportSettings, export_manifest

    values = {"audio_root": audio, "valid": valid, "profane": profane}
    values |= {"check_audio": not without_audio}
    values |= {"languages": ("en", "unknown", "other")} if any_language else {}
    chosen = load_config(ExportSettings, values)
    Show(as_json, True)(asdict(export_manifest(given, target, settings=chosen)))


@caption.command("sources")
def sources_command(
    name: Annotated[str | None, typer.Argument(help="Show the settings of one.")] = None,
) -> None:
    """List the sources, or the settings of one."""
    from ezaudio.captions.sources import SOURCES

    if name is not None and name not in SOURCES:
        raise InputError("source", name, f"one of {', '.join(SOURCES)}")
    for kind in [name] if name else SOURCES:
        doc = (SOURCES[kind].__doc__ or "").strip()
        print(f"{kind}: {doc if name else doc.partition(chr(10))[0]}")


@caption.command("prompts")
def prompts_command(
    name: Annotated[str | None, typer.Argument(help="Print one, to be copied and changed.")] = None,
) -> None:
    """List the prompt files, or print one."""
    from ezaudio.captions.prompts import Prompt, packaged, text_of

    for prompt_name in [name] if name else packaged():
        prompt = Prompt.read(prompt_name)
        if name:
            print(text_of(prompt_name), end="")
        else:
            print(f"{prompt_name}  {prompt.hash}")
