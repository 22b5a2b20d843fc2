"""The steps of `ezaudio caption`, and how it speaks of them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ezaudio.checkpoints import require_writable
from ezaudio.cli.progress import note
from ezaudio.config import Config, load_config
from ezaudio.errors import InputError

if TYPE_CHECKING:
    from ezaudio.captions.base import Source
    from ezaudio.captions.dedup import DedupSettings
    from ezaudio.captions.executors import Executor
    from ezaudio.captions.export import ExportSettings
    from ezaudio.captions.filter import FilterSettings

AUDIO_HELP = "Folder of the sound files; where the input lies, or what the set says."
PRICE_UNKNOWN = "price not known (--set chat.price_in=)"
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
        values |= {"dtype": options.dtype}
        values |= {} if options.batch_size is None else {"batch_size": options.batch_size}
    overrides = [f"{name}={json.dumps(value)}" for name, value in wanted.items()]
    return source_from(kind, values, (*overrides, *settings))


def root_from(inputs: list[Path], audio: str) -> str:
    """Folder of the sound files: the one that was given, what the sets say, or where the input
    lies.
    """
    from ezaudio.captions.store import common_root

    first = inputs[0]
    root = common_root([path for path in inputs if path.is_dir()], audio)
    return os.path.abspath(root or (first if first.is_dir() else first.parent))


def root_of(given: Sequence[Path], audio: str) -> str:
    """Folder of the sound files of sets: the one that was given, or what they say."""
    from ezaudio.captions.store import common_root

    return common_root(given, os.path.abspath(audio) if audio else "")


def executor_of(options: PlaceOptions) -> Executor:
    """Make an executor; what was not given keeps its default."""
    from ezaudio.captions.executors import executor_from

    names = ("address", "workers", "cpus", "gpus")
    return executor_from(options.executor, **{name: getattr(options, name) for name in names})


def tell_estimate(source: Source, inputs: list[Path], output: Path, *, quiet: bool) -> bool:
    """Say on stderr what a run would ask for; True when it would spend money."""
    from ezaudio.captions.cost import estimate

    expected = estimate(source, inputs, output)
    price = f"about {_money(expected.cost)}" if expected.priced else PRICE_UNKNOWN
    if not quiet:
        note(
            f"{expected.clips:,} clips, {expected.bad_lines:,} bad lines; "
            f"{expected.requests:,} requests, {expected.tokens:,} tokens, {price}"
        )
    return bool(expected.requests) and not (expected.priced and expected.cost == 0)


def _money(cost: float) -> str:
    """Two decimals; small sums with as many as they need to be none."""
    return f"{cost:.2f}" if cost >= 0.1 or cost == 0 else f"{cost:.2g}"


def label_step(
    source: Source,
    inputs: list[Path],
    output: Path,
    how: tuple[RunOptions, Executor, bool],
    show: Show,
) -> None:
    """Run a source, and say what was written.

    Raises:
        InputError: a budget ended before the clips did.
    """
    from ezaudio.captions.run import OUT_OF_BUDGET, RunSettings, label

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
        limit = options.max_requests
        spent = limit is not None and summary.requests >= limit
        name = "max_requests" if spent or options.max_cost is None else "max_cost"
        allowed = f"a larger budget, for {left:,} clips that wait; what is done stays"
        raise InputError(name, getattr(options, name), allowed)


@dataclass(frozen=True)
class Later:
    """The steps that follow a run, checked before it begins.

    Attributes:
        dedup: None leaves it out; so below.
        filter: scores and threshold.
        report: the HTML file.
        manifest: the file that training reads.
        export: what goes into it.
    """

    dedup: DedupSettings | None
    filter: FilterSettings | None
    report: Path | None
    manifest: Path | None
    export: ExportSettings


def later_steps(options: RunOptions, root: str, *, dedup: bool) -> Later:
    """Read the settings of the steps that follow a run.

    Raises:
        InputError: one of them is not allowed.
        OutputError: report or manifest cannot be written.
        DownloadError: there is no such CLAP model.
    """
    from ezaudio.captions.dedup import DedupSettings
    from ezaudio.captions.export import ExportSettings, writer_of
    from ezaudio.captions.scoring import require_model

    unique = load_config(DedupSettings, {"sounds": options.sounds, "audio_root": root})
    chosen = filter_settings(options, root)
    export = load_config(ExportSettings, {"audio_root": root, "valid": options.valid})
    report = None if options.report is None else Path(options.report)
    manifest = None if options.manifest is None else Path(options.manifest)
    if manifest is not None:
        writer_of(manifest)
    for target in filter(None, (report, manifest)):
        require_writable(target)
    if options.clap is not None:
        require_model(chosen.score.clap)
    return Later(
        unique if dedup or unique.sounds != "no" else None,
        chosen if options.clap is not None else None,
        report,
        manifest,
        export,
    )


def filter_settings(options: FilterOptions | RunOptions, root: str) -> FilterSettings:
    """Settings of the filter, from what was given."""
    from ezaudio.captions.filter import FilterSettings

    clap = options.clap or ""
    score: dict[str, Any] = {"device": options.device, "dtype": options.dtype, "audio_root": root}
    if clap:
        score["clap"] = {"path": clap} if os.path.isdir(clap) else {"name": clap}
    if options.batch_size is not None:
        score["batch_size"] = options.batch_size
    values = {"threshold": options.threshold, "top_k": options.top_k, "score": score}
    return load_config(FilterSettings, values)


def filter_step(
    given: Path, output: Path, settings: FilterSettings, executor: Executor, show: Show
) -> Path:
    """Filter a set, say what was kept, and give the new one."""
    from ezaudio.captions.filter import filter_set

    with show.counting("pairs scored, sounds heard") as progress:
        summary = filter_set(given, output, settings=settings, executor=executor, progress=progress)
    bins = ("histogram", "by_source")
    show({name: value for name, value in asdict(summary).items() if name not in bins})
    return output


def dedup_step(given: Sequence[Path], output: Path, settings: DedupSettings, show: Show) -> Path:
    """Drop duplicates, say how many, and give the new set."""
    from ezaudio.captions.dedup import dedup_set

    with show.counting("captions read, kept") as progress:
        summary = dedup_set(given, output, settings=settings, progress=progress)
    show(asdict(summary))
    return output


def do_later(first: Path, later: Later, executor: Executor, show: Show) -> None:
    """Take the steps that follow a run, each on what the one before it made."""
    last = first
    if later.dedup is not None:
        last = dedup_step([last], first / "unique", later.dedup, show)
    if later.filter is not None:
        last = filter_step(last, first / "filtered", later.filter, executor, show)
    if later.report is not None:
        from ezaudio.captions.report import write_report

        write_report(last, later.report, audio_root=later.export.audio_root)
        note(f"report: {later.report}")
    if later.manifest is not None:
        from ezaudio.captions.export import export_manifest

        show(asdict(export_manifest(last, later.manifest, settings=later.export)))
