"""The steps of `ezaudio caption`, and how it speaks of them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ezaudio.cli.progress import note
from ezaudio.config import Config, load_config
from ezaudio.errors import EzAudioError, InputError

if TYPE_CHECKING:
    from ezaudio.captions.executors import Executor
    from ezaudio.captions.writer import Source

AUDIO_HELP = "Folder of the sound files; where the input lies, or what the set says."
SOUNDS_HELP = "Compare sound files too: no, exact (bytes) or near (recordings)."


class PlaceOptions(Config):
    """Where sound files lie, and where the work is done."""

    audio: str = Field("", description=AUDIO_HELP)
    executor: str = Field("local", description="local: in this process. ray: on a cluster.")
    address: str | None = Field(None, description="ray: a cluster that runs; auto finds it here.")
    workers: int | None = Field(None, description="ray: actors.")
    cpus: float | None = Field(None, description="ray: CPUs for each actor.")
    gpus: float | None = Field(None, description="ray: GPUs for each actor, or a part of one.")
    device: str = Field("auto", description="cpu, cuda, ...; auto takes a GPU where there is one.")
    dtype: str = Field("float32", description="float32, bfloat16 or float16.")
    batch_size: int | None = Field(None, description="Sounds that a model hears at once.")
    threshold: float = Field(0.40, description="Lowest CLAP similarity that is kept; 0.40.")
    top_k: int | None = Field(None, description="Most captions of one clip, the best first.")


class FilterOptions(PlaceOptions):
    """Options of the filter."""

    clap: str = Field(
        "laion/larger_clap_general", description="CLAP: a folder with its files, or its name."
    )


class RunOptions(PlaceOptions):
    """Options of a run."""

    files: str | None = Field(
        None, description="File of a clip in the audio folder, such as '{clip}.flac'."
    )
    names: str | None = Field(None, description="AudioSet's mids and names: TSV, CSV or JSON.")
    writer: str | None = Field(None, description="Who writes: rules, llm, server, transformers.")
    model: str | None = Field(None, description="Name that the server knows.")
    server: str | None = Field(
        None, description="Any server with the OpenAI protocol; OpenAI's when left out."
    )
    model_path: str | None = Field(None, description="Folder of a model to run here.")
    prompt: str | None = Field(None, description="Your own prompt file.")
    max_requests: int | None = Field(None, description="Most requests, in all runs together.")
    max_cost: float | None = Field(None, description="Most that they may cost.")
    chunk: int = Field(1000, description="Clips of one shard, the most in memory at once; 1000.")
    sounds: str = Field("no", description=SOUNDS_HELP)
    clap: str | None = Field(None, description="Then filter: CLAP's folder, or published name.")
    report: str | None = Field(None, description="Then write a report: an HTML file.")
    manifest: str | None = Field(
        None, description="Then write a manifest: .csv, .jsonl or .parquet."
    )
    valid: float = Field(0.0, description="Share of the manifest's clips in the split `valid`.")


@dataclass(frozen=True)
class Show:
    """Prints summaries on stdout, and counts on stderr where a person looks on.

    Attributes:
        as_json: print JSON.
        quiet: do not count.
    """

    as_json: bool
    quiet: bool

    def __call__(self, summary: Mapping[str, Any]) -> None:
        """Print a summary."""
        if self.as_json:
            print(json.dumps(summary))
            return
        for name, value in summary.items():
            title = name.replace("_", " ")
            if isinstance(value, dict):
                for inner, count in value.items():
                    print(f"  {title}: {inner}: {count:,}")
            else:
                print(f"{title}: {value:,}" if type(value) is int else f"{title}: {value}")

    @contextmanager
    def counting(self, what: str) -> Iterator[Callable[[int, int], None] | None]:
        """Give a function that shows how far it is; None when nobody looks on."""
        if self.quiet or not sys.stderr.isatty():
            yield None
            return
        from rich.console import Console

        with Console(stderr=True).status(what) as status:
            yield lambda first, second: status.update(f"{first:,} {what}: {second:,}")


def source_of(kind: str, options: RunOptions, settings: list[str], inputs: list[Path]) -> Source:
    """Make a source of the options that were given."""
    from ezaudio.captions.sources import SOURCES, source_from

    if kind not in SOURCES:
        raise InputError("source", kind, f"one of {', '.join(SOURCES)}")
    fields = SOURCES[kind].model_fields
    given = {name: getattr(options, name) for name in ("names", "writer", "model_path", "prompt")}
    given |= {"audio_pattern": options.files, "chat.model": options.model}
    given |= {"chat.base_url": options.server}
    wanted = {name: value for name, value in given.items() if value is not None}
    for name, value in wanted.items():
        if name.partition(".")[0] not in fields:
            allowed = f"options of this source; see `ezaudio caption sources {kind}`"
            raise InputError(name, value, allowed)
    values: dict[str, Any] = {"kind": kind}
    if kind == "audio_lm":
        values |= {"audio_root": root_from(inputs, options.audio), "device": options.device}
        values |= {"dtype": options.dtype, "batch_size": options.batch_size or 8}
    overrides = [f"{name}={json.dumps(value)}" for name, value in wanted.items()]
    return source_from(kind, values, (*overrides, *settings))


def root_from(inputs: list[Path], audio: str) -> str:
    """Folder of the sound files: the one that was given, or where the input lies."""
    first = inputs[0]
    return audio or str((first if first.is_dir() else first.parent).absolute())


def root_of(given: Path) -> str:
    """Folder of a set's sound files, as it says itself."""
    from ezaudio.captions.shards import CaptionSet

    return str(CaptionSet(given).read_card().get("audio_root", ""))


