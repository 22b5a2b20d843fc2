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
from ezaudio.data.checks import (
    Quarantined,
    duplicates,
    read_quarantine,
    without_quarantined,
    write_quarantine,
)
from ezaudio.data.clips import BadLine, ClipRow
from ezaudio.data.collections import (
    COLLECTIONS,
    described,
    list_options,
    read_excluded,
    read_list,
    root_of,
)
from ezaudio.data.manifest import write_manifest, writer_for
from ezaudio.data.pack import PackConfig, check_clips, pack_clips
from ezaudio.data.shards import Part
from ezaudio.errors import InputError
from ezaudio.files import read_part

if TYPE_CHECKING:
    from ezaudio.data.waveforms import WaveformStore

_MOST_LINES_TOLD = 5
_LEFT = "{} shards are left for other parts; when they are made, run this once more."


class DataOptions(Config):
    """What may be said beside the source."""

    kind: str | None = Field(
        None, description=f"Of the list: {', '.join(COLLECTIONS)}; or it looks."
    )
    audio: str | None = Field(None, description="Folder of the recordings, if not the list's own.")
    split: str | None = Field(None, description="Of all clips: train, valid or test.")
    labels: str | None = Field(
        None, description="Names of AudioSet's labels: TSV, CSV or JSON; else one beside the list."
    )
    segments: str | None = Field(
        None, description="AudioSet's segment lists, for starts that a list leaves out."
    )
    quarantine: str | None = Field(None, description="A list of `check`; `pack` leaves it out.")
    usable: str | None = Field(None, description="Write the usable clips to this list.")
    vae: str | None = Field(None, description="An autoencoder: a file, or a model such as starter.")
    text: str | None = Field(None, description="A text encoder, such as minilm.")
    device: str = Field("cpu", description="cpu, cuda, …")
    shard: str = Field("0/1", description="K/N: every N-th shard, from the K-th (0/2 and 1/2).")
    workers: int = Field(0, ge=0, description="Threads that read and write clips; all cores.")

    def shards(self) -> Part:
        """Which shards are made here."""
        return Part(*read_part(self.shard, "shard"))

    def threads(self) -> int:
        """How many."""
        return self.workers or os.cpu_count() or 1


@dataclass(frozen=True)
class Clips:
    """Clips to work on.

    Attributes:
        rows: of the source.
        root: folder of their files.
        skipped: lines that gave no clip, or not all that they say.
        excluded: clips that were kept out.
    """

    rows: list[ClipRow]
    root: Path
    skipped: tuple[BadLine, ...]
    excluded: int

    def told(self) -> str:
        """What is not among the rows, for a summary."""
        parts = [f"; {self.excluded} kept out"] if self.excluded else []
        if self.skipped:
            parts.append(f"; {len(self.skipped)} skipped: {described(self.skipped)}")
        return "".join(parts)


