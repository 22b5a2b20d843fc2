"""Packing: recordings in any format into shards at one sample rate, once.

A shard holds the clips of a fixed part of the manifest. It is finished when its table lies beside
it, so a run that is killed goes on with the next shard, and several machines share the work by
taking every n-th shard. A shard whose files have changed since (in size or time) is made anew. What
is not fit to learn from is in the quarantine list and not in the index. Joining the tables is what
completes a store: only then can copies of one recording be seen that lie in different shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path, PurePosixPath
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
    quarantined,
    write_quarantine,
)
from ezaudio.data.clips import ClipRow
from ezaudio.data.collections.youtube import place_of
from ezaudio.data.shards import (
    INDEX,
    QUARANTINE,
    TABLE,
    Part,
    fingerprint,
    finished,
    new_shard,
    refuse_other,
    remove_shards_from,
    table_path,
    tar_path,
    write_head,
)
from ezaudio.data.sounds import SoundFiles, changed
from ezaudio.data.tables import (
    numbers,
    read_facts,
    read_table,
    select,
    write_joined,
    write_table,
)
from ezaudio.data.waveforms import KIND
from ezaudio.data.work import in_order
from ezaudio.errors import AudioFileError, InputError
from ezaudio.files import make_folder

_SPARE_S = 0.1
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
    row: ClipRow,
    files: SoundFiles,
    config: PackConfig,
    *,
    parts: frozenset[str] = frozenset(),
    keep: bool = False,
) -> tuple[ClipFacts, Quarantined | None, bytes]:
    """Read and measure one recording; never raises for what is wrong with it.

    Args:
        row: Of the manifest.
        files: Where it is.
        config: Rate, format and limits.
        parts: Files of which the manifest has several parts.
        keep: Give the encoded clip, too.
    """
    if not files.exists(row.file):
        return ClipFacts(), quarantined(row, "missing", f"not below {files.root.name}"), b""
    try:
        clip = files.read(row.file, config.sample_rate)
    except (AudioFileError, MemoryError) as error:
        told = str(error).replace(f"{files.root}/", "") or "too large for the memory"
        return ClipFacts(), quarantined(row, "unreadable", told), b""
    length = len(clip.samples) / clip.sample_rate
    span = span_in(row, length, several=row.file in parts)
    if span[0] >= length:
        told = f"starts at {row.start:g} s, the file ends at {length:.2f} s"
        return ClipFacts(), quarantined(row, "outside", told), b""
    begin, stop = (round(second * clip.sample_rate) for second in span)
    samples = clip.samples[begin:stop]
    facts = measure(samples, clip.sample_rate, config.check)
    found = fault(row, facts, config.check)
    if found is not None or not keep:
        return facts, found, b""
    return facts, None, encode_audio(samples, clip.sample_rate, format=config.audio)


def span_in(row: ClipRow, length_s: float, *, several: bool) -> tuple[float, float]:
    """The part of a file that a row means, in seconds.

    A row's `start` and `end` say where a clip lies in its recording. The file is that recording
    where the list has several parts of it, or where the span lies inside the file; otherwise it is
    the clip already (`ID_30.wav` is cut at 30 s of a video), and is taken whole.

    Args:
        row: Of the manifest.
        length_s: Of the file.
        several: The list has several parts of the file.
    """
    end = row.end if row.end > row.start else length_s
    if several:
        return row.start, min(end, length_s)
    place = place_of(PurePosixPath(row.file).stem, unit_s=None)
    is_cut = place is not None and place.start is not None
    spare = length_s - (end - row.start)
    inside = end <= length_s + _SPARE_S and spare > _SPARE_S and row.start < length_s
    return (row.start, min(end, length_s)) if inside and not is_cut else (0.0, length_s)


def parts_in(rows: Sequence[ClipRow]) -> frozenset[str]:
    """Files of which a list has several parts."""
    spans: dict[str, set[tuple[float, float]]] = {}
    for row in rows:
        spans.setdefault(row.file, set()).add((row.start, row.end))
    return frozenset(file for file, found in spans.items() if len(found) > 1)


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
    files, parts = SoundFiles(root), parts_in(rows)
    results = in_order(
        lambda row: examine(row, files, config, parts=parts)[:2], rows, workers=workers
    )
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
    parts = parts_in(rows)
    marks = [_mark(chunk, settings, parts) for chunk in chunks]
    refuse_other(folder, KIND, marks)
    tell = progress or (lambda _: None)
    mine, files = part or Part(), SoundFiles(root)
    for number, chunk in enumerate(chunks):
        if not mine.has(number):
            continue
        prints = [files.fingerprint(row.file) for row in chunk]
        if finished(folder, number, marks[number]) and not _stale(folder, number, prints):
            tell(len(chunk))
            continue
        (folder / INDEX).unlink(missing_ok=True)  # no store while a shard is others than it says
        made = _examined(chunk, files, settings, parts, workers)
        facts = {"mark": marks[number], "files": prints}
        _pack_shard(folder, number, _told(made, tell), facts)
    return join(folder, marks, settings)


def join(folder: Path, marks: Sequence[str], config: PackConfig) -> Packed:
    """Complete a store from its shards' tables; does nothing while some are missing."""
    missing = [n for n, mark in enumerate(marks) if not finished(folder, n, mark)]
    if missing:
        return Packed(0, 0.0, (), len(missing))
    paths = [table_path(folder, number) for number in range(len(marks))]
    tables = [read_table(path) for path in paths]
    left_out = [Quarantined(*entry) for path in paths for entry in read_facts(path)["quarantined"]]
    hashes = [value for t in tables for value in t.column("audio_sha256").to_pylist()]
    copies = duplicates(_places(tables), hashes) if config.check.duplicates else {}
    keep = np.ones(len(hashes), bool)
    keep[list(copies)] = False
    left_out += [copies[i] for i in sorted(copies)]
    starts = np.cumsum([0, *(t.num_rows for t in tables)])
    kept = [select(t, keep[starts[i] : starts[i + 1]]) for i, t in enumerate(tables)]
    write_quarantine(folder / QUARANTINE, left_out)
    clips = int(keep.sum())
    if not clips:
        told = f"one usable clip; the first: {left_out[0].reason}, {left_out[0].detail}"
        raise InputError("manifest", f"{len(left_out)} clips", told)
    remove_shards_from(folder, len(marks))
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
    return Packed(clips, samples / config.sample_rate, tuple(left_out))