def executor_of(options: PlaceOptions) -> Executor:
    """Make an executor; what was not given keeps its default."""
    from ezaudio.captions.executors import executor_from

    names = ("address", "workers", "cpus", "gpus")
    return executor_from(options.executor, **{name: getattr(options, name) for name in names})


def tell_estimate(
    source: Source, inputs: list[Path], output: Path, max_cost: float | None, *, spend: bool
) -> None:
    """Say on stderr what a run would ask for; refuse to spend money without a word."""
    from ezaudio.captions.estimate import estimate

    found = estimate(source, inputs, output)
    price = f"about {found.cost:.2f}" if found.priced else "price not known (--set chat.price_in=)"
    note(
        f"{found.clips:,} clips, {found.bad_lines:,} bad lines; {found.requests:,} requests, "
        f"{found.tokens:,} tokens, {price}"
    )
    free = found.priced and found.cost == 0
    if found.requests and not free and max_cost is None and not spend:
        raise InputError("max_cost", None, "a budget, or --yes to run without one")


def label_step(
    source: Source,
    inputs: list[Path],
    output: Path,
    how: tuple[RunOptions, Executor, bool],
    show: Show,
) -> None:
    """Run a source, and say what was written.

    Raises:
        EzAudioError: a budget ended before the clips did.
    """
    from ezaudio.captions.build import OUT_OF_BUDGET, RunSettings, label

    options, executor, retry_failed = how
    values = {name: getattr(options, name) for name in ("chunk", "max_requests", "max_cost")}
    root = root_from(inputs, options.audio)
    settings = load_config(
        RunSettings, {**values, "retry_failed": retry_failed, "audio_root": root}
    )
    with show.counting("clips read, captions written") as progress:
        summary = label(
            source, inputs, output, settings=settings, executor=executor, progress=progress
        )
    show(asdict(summary))
    if not summary.finished:
        left = summary.reasons.get(OUT_OF_BUDGET, 0)
        raise EzAudioError(f"the budget ended and {left} clips wait; run again with a larger one")


def filter_values(options: FilterOptions | RunOptions, root: str) -> dict[str, Any]:
    """Settings of the filter."""
    clap = options.clap or ""
    place = {"path": clap} if os.path.isdir(clap) else {"name": clap}
    score: dict[str, Any] = {"clap": place, "device": options.device, "dtype": options.dtype}
    score |= {"audio_root": root, "batch_size": options.batch_size or 32}
    return {"threshold": options.threshold, "top_k": options.top_k, "score": score}


def filter_step(
    given: Path, output: Path, values: Mapping[str, Any], executor: Executor, show: Show
) -> Path:
    """Filter a set, say what was kept, and give the new one."""
    from ezaudio.captions.filter import FilterSettings, filter_set

    settings = load_config(FilterSettings, values)
    with show.counting("pairs scored, sounds heard") as progress:
        found = filter_set(given, output, settings=settings, executor=executor, progress=progress)
    bins = ("histogram", "by_source")
    show({name: value for name, value in asdict(found).items() if name not in bins})
    return output


def dedup_step(given: Path, output: Path, values: Mapping[str, Any], show: Show) -> Path:
    """Drop duplicates, say how many, and give the new set."""
    from ezaudio.captions.dedup import DedupSettings, dedup_set

    settings = load_config(DedupSettings, values)
    with show.counting("captions read, kept") as progress:
        found = dedup_set(given, output, settings=settings, progress=progress)
    show(asdict(found))
    return output


def finish(last: Path, root: str, options: RunOptions, show: Show) -> None:
    """Write report and manifest, where they are wanted."""
    if options.report is not None:
        from ezaudio.captions.report import write_report

        write_report(last, Path(options.report), audio_root=root)
        note(f"report: {options.report}")
    if options.manifest is not None:
        from ezaudio.captions.export import ExportSettings, export_manifest

        settings = load_config(ExportSettings, {"audio_root": root, "valid": options.valid})
        show(asdict(export_manifest(last, Path(options.manifest), settings=settings)))
