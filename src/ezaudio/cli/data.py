"""`ezaudio data`."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from ezaudio.cli.options import FLAGS, Quiet
from ezaudio.cli.progress import note
from ezaudio.config import load_config
from ezaudio.data.checks import Quarantined, duplicates, read_quarantine, write_quarantine
from ezaudio.data.manifest import ClipRow, write_jsonl
from ezaudio.data.pack import PackConfig, check_clips, pack_clips
from ezaudio.data.shards import Part
from ezaudio.data.sources import SOURCES, SourceOptions, read_label_names, read_source, root_of
from ezaudio.data.statistics import is_store, of_rows, of_store
from ezaudio.errors import InputError

if TYPE_CHECKING:
    from ezaudio.data.waveforms import WaveformStore

FLAGS.update({name: f"--{name}" for name in ("kind", "labels", "quarantine", "part", "vae")})


class Action(Enum):
    """What is to be done."""

    check = "check"
    pack = "pack"
    encode = "encode"
    stats = "stats"


def data(
    action: Annotated[
        Action,
        typer.Argument(
            help="check: look at every clip and list what is unfit. pack: bring clips to one rate, "
            "in shards. encode: packed clips to latents (--vae) or prompts to token vectors "
            "(--text). stats: say what a list or a folder holds.",
            show_default=False,
        ),
    ],
    source: Annotated[
        Path,
        typer.Argument(
            help="A list of clips, a folder of recordings, shards; for encode a packed folder.",
            show_default=False,
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="Finer settings, such as check.min_s=0.2 or mixes.count=8000."),
    ] = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            show_default=False,
            help="A folder; for check the quarantine list, as CSV.",
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help=f"Of the list: {', '.join(SOURCES)}. Looks when left out."),
    ] = None,
    audio: Annotated[
        Path | None, typer.Option(help="Folder of the recordings; the list's own when left out.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of all clips: train, valid or test.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Names of AudioSet's identifiers (CSV or TSV).")
    ] = None,
    quarantine: Annotated[
        Path | None, typer.Option(help="A list of `check`; its clips are left out of `pack`.")
    ] = None,
    usable: Annotated[
        Path | None, typer.Option(help="`check`: write the usable clips there, as JSON Lines.")
    ] = None,
    vae: Annotated[Path | None, typer.Option(help="`encode`: an autoencoder checkpoint.")] = None,
    text: Annotated[
        str | None, typer.Option(help="`encode`: a kind of text encoder, such as minilm.")
    ] = None,
    device: Annotated[str, typer.Option(help="`encode`: cpu, cuda, …")] = "cpu",
    part: Annotated[
        str, typer.Option(help="K/N: make every N-th shard, from the K-th; 0/2 and 1/2 are all.")
    ] = "0/1",
    workers: Annotated[int, typer.Option(help="Threads that read and write clips.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="`stats`: as JSON.")] = False,
    quiet: Quiet = False,
) -> None:
    """Prepare recordings for training."""
    given, threads = list(settings or ()), workers or os.cpu_count() or 1
    if action is Action.stats:
        return _stats(source, kind, _options(audio, split, labels), as_json=as_json)
    if action is Action.encode:
        return _encode(source, _folder(output), (vae, text), (device, _part(part), threads),
                       given, quiet=quiet)  # fmt: skip
    options = _options(audio, split, labels)
    config = load_config(PackConfig, {}, given)
    rows = read_source(source, kind, options)
    root = root_of(source, options)
    if action is Action.check:
        return _check(rows, root, config, (output, usable), threads, quiet=quiet)
    if quarantine is not None:
        left_out = {entry.file for entry in read_quarantine(quarantine)}
        rows = [row for row in rows if row.file not in left_out]
    folder = _folder(output)
    with _bar("packing", len(rows), quiet=quiet) as tell:
        packed = pack_clips(rows, root, folder, config, part=_part(part), workers=threads,
                            progress=tell)  # fmt: skip
    if packed.missing_shards:
        note(f"{packed.missing_shards} shards are left for other parts; then run this once more.")
        return None
    print(f"{packed.clips} clips, {packed.seconds / 3600:.2f} h{_told(packed.quarantined)}")
    print(folder)
    return None


def _check(
    rows: Sequence[ClipRow],
    root: Path,
    config: PackConfig,
    outputs: tuple[Path | None, Path | None],
    workers: int,
    *,
    quiet: bool,
) -> None:
    found: list[Quarantined] = []
    kept: list[ClipRow] = []
    hashes: list[str] = []
    with _bar("checking", len(rows), quiet=quiet) as tell:
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
    listed, usable = outputs
    if listed is not None:
        write_quarantine(listed, found)
    if usable is not None:
        write_jsonl(usable, kept)
    hours = sum(row.duration for row in kept) / 3600
    print(f"{len(kept)} of {len(rows)} clips are usable, {hours:.2f} h{_told(found)}")
    if listed is None:
        for entry in found:
            print(f"{entry.file}: {entry.reason}: {entry.detail}")


def _encode(
    source: Path,
    folder: Path,
    with_what: tuple[Path | None, str | None],
    how: tuple[str, Part, int],
    settings: Sequence[str],
    *,
    quiet: bool,
) -> None:
    from ezaudio.data.waveforms import WaveformStore

    vae, text = with_what
    if (vae is None) == (text is None):
        raise InputError("vae", None, "either --vae FILE for latents or --text KIND for prompts")
    store = WaveformStore(source)
    if text is not None:
        _encode_texts(store, folder, text, how[0], settings, quiet=quiet)
    elif vae is not None:
        _encode_latents(store, folder, vae, how, settings, quiet=quiet)


def _encode_latents(
    store: WaveformStore,
    folder: Path,
    vae: Path,
    how: tuple[str, Part, int],
    settings: Sequence[str],
    *,
    quiet: bool,
) -> None:
    from ezaudio.training.encode import (
        EncodeConfig,
        LatentEncoder,
        encode_latents,
        load_autoencoder,
    )

    device, part, workers = how
    config = load_config(EncodeConfig, {}, settings)
    model, source = load_autoencoder(vae, device)
    encoder = LatentEncoder(store, model, config, source=source)
    with _bar("encoding", len(store) + config.mixes.count, quiet=quiet) as tell:
        made = encode_latents(encoder, folder, part=part, workers=workers, progress=tell)
    if made.missing_shards:
        note(f"{made.missing_shards} shards are left for other parts; then run this once more.")
        return
    print(f"{made.clips} clips, {made.frames} frames{_told(made.quarantined)}")
    print(folder)


def _encode_texts(
    store: WaveformStore,
    folder: Path,
    kind: str,
    device: str,
    settings: Sequence[str],
    *,
    quiet: bool,
) -> None:
    from ezaudio.data.texts import encode_texts, prompts_of
    from ezaudio.text import TEXT_ENCODERS

    if kind not in TEXT_ENCODERS:
        raise InputError("text", kind, ", ".join(TEXT_ENCODERS))
    encoder = load_config(TEXT_ENCODERS[kind], {}, settings).build().to(device)
    prompts = sorted(set(prompts_of(store.rows)))
    with _bar("encoding", len(prompts), quiet=quiet) as tell:
        count = encode_texts(prompts, encoder, folder, progress=tell)
    print(f"{count} prompts")
    print(folder)


def _stats(source: Path, kind: str | None, options: SourceOptions, *, as_json: bool) -> None:
    told = of_store(source) if is_store(source) else of_rows(read_source(source, kind, options))
    if as_json:
        print(json.dumps(told, ensure_ascii=False))
    else:
        print(yaml.safe_dump(told, sort_keys=False, allow_unicode=True).rstrip())


def _options(audio: Path | None, split: str | None, labels: Path | None) -> SourceOptions:
    if audio is not None and not audio.is_dir():
        raise InputError("audio", str(audio), "a folder")
    names = read_label_names(labels) if labels is not None else {}
    return SourceOptions(audio=audio, split=split, names=names)


def _folder(output: Path | None) -> Path:
    if output is None:
        raise InputError("output", None, "a folder")
    if output.exists() and not output.is_dir():
        raise InputError("output", str(output), "a folder, or a new place")
    return output


def _part(text: str) -> Part:
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal()):
        raise InputError("part", text, "K/N, such as 0/2 and 1/2")
    return Part(int(number), int(of))


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
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn())
    columns += (MofNCompleteColumn(), Remaining())
    console = Console(stderr=True)
    with Progress(*columns, console=console, redirect_stdout=False, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
