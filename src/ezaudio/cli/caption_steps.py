"""The steps of `ezaudio caption`, and how it speaks of them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ezaudio.cli.progress import note
from ezaudio.errors import InputError

if TYPE_CHECKING:
    from ezaudio.captions.executors import Executor
    from ezaudio.captions.writer import Source


def source_of(
    kind: str, given: dict[str, str | None], settings: list[str], inputs: list[Path], audio: str
) -> Source:
    """Make a source of the options that were given."""
    from ezaudio.captions.sources import SOURCES, source_from

    if kind not in SOURCES:
        raise InputError("source", kind, f"one of {', '.join(SOURCES)}")
    fields = SOURCES[kind].model_fields
    overrides = [
        f"{name}={json.dumps(value)}" for name, value in given.items() if value is not None
    ]
    for override in overrides:
        field = override.partition("=")[0].partition(".")[0]
        if field not in fields:
            allowed = "options that this source has; see `ezaudio caption sources`"
            raise InputError(override.partition("=")[0], override.partition("=")[2], allowed)
    values: dict[str, Any] = {"kind": kind}
    if kind == "audio_lm":
        values["audio_root"] = root_from(inputs, audio)
    return source_from(kind, values, (*overrides, *settings))


def root_from(inputs: list[Path], audio: str) -> str:
    """Folder of the sound files: the one that was given, or where the input lies."""
    first = inputs[0]
    return audio or str((first if first.is_dir() else first.parent).absolute())


def root_of(given: Path) -> str:
    """Folder of a set's sound files, as it says itself."""
    from ezaudio.captions.shards import CaptionSet

    return str(CaptionSet(given).read_card().get("audio_root", ""))


def executor_of(
    kind: str,
    address: str | None,
    workers: int | None,
    cpus: float | None,
    gpus: float | None,
) -> Executor:
    """Make an executor; what was not given keeps its default."""
    from ezaudio.captions.executors import executor_from

    return executor_from(kind, address=address, workers=workers, cpus=cpus, gpus=gpus)


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


def filter_step(
    given: Path,
    output: Path,
    options: tuple[str, float, int | None, str, str, int],
    audio: str,
    executor: Executor,
    as_json: bool,
    quiet: bool,
) -> None:
    """Filter a set, and say what was kept."""
    from ezaudio.captions.filter import FilterSettings, filter_set
    from ezaudio.config import load_config

    clap, threshold, top_k, device, dtype, batch_size = options
    place = {"path": clap} if os.path.isdir(clap) else {"name": clap}
    score = {"clap": place, "device": device, "dtype": dtype, "batch_size": batch_size}
    values = {"threshold": threshold, "top_k": top_k, "score": {**score, "audio_root": audio}}
    settings = load_config(FilterSettings, values)
    with counting("pairs scored, sounds heard", quiet=quiet) as progress:
        found = filter_set(given, output, settings=settings, executor=executor, progress=progress)
    show({name: value for name, value in asdict(found).items() if name != "histogram"}, as_json)


def dedup_step(
    given: Path, output: Path, sounds: str, audio: str, as_json: bool, quiet: bool, **more: Any
) -> None:
    """Drop duplicates, and say how many."""
    from ezaudio.captions.dedup import DedupSettings, dedup_set
    from ezaudio.config import load_config

    settings = load_config(DedupSettings, {"sounds": sounds, "audio_root": audio, **more})
    with counting("captions read, kept", quiet=quiet) as progress:
        found = dedup_set(given, output, settings=settings, progress=progress)
    show(asdict(found), as_json)


def finish(
    last: Path, audio: str, report: Path | None, manifest: Path | None, valid: float, as_json: bool
) -> None:
    """Write report and manifest, where they are wanted."""
    if report is not None:
        from ezaudio.captions.report import write_report

        write_report(last, report, audio_root=audio)
        note(f"report: {report}")
    if manifest is not None:
        from ezaudio.captions.export import ExportSettings, export_manifest

        settings = ExportSettings(audio_root=audio, valid=valid)
        show(asdict(export_manifest(last, manifest, settings=settings)), as_json)


def show(summary: dict[str, Any], as_json: bool) -> None:
    """Print a summary on stdout."""
    if as_json:
        print(json.dumps(summary))
        return
    for name, value in summary.items():
        if isinstance(value, dict):
            for inner, count in value.items():
                print(f"  {name.replace('_', ' ')}: {inner}: {count:,}")
        else:
            print(f"{name.replace('_', ' ')}: {value:,}" if type(value) is int else
                  f"{name.replace('_', ' ')}: {value}")  # fmt: skip


@contextmanager
def counting(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Count on stderr where a person looks on."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status(what) as status:
        yield lambda first, second: status.update(f"{first:,} {what}: {second:,}")