def _places(tables: Sequence[Any]) -> list[ClipRow]:
    """Rows with no more than what tells them apart: millions are made at once."""
    names = ("file", "split", "name", "start", "end")
    found: list[ClipRow] = []
    for table in tables:
        columns = [table.column(name).to_pylist() for name in names]
        rows = (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))
        found += [ClipRow.model_construct(**row) for row in rows]
    return found


def _mark(chunk: Sequence[ClipRow], config: PackConfig, parts: frozenset[str]) -> str:
    """What a shard was made from; limits on copies do not change it."""
    settings = config.model_dump(exclude={"check": {"duplicates"}})
    rows = [row.model_dump(exclude_defaults=True) for row in chunk]
    return fingerprint(rows, settings, sorted(parts & {row.file for row in chunk}))


def _stale(folder: Path, number: int, prints: Sequence[tuple[int, int] | None]) -> bool:
    """Whether files have changed since a shard was made of them."""
    return changed(read_facts(table_path(folder, number)).get("files") or (), prints)


def _examined(
    chunk: Sequence[ClipRow],
    files: SoundFiles,
    config: PackConfig,
    parts: frozenset[str],
    workers: int,
) -> Iterator[_Made]:
    def made(row: ClipRow) -> _Made:
        facts, found, content = examine(row, files, config, parts=parts, keep=True)
        measured = row.model_copy(update={"duration": round(facts.duration, 4)})
        samples = round(facts.duration * config.sample_rate)
        return _Made(measured, content, samples, facts, found)

    return in_order(made, chunk, workers=workers)


def _told(made: Iterator[_Made], tell: Callable[[int], None]) -> Iterator[_Made]:
    for clip in made:
        yield clip
        tell(1)


def _pack_shard(folder: Path, number: int, made: Iterator[_Made], facts: Mapping[str, Any]) -> None:
    rows: list[ClipRow] = []
    columns: dict[str, list[Any]] = {n: [] for n in ("shard", "offset", "bytes", "samples", *FACTS)}
    left_out: list[tuple[str, str, str, float, float]] = []
    table = table_path(folder, number)
    table.unlink(missing_ok=True)
    with new_shard(tar_path(folder, number)) as tar:
        for place, clip in enumerate(made):
            if clip.fault is not None:
                left_out.append(astuple(clip.fault))
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
    write_table(table, rows, columns, facts={**facts, "quarantined": left_out})
