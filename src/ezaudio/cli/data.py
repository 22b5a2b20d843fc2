"""`ezaudio data`."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from pydantic import Field

from ezaudio.cli.actions import Action
from ezaudio.cli.options import Quiet, Settings, options_from, part_of
from ezaudio.cli.progress import note, progress_bars
from ezaudio.config import Config, load_config
from ezaudio.data.checks import Quarantined, duplicates, read_quarantine, write_quarantine
from ezaudio.data.manifest import ClipRow, write_jsonl
from ezaudio.data.pack import PackConfig, check_clips, pack_clips
from ezaudio.data.shards import Part
from ezaudio.data.sources import SOURCES, SourceOptions, read_label_names, read_source, root_of
from ezaudio.errors import InputError

if TYPE_CHECKING:
    from ezaudio.data.waveforms import WaveformStore

_LEFT = "{} shards are left for other parts; when they are made, run this once more."


class DataOptions(Config):
    """What may be said beside the source."""

    kind: str | None = Field(None, description=f"Of the list: {', '.join(SOURCES)}; or it looks.")
    audio: str | None = Field(None, description="Folder of the recordings, if not the list's own.")
    split: str | None = Field(None, description="Of all clips: train, valid or test.")
    labels: str | None = Field(None, description="Names of AudioSet's identifiers (CSV or TSV).")
    quarantine: str | None = Field(None, description="A list of `check`; `pack` leaves it out.")
    usable: str | None = Field(None, description="Write the usable clips there (JSONL).")
    vae: str | None = Field(None, description="An autoencoder checkpoint.")
    text: str | None = Field(None, description="A text encoder, such as minilm.")
    device: str = Field("cpu", description="cpu, cuda, …")
    shard: str = Field("0/1", description="K/N: every N-th shard, from the K-th (0/2 and 1/2).")
    workers: int = Field(0, ge=0, description="Threads that read and write clips; all cores.")

    def sources(self) -> SourceOptions:
        """What a list does not say itself."""
        audio = None if self.audio is None else Path(self.audio)
        if audio is not None and not audio.is_dir():
            raise InputError("audio", self.audio, "a folder")
        names = read_label_names(Path(self.labels)) if self.labels is not None else {}
        return SourceOptions(audio=audio, split=self.split, names=names)

    def shards(self) -> Part:
        """Which shards are made here."""
        number, _, of = self.shard.partition("/")
        if not (number.isdecimal() and of.isdecimal()):
            raise InputError("shard", self.shard, "K/N, such as 0/2 and 1/2")
        return Part(int(number), int(of))

    def threads(self) -> int:
        """How many."""
        return self.workers or os.cpu_count() or 1


@dataclass(frozen=True)
class Job:
    """A command line, taken apart."""

    source: Path
    output: Path | None
    settings: tuple[str, ...]
    options: DataOptions
    quiet: bool
    as_json: bool

    def folder(self) -> Path:
        """The output, which has to be a folder."""
        if self.output is None:
            raise InputError("output", None, "a folder")
        if self.output.exists() and not self.output.is_dir():
            raise InputError("output", str(self.output), "a folder, or a new place")
        return self.output


@options_from(DataOptions)
def data(
    action: str,
    source: Annotated[
        Path,
        typer.Argument(
            help="A list of clips, a folder of recordings, shards; for encode a packed folder.",
            show_default=False,
        ),
    ],
    *,
    settings: Settings = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", show_default=False, help="A folder; for check a CSV file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Prepare recordings for training."""
    given = load_config(DataOptions, part_of(options, DataOptions))
    ACTIONS[action](Job(source, output, tuple(settings or ()), given, quiet, as_json))


def _pack(job: Job) -> None:
    folder, part, options = job.folder(), job.options.shards(), job.options.sources()
    config = load_config(PackConfig, {}, job.settings)
    rows = read_source(job.source, job.options.kind, options)
    if job.options.quarantine is not None:
        left_out = {entry.file for entry in read_quarantine(Path(job.options.quarantine))}
        rows = [row for row in rows if row.file not in left_out]
    root, workers = root_of(job.source, options), job.options.threads()
    with _bar("packing", len(rows), quiet=job.quiet) as tell:
        packed = pack_clips(rows, root, folder, config, part=part, workers=workers, progress=tell)
    if packed.missing_shards:
        note(_LEFT.format(packed.missing_shards))
        return
    print(f"{packed.clips} clips, {packed.seconds / 3600:.2f} h{_told(packed.quarantined)}")
    print(folder)


