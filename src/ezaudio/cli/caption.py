"""`ezaudio caption`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ezaudio.cli.caption_steps import (
    counting,
    dedup_step,
    executor_of,
    filter_step,
    finish,
    root_from,
    root_of,
    show,
    source_of,
    tell_estimate,
)
from ezaudio.cli.options import FLAGS, Quiet
from ezaudio.errors import EzAudioError, InputError

FLAGS.update(
    {
        name: f"--{name.replace('_', '-')}"
        for name in ("names", "writer", "model_path", "prompt", "max_cost", "threshold", "clap")
    }
    | {
        "top_k": "--top-k",
        "audio_pattern": "--files",
        "executor": "--executor",
        "manifest": "--manifest",
        "chunk": "--chunk",
    }
)

caption = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Caption recordings that nobody has labelled; filter, clean and report captions.",
)

Set = Annotated[Path, typer.Argument(help="Folder of a caption set.", show_default=False)]
NewSet = Annotated[Path, typer.Option("-o", "--output", help="Folder of the caption set.")]
Audio = Annotated[
    str, typer.Option(help="Folder of the sound files; what the set says when left out.")
]
AsJson = Annotated[bool, typer.Option("--json", help="The summary as JSON.")]
ExecutorName = Annotated[str, typer.Option(help="local: in this process. ray: on a cluster.")]
Address = Annotated[
    str | None, typer.Option(help="ray: of a cluster that runs; auto finds this machine's.")
]
Workers = Annotated[int | None, typer.Option(help="ray: actors.")]
Cpus = Annotated[float | None, typer.Option(help="ray: CPUs for each actor.")]
Gpus = Annotated[float | None, typer.Option(help="ray: GPUs for each actor, or a part of one.")]
Clap = Annotated[
    str | None,
    typer.Option(help="CLAP: a folder with its files, or a published name; switches it on."),
]
Threshold = Annotated[float, typer.Option(help="Lowest CLAP similarity that is kept.")]
TopK = Annotated[int | None, typer.Option(help="Most captions of one clip, the best first.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, ...; auto takes a GPU where there is one.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16.")]
Batch = Annotated[int, typer.Option(help="Sounds that a model hears at once.")]
Sounds = Annotated[
    str, typer.Option(help="Compare sound files too: no, exact (bytes) or near (recordings).")
]
Valid = Annotated[float, typer.Option(help="Share of clips for the split `valid`.")]


@caption.command()
def run(
    source: Annotated[str, typer.Argument(help="Where captions come from: `sources` lists them.")],
    inputs: Annotated[list[Path], typer.Argument(help="Published files, or recordings.")],
    *,
    output: NewSet,
    audio: Audio = "",
    files: Annotated[
        str | None, typer.Option(help="File of a clip in that folder, such as '{clip}.flac'.")
    ] = None,
    names: Annotated[
        str | None, typer.Option(help="AudioSet's mids and names, as TSV, CSV or ontology.json.")
    ] = None,
    writer: Annotated[
        str | None, typer.Option(help="Who writes: rules, llm, server or transformers.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name that the server knows.")] = None,
    server: Annotated[
        str | None, typer.Option(help="Any server with the OpenAI protocol; OpenAI's if left out.")
    ] = None,
    model_path: Annotated[str | None, typer.Option(help="Folder of a model to run here.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Your own prompt file.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting, such as chat.concurrency=32; repeatable."),
    ] = None,
    max_requests: Annotated[int | None, typer.Option(help="Most requests, in all runs.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="Most that they may cost.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Spend money without a --max-cost.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again where every try had failed.")
    ] = False,
    chunk: Annotated[int, typer.Option(help="Clips of one shard, the most in memory.")] = 1000,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be asked and cost.")
    ] = False,
    executor: ExecutorName = "local",
    address: Address = None,
    workers: Workers = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    dedup: Annotated[
        bool, typer.Option("--dedup", help="Then drop duplicates, into OUTPUT/unique.")
    ] = False,
    sounds: Sounds = "no",
    clap: Clap = None,
    threshold: Threshold = 0.40,
    top_k: TopK = None,
    device: Device = "auto",
    report: Annotated[Path | None, typer.Option(help="Then write a report, as HTML.")] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Then write a manifest: .csv, .jsonl or .parquet.")
    ] = None,
    valid: Valid = 0.0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write captions with a source; started again, it goes on where it was.

    With --dedup, --clap, --report and --manifest the other steps follow in one go: the filtered set
    lies in OUTPUT/filtered, and report and manifest are of the last step.
    """
    from ezaudio.captions.build import RunSettings, label

    shortcuts = {"names": names, "writer": writer, "model_path": model_path, "prompt": prompt}
    shortcuts |= {"audio_pattern": files}
    chat = {"chat.model": model, "chat.base_url": server}
    made = source_of(source, shortcuts | chat, settings or [], inputs, audio)
    work = executor_of(executor, address, workers, cpus, gpus)
    plan = RunSettings(
        chunk=chunk,
        max_requests=max_requests,
        max_cost=max_cost,
        retry_failed=retry_failed,
        audio_root=root_from(inputs, audio),
    )
    if (made.asks() and not quiet) or dry_run:
        tell_estimate(made, inputs, output, max_cost, spend=yes or dry_run)
        if dry_run:
            return
    with counting("clips read, captions written", quiet=quiet) as progress:
        summary = label(made, inputs, output, settings=plan, executor=work, progress=progress)
    show(asdict(summary), as_json)
    if not summary.finished:
        left = summary.reasons.get("not asked yet: the budget ended", 0)
        raise EzAudioError(f"the budget ended and {left} clips wait; run again with a larger one")
    last = output
    if dedup or sounds != "no":
        dedup_step(last, output / "unique", sounds, plan.audio_root, as_json, quiet)
        last = output / "unique"
    if clap is not None:
        options = (clap, threshold, top_k, device, "float32", 32)
        filter_step(last, output / "filtered", options, plan.audio_root, work, as_json, quiet)
        last = output / "filtered"
    finish(last, plan.audio_root, report, manifest, valid, as_json)


