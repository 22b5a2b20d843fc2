"""Packing: recordings in any format into shards at one sample rate, once.

A shard holds the clips of a fixed part of the manifest. It is finished when its table lies beside
it, so a run that is killed goes on with the next shard, and several machines share the work by
taking every n-th shard. What is not fit to learn from is in the quarantine list and not in the
index. Joining the tables is what completes a store: only then can copies of one recording be seen
that lie in different shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from ezaudio.audio import encode_audio
from ezaudio.config import Config
from ezaudio.data.checks import (
    CheckConfig,
    ClipFacts,
    Quarantined,
    duplicates,
    fault,
    measure,
    write_quarantine,
)
from ezaudio.data.manifest import ClipRow
from ezaudio.data.shards import (
    QUARANTINE,
    TABLE,
    Part,
    fingerprint,
    finished,
    new_shard,
    refuse_other,
    table_path,
    tar_path,
    write_head,
)
from ezaudio.data.sounds import SoundFiles
from ezaudio.data.tables import numbers, read_facts, read_table, select, write_joined, write_table
from ezaudio.data.waveforms import KIND
from ezaudio.data.work import in_order
from ezaudio.errors import AudioFileError, InputError
from ezaudio.files import make_folder

FACTS = tuple(field.name for field in fields(ClipFacts) if field.name != "duration")
"""Measured values that a store's table keeps, one column each."""


class PackConfig(Config):
    """How recordings are packed.

    Attributes:
        sample_rate: Of all clips, in Hz; mono.
        audio: `flac` (half the room) or `wav` (crops are read without decoding).
        clips_per_shard: Rows of the manifest that go into one shard.
        check: What is fit to learn from.
    """

    sample_rate: int = Field(24_000, ge=1000, le=384_000)
    audio: Literal["flac", "wav"] = "flac"
    clips_per_shard: int = Field(1000, ge=1)
    check: CheckConfig = CheckConfig()


@dataclass(frozen=True)
class Packed:
    """What packing did.

    Attributes:
        clips: In the store; 0 while other parts are missing.
        seconds: Of sound.
        quarantined: Clips left out.
        missing_shards: Shards that another part has yet to make.
    """

    clips: int
    seconds: float
    quarantined: tuple[Quarantined, ...]
    missing_shards: int = 0


class _Made(NamedTuple):
    row: ClipRow
    content: bytes
    samples: int
    facts: ClipFacts
    fault: Quarantined | None


def examine(
    row: ClipRow, files: SoundFiles, config: PackConfig, *, keep: bool = False
) -> tuple[ClipFacts, Quarantined | None, bytes]:
    """Read and measure one recording; never raises for what is wrong with it.

    Args:
        row: Of the manifest.
        files: Where it is.
        config: Rate, format and limits.
        keep: Give the encoded clip, too.
    """
    if not files.exists(row.file):
        return ClipFacts(), Quarantined(row.file, "missing", f"not below {files.root.name}"), b""
    try:
        clip = files.read(row.file, config.sample_rate)
    except (AudioFileError, MemoryError) as error:
        told = str(error).replace(f"{files.root}/", "") or "too large for the memory"
        return ClipFacts(), Quarantined(row.file, "unreadable", told), b""
    facts = measure(clip.samples, clip.sample_rate, config.check)
    found = fault(row, facts, config.check)
    if found is not None or not keep:
        return facts, found, b""
    return facts, None, encode_audio(clip.samples, clip.sample_rate, format=config.audio)


def check_clips(
    rows: Sequence[ClipRow], root: Path, config: PackConfig, *, workers: int = 1
) -> Iterator[tuple[ClipRow, ClipFacts, Quarantined | None]]:
    """Measure every recording of a manifest, in order; copies are told once all are known.

    Args:
        rows: The manifest.
        root: Folder of the recordings.
        config: Rate and limits.
        workers: Threads.
    """
    files = SoundFiles(root)
    results = in_order(lambda row: examine(row, files, config)[:2], rows, workers=workers)
    for row, (facts, found) in zip(rows, results, strict=True):
        yield row, facts, found