@dataclass(frozen=True)
class Job:
    """A command line, taken apart."""

    source: Path
    output: Path | None
    settings: tuple[str, ...]
    options: DataOptions
    exclude: tuple[Path, ...]
    quiet: bool
    as_json: bool

    def clips(self) -> Clips:
        """The clips of the source, without those that are to be kept out.

        Raises:
            InputError: the source, or a list of what is kept out, cannot be read or holds nothing.
        """
        given = self.options
        labels, segments, audio = (
            None if text is None else Path(text)
            for text in (given.labels, given.segments, given.audio)
        )
        if given.kind is not None and given.kind.replace("_", "-") not in COLLECTIONS:
            raise InputError("kind", given.kind, ", ".join(COLLECTIONS))
        if not self.source.exists():
            raise InputError("manifest", str(self.source), "a file or folder that exists")
        options = list_options(self.source, given.kind, audio=audio, split=given.split,
                               labels=labels, segments=segments)  # fmt: skip
        found = read_list(self.source, given.kind, options)
        root = root_of(self.source, options)
        rows = read_excluded(self.exclude).keep(found.rows, root)
        if not rows:
            raise InputError("exclude", len(found.rows), "a list that leaves clips over")
        for line in found.skipped[:_MOST_LINES_TOLD]:
            note(f"{line.where}: {line.reason}: {line.text}", quiet=self.quiet)
        if len(found.skipped) > _MOST_LINES_TOLD:
            note(f"and {len(found.skipped) - _MOST_LINES_TOLD} lines more", quiet=self.quiet)
        return Clips(rows, root, tuple(found.skipped), len(found.rows) - len(rows))

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
    exclude: Annotated[
        list[Path] | None,
        typer.Option(
            "--exclude",
            show_default=False,
            help="A list of clips to keep out, such as AudioCaps' test.csv; repeatable.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Prepare recordings for training."""
    given = load_config(DataOptions, part_of(options, DataOptions))
    kept_out = tuple(exclude or ())
    ACTIONS[action](Job(source, output, tuple(settings or ()), given, kept_out, quiet, as_json))


def _pack(job: Job) -> None:
    folder, part = job.folder(), job.options.shards()
    config = load_config(PackConfig, {}, job.settings)
    left_out = job.options.quarantine and read_quarantine(Path(job.options.quarantine))
    clips, workers = job.clips(), job.options.threads()
    rows = without_quarantined(clips.rows, left_out or ())
    if not rows:
        raise InputError("quarantine", job.options.quarantine, "a list that leaves clips over")
    with _bar("packing", len(rows), quiet=job.quiet) as tell:
        packed = pack_clips(
            rows, clips.root, folder, config, part=part, workers=workers, progress=tell
        )
    if packed.missing_shards:
        note(_LEFT.format(packed.missing_shards))
        return
    hours = packed.seconds / 3600
    print(f"{packed.clips} clips, {hours:.2f} h{_told(packed.quarantined)}{clips.told()}")
    _tell_splits(rows, quiet=job.quiet)
    print(folder)


def _check(job: Job) -> None:
    config = load_config(PackConfig, {}, job.settings)
    usable = None if job.options.usable is None else Path(job.options.usable)
    if usable is not None:
        writer_for(usable)
    clips, workers = job.clips(), job.options.threads()
    found: list[Quarantined] = []
    kept: list[ClipRow] = []
    hashes: list[str] = []
    with _bar("checking", len(clips.rows), quiet=job.quiet) as tell:
        for row, facts, fault in check_clips(clips.rows, clips.root, config, workers=workers):
            if fault is not None:
                found.append(fault)
            else:
                kept.append(row.model_copy(update={"duration": round(facts.duration, 4)}))
                hashes.append(facts.audio_sha256)
            tell(1)
    if config.check.duplicates:
        copies = duplicates(kept, hashes)
        found += [copies[i] for i in sorted(copies)]
        kept = [row for i, row in enumerate(kept) if i not in copies]
    if job.output is not None:
        write_quarantine(job.output, found, clips.skipped)
    if usable is not None:
        write_manifest(usable, _placed(kept, clips.root, usable.parent))
    hours = sum(row.duration for row in kept) / 3600
    told = f"{_told(found)}{clips.told()}"
    print(f"{len(kept)} of {len(clips.rows)} clips are usable, {hours:.2f} h{told}")
    for entry in found if job.output is None else ():
        print(f"{entry.file}: {entry.reason}: {entry.detail}")
    _tell_splits(kept, quiet=job.quiet)


def _placed(rows: Sequence[ClipRow], root: Path, folder: Path) -> Iterator[ClipRow]:
    """Rows with files relative to the folder of a new list."""
    for row in rows:
        place = Path(os.path.relpath(root / row.file, folder)).as_posix()
        yield row.model_copy(update={"file": place})


def _tell_splits(rows: Sequence[ClipRow], *, quiet: bool) -> None:
    """Say so when nothing is left to measure a training on."""
    if rows and not any(row.split == "valid" for row in rows):
        note("no clip is in the split `valid`: training will measure nothing", quiet=quiet)


def _encode(job: Job) -> None:
    from ezaudio.data.waveforms import WaveformStore

    vae, text = job.options.vae, job.options.text
    if (vae is None) == (text is None):
        raise InputError("vae", vae, "either --vae FILE for latents or --text KIND for prompts")
    folder, store = job.folder(), WaveformStore(job.source)
    if vae is not None:
        _encode_latents(job, store, vae, folder)
    elif text is not None:
        _encode_texts(job, store, text, folder)


def _encode_latents(job: Job, store: WaveformStore, vae: str, folder: Path) -> None:
    from ezaudio.training.encode import EncodeConfig, LatentEncoder, encode_latents
    from ezaudio.training.encoder_weights import bring_autoencoder, load_autoencoder

    part, workers = job.options.shards(), job.options.threads()
    config = load_config(EncodeConfig, {}, job.settings)
    model, source = load_autoencoder(bring_autoencoder(vae, folder), job.options.device)
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
        clips = job.clips()
        told = of_rows(clips.rows, clips.root)
        told |= {"kept_out": clips.excluded} if clips.excluded else {}
        told |= {"skipped": Counter(line.reason for line in clips.skipped)} if clips.skipped else {}
        told = {name: dict(v) if isinstance(v, Counter) else v for name, v in told.items()}
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

_OF_LISTS = ("source", "kind", "audio", "split", "labels", "segments", "exclude")
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