def _check(job: Job) -> None:
    options = job.options.sources()
    config = load_config(PackConfig, {}, job.settings)
    rows = read_source(job.source, job.options.kind, options)
    found: list[Quarantined] = []
    kept: list[ClipRow] = []
    hashes: list[str] = []
    root, workers = root_of(job.source, options), job.options.threads()
    with _bar("checking", len(rows), quiet=job.quiet) as tell:
        for row, facts, fault in check_clips(rows, root, config, workers=workers):
            if fault is not None:
                found.append(fault)
            else:
                kept.append(row.model_copy(update={"duration": round(facts.duration, 4)}))
                hashes.append(facts.audio_sha256)
            tell(1)
    if config.check.duplicates:
        names, splits = [row.file for row in kept], [row.split for row in kept]
        copies = duplicates(names, splits, hashes)
        found += [copies[i] for i in sorted(copies)]
        kept = [row for i, row in enumerate(kept) if i not in copies]
    if job.output is not None:
        write_quarantine(job.output, found)
    if job.options.usable is not None:
        write_jsonl(Path(job.options.usable), kept)
    hours = sum(row.duration for row in kept) / 3600
    print(f"{len(kept)} of {len(rows)} clips are usable, {hours:.2f} h{_told(found)}")
    for entry in found if job.output is None else ():
        print(f"{entry.file}: {entry.reason}: {entry.detail}")


def _encode(job: Job) -> None:
    from ezaudio.data.waveforms import WaveformStore

    vae, text = job.options.vae, job.options.text
    if (vae is None) == (text is None):
        raise InputError("vae", vae, "either --vae FILE for latents or --text KIND for prompts")
    folder, store = job.folder(), WaveformStore(job.source)
    if vae is not None:
        _encode_latents(job, store, Path(vae), folder)
    elif text is not None:
        _encode_texts(job, store, text, folder)


def _encode_latents(job: Job, store: WaveformStore, vae: Path, folder: Path) -> None:
    from ezaudio.training.encode import (
        EncodeConfig,
        LatentEncoder,
        encode_latents,
        load_autoencoder,
    )

    part, workers = job.options.shards(), job.options.threads()
    config = load_config(EncodeConfig, {}, job.settings)
    model, source = load_autoencoder(vae, job.options.device)
    encoder = LatentEncoder(store, model, config, source=source)
    with _bar("encoding", len(store) + config.mixes.count, quiet=job.quiet) as tell:
        made = encode_latents(encoder, folder, part=part, workers=workers, progress=tell)
    if made.missing_shards:
        note(_LEFT.format(made.missing_shards))
        return
    print(f"{made.clips} clips, {made.frames} frames{_told(made.quarantined)}")
    print(folder)


def _encode_texts(job: Job, store: WaveformStore, kind: str, folder: Path) -> None:
    from ezaudio.data.texts import encode_texts, prompts_of
    from ezaudio.text import TEXT_ENCODERS

    if kind not in TEXT_ENCODERS:
        raise InputError("text", kind, ", ".join(TEXT_ENCODERS))
    encoder = load_config(TEXT_ENCODERS[kind], {}, job.settings).build().to(job.options.device)
    prompts = sorted(set(prompts_of(store.rows)))
    with _bar("encoding", len(prompts), quiet=job.quiet) as tell:
        count = encode_texts(prompts, encoder, folder, progress=tell)
    print(f"{count} prompts")
    print(folder)


def _stats(job: Job) -> None:
    from ezaudio.data.statistics import is_store, of_rows, of_store

    if is_store(job.source):
        told = of_store(job.source)
    else:
        told = of_rows(read_source(job.source, job.options.kind, job.options.sources()))
    if job.as_json:
        print(json.dumps(told, ensure_ascii=False))
    else:
        print(yaml.safe_dump(told, sort_keys=False, allow_unicode=True).rstrip())


ACTIONS: dict[str, Callable[[Job], None]] = {
    "check": _check,
    "pack": _pack,
    "encode": _encode,
    "stats": _stats,
}
"""What can be done."""

_OF_LISTS = ("source", "kind", "audio", "split", "labels")
_OF_SHARDS = ("output", "shard", "workers", "settings", "quiet")
ACTIONS_HELP = {
    "check": Action(
        "Look at every clip and list what is unfit.",
        (*_OF_LISTS, "output", "usable", "workers", "settings", "quiet"),
    ),
    "pack": Action("Bring clips to one rate, in shards.", (*_OF_LISTS, *_OF_SHARDS, "quarantine")),
    "encode": Action(
        "Turn packed clips into latents (--vae), or their prompts into token vectors (--text).",
        ("source", *_OF_SHARDS, "vae", "text", "device"),
    ),
    "stats": Action("Say what a list or a folder holds.", (*_OF_LISTS, "as_json", "quiet")),
}
"""What each action is called with."""


def _told(quarantined: Sequence[Quarantined]) -> str:
    if not quarantined:
        return ""
    counts = Counter(entry.reason for entry in quarantined).most_common()
    reasons = ", ".join(f"{reason} {count}" for reason, count in counts)
    return f"; {len(quarantined)} in quarantine: {reasons}"


@contextmanager
def _bar(title: str, total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Give a function that moves a bar on stderr by some clips."""
    if quiet:
        yield lambda _: None
        return
    with progress_bars() as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