@caption.command("filter")
def filter_command(
    given: Set,
    *,
    output: NewSet,
    clap: Annotated[
        str, typer.Option(help="CLAP: a folder with its files, or a published name.")
    ] = "laion/larger_clap_general",
    threshold: Threshold = 0.40,
    top_k: TopK = None,
    audio: Audio = "",
    device: Device = "auto",
    dtype: Dtype = "float32",
    batch_size: Batch = 32,
    executor: ExecutorName = "local",
    address: Address = None,
    workers: Workers = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score captions with CLAP and keep those that fit their sound."""
    work = executor_of(executor, address, workers, cpus, gpus)
    options = (clap, threshold, top_k, device, dtype, batch_size)
    filter_step(given, output, options, audio or root_of(given), work, as_json, quiet)


@caption.command("dedup")
def dedup_command(
    given: Set,
    *,
    output: NewSet,
    within: Annotated[
        str, typer.Option(help="Compare captions inside each clip, or in the whole set.")
    ] = "clip",
    similarity: Annotated[
        float, typer.Option(help="Share of common words from which captions are the same.")
    ] = 0.8,
    sounds: Sounds = "no",
    audio: Audio = "",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Drop what is there twice, exactly or nearly."""
    dedup_step(given, output, sounds, audio or root_of(given), as_json, quiet,
           within=within, similarity=similarity)  # fmt: skip


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
    valid: Valid = 0.0,
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

    languages = {"languages": ("en", "unknown", "other")} if any_language else {}
    chosen = ExportSettings(
        audio_root=audio, valid=valid, profane=profane, check_audio=not without_audio, **languages
    )
    show(asdict(export_manifest(given, target, settings=chosen)), as_json)


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

    for found in [name] if name else packaged():
        prompt = Prompt.read(found)
        if name:
            print(text_of(found), end="")
        else:
            print(f"{found}  {prompt.hash}")