def pack_clips(
    rows: Sequence[ClipRow],
    root: Path,
    folder: Path,
    config: PackConfig | None = None,
    *,
    part: Part | None = None,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Packed:
    """Pack the recordings of a manifest, or go on where an earlier run stopped.

    Args:
        rows: The manifest.
        root: Folder of the recordings.
        folder: Where the store goes.
        config: Rate, format and limits.
        part: Which shards are made here; all of them when left out.
        workers: Threads.
        progress: Called with the number of clips done.

    Raises:
        InputError: The folder holds a store of other clips or settings, or no clip is usable.
        OutputError: The folder cannot be written.
    """
    settings = config or PackConfig()
    make_folder(folder)
    size = settings.clips_per_shard
    chunks = [rows[i : i + size] for i in range(0, len(rows), size)]
    marks = [_mark(chunk, settings) for chunk in chunks]
    refuse_other(folder, KIND, marks)
    tell = progress or (lambda _: None)
    mine = part or Part()
    for number, chunk in enumerate(chunks):
        if not mine.has(number):
            continue
        if finished(folder, number, marks[number]):
            tell(len(chunk))
        else:
            made = _examined(chunk, root, settings, workers)
            _pack_shard(folder, number, _told(made, tell), marks[number])
    return join(folder, marks, settings)


def join(folder: Path, marks: Sequence[str], config: PackConfig) -> Packed:
    """Complete a store from its shards' tables; does nothing while some are missing."""
    missing = [n for n, mark in enumerate(marks) if not finished(folder, n, mark)]
    if missing:
        return Packed(0, 0.0, (), len(missing))
    paths = [table_path(folder, number) for number in range(len(marks))]
    tables = [read_table(path) for path in paths]
    quarantined = [
        Quarantined(*entry) for path in paths for entry in read_facts(path)["quarantined"]
    ]
    texts = ("file", "split", "audio_sha256")
    names, splits, hashes = (
        [v for t in tables for v in t.column(name).to_pylist()] for name in texts
    )
    copies = duplicates(names, splits, hashes) if config.check.duplicates else {}
    keep = np.ones(len(names), bool)
    keep[list(copies)] = False
    quarantined += [copies[i] for i in sorted(copies)]
    starts = np.cumsum([0, *(t.num_rows for t in tables)])
    kept = [select(t, keep[starts[i] : starts[i + 1]]) for i, t in enumerate(tables)]
    write_quarantine(folder / QUARANTINE, quarantined)
    clips = int(keep.sum())
    if not clips:
        raise InputError("manifest", f"{len(quarantined)} clips", f"one usable clip; {QUARANTINE}")
    write_joined(folder / TABLE, kept, facts={})
    samples = sum(int(numbers(t, "samples").sum()) for t in kept)
    head: dict[str, Any] = {
        "sample_rate": config.sample_rate,
        "audio": config.audio,
        "clips": clips,
        "seconds": round(samples / config.sample_rate, 3),
        "shards": [tar_path(folder, number).name for number in range(len(marks))],
        "marks": list(marks),
    }
    write_head(folder, KIND, head)
    return Packed(clips, samples / config.sample_rate, tuple(quarantined))


def _mark(chunk: Sequence[ClipRow], config: PackConfig) -> str:
    """What a shard was made from; limits on copies do not change it."""
    settings = config.model_dump(exclude={"check": {"duplicates"}})
    return fingerprint([row.model_dump(exclude_defaults=True) for row in chunk], settings)


def _examined(
    chunk: Sequence[ClipRow], root: Path, config: PackConfig, workers: int
) -> Iterator[_Made]:
    files = SoundFiles(root)

    def made(row: ClipRow) -> _Made:
        facts, found, content = examine(row, files, config, keep=True)
        measured = row.model_copy(update={"duration": round(facts.duration, 4)})
        samples = round(facts.duration * config.sample_rate)
        return _Made(measured, content, samples, facts, found)

    return in_order(made, chunk, workers=workers)


def _told(made: Iterator[_Made], tell: Callable[[int], None]) -> Iterator[_Made]:
    for clip in made:
        yield clip
        tell(1)


def _pack_shard(folder: Path, number: int, made: Iterator[_Made], mark: str) -> None:
    rows: list[ClipRow] = []
    columns: dict[str, list[Any]] = {n: [] for n in ("shard", "offset", "bytes", "samples", *FACTS)}
    quarantined: list[tuple[str, str, str]] = []
    table = table_path(folder, number)
    table.unlink(missing_ok=True)
    with new_shard(tar_path(folder, number)) as tar:
        for place, clip in enumerate(made):
            if clip.fault is not None:
                quarantined.append((clip.fault.file, clip.fault.reason, clip.fault.detail))
                continue
            key = f"{number:06d}{place:06d}"
            ending = "wav" if clip.content[:4] == b"RIFF" else "flac"
            values = {"shard": number, "offset": tar.add(f"{key}.{ending}", clip.content)}
            values |= {"bytes": len(clip.content), "samples": clip.samples}
            measured = asdict(clip.facts)
            for name, column in columns.items():
                column.append(values[name] if name in values else measured[name])
            text = clip.row.model_dump_json(exclude_defaults=True)
            tar.add(f"{key}.json", text.encode())
            rows.append(clip.row)
    write_table(table, rows, columns, facts={"mark": mark, "quarantined": quarantined})
