"""From a caption set to the data room: a manifest with one row a clip and all of its captions.

Rows have the names of `ezaudio.data.manifest.ClipRow`. CSV, JSON Lines and parquet are written, by
the ending; memory does not grow with the set.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import Field

from ezaudio.captions.store import CaptionSet, arrow
from ezaudio.captions.tables import Grouped
from ezaudio.checkpoints import atomic_write
from ezaudio.config import Config
from ezaudio.errors import AudioFileError, InputError

COLUMNS = (
    "file",
    "split",
    "label",
    "caption",
    "captions",
    "duration",
    "license",
    "source_repo",
    "source_path",
    "start",
    "end",
)
_SEPARATOR = "|"
_ROWS_AT_ONCE = 5000


class ExportSettings(Config):
    """What goes into the manifest.

    Attributes:
        audio_root: folder of the sound files; empty takes what the set says.
        languages: captions in these languages; `unknown` is for short ones.
        profane: keep captions that are flagged.
        valid: share of clips that go to the split `valid`; a clip's name decides.
        check_audio: open every sound file for its duration, and leave out those that cannot be
            read.
    """

    audio_root: str = ""
    languages: tuple[str, ...] = ("en", "unknown")
    profane: bool = False
    valid: float = Field(0.0, ge=0, lt=1, description="Share of clips that go to `valid`.")
    check_audio: bool = True


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What was written.

    Attributes:
        clips, captions: in the manifest.
        flagged: captions left out for their language or words.
        without_audio: clips left out because their sound is not there or cannot be read.
    """

    clips: int
    captions: int
    flagged: int
    without_audio: int


def export_manifest(source: Path, target: Path, *, settings: ExportSettings) -> ExportSummary:
    """Write the manifest of a caption set.

    Args:
        source: folder of the set.
        target: `*.csv`, `*.jsonl` or `*.parquet`; paths in it are relative to its folder.
        settings: what goes in.

    Raises:
        InputError: there is no caption set, another ending was given, or no clip can go in.
        OutputError: the file cannot be written.
    """
    write = writer_of(target)
    caption_set = CaptionSet(source)
    caption_set.require()
    root = Path(settings.audio_root or caption_set.read_card().get("audio_root", "") or ".")
    counts = dict.fromkeys(("clips", "captions", "flagged", "without_audio"), 0)
    with Grouped() as clips:
        for record in caption_set.records():
            if record.language not in settings.languages or (
                record.profane and not settings.profane
            ):
                counts["flagged"] += 1
                continue
            best = -1.0 if record.score is None else record.score
            row = (record.caption, best, record.audio, record.licence, record.source)
            clips.add(record.clip_id, (*row, record.start_s, record.end_s))
        with atomic_write(target) as temporary:
            write(temporary, _rows(clips, root, target, settings, counts))
            if not counts["clips"]:
                raise _nothing(root, counts)
    return ExportSummary(**counts)


def _nothing(root: Path, counts: dict[str, int]) -> InputError:
    """Say why a manifest would be empty."""
    if lost := counts["without_audio"]:
        allowed = f"the folder of the sound files; none of {lost} clips has one that can be read"
        return InputError("audio", str(root), allowed)
    allowed = f"a set with captions that may go into a manifest ({counts['flagged']} are flagged)"
    return InputError("set", "no clip", allowed)


def _rows(
    clips: Grouped, root: Path, target: Path, settings: ExportSettings, counts: dict[str, int]
) -> Iterator[dict[str, Any]]:
    for clip_id, rows in clips.groups():
        ranked = sorted(rows, key=lambda row: -row[1])
        captions = list(dict.fromkeys(row[0] for row in ranked))
        _, _, audio, licence, _, start_s, end_s = ranked[0]
        duration_s = end_s - start_s
        if settings.check_audio:
            duration_s = _duration_s(root / audio) if audio else 0.0
            if duration_s <= 0:
                counts["without_audio"] += 1
                continue
        counts["clips"] += 1
        counts["captions"] += len(captions)
        yield {
            "file": _path_from(target.parent, root / audio) if audio else clip_id,
            "split": "valid" if _held_out(clip_id, settings.valid) else "train",
            "label": "",
            "caption": captions[0],
            "captions": captions[1:],
            "duration": round(duration_s, 3),
            "license": licence,
            "source_repo": "; ".join(sorted({row[4] for row in ranked})),
            "source_path": clip_id,
            "start": start_s,
            "end": end_s,
        }


def _path_from(folder: Path, file: Path) -> str:
    """Path of a sound file as the manifest in a folder names it."""
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # on another drive
        return file.resolve().as_posix()


def _duration_s(path: Path) -> float:
    from ezaudio.audio import read_audio

    try:
        return read_audio(path).duration_s
    except AudioFileError:
        return 0.0


def _held_out(clip_id: str, share: float) -> bool:
    hashed = sha256(clip_id.encode("utf-8", "replace")).digest()
    return int.from_bytes(hashed[:6], "big") < share * 2**48


def _write_csv(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            further = [caption.replace(_SEPARATOR, "/") for caption in row["captions"]]
            writer.writerow({**row, "captions": _SEPARATOR.join(further)})


def _write_jsonl(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    pa = arrow()
    kinds = {
        "captions": pa.list_(pa.string()),
        **dict.fromkeys(("duration", "start", "end"), pa.float64()),
    }
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    with pa.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        waiting: list[dict[str, Any]] = []
        for row in rows:
            waiting.append(row)
            if len(waiting) == _ROWS_AT_ONCE:
                writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
                waiting = []
        writer.write_table(pa.Table.from_pylist(waiting, schema=schema))


_WRITERS: dict[str, Callable[[Path, Iterator[dict[str, Any]]], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}


def writer_of(path: Path) -> Callable[[Path, Iterator[dict[str, Any]]], None]:
    """Give what writes a manifest with this ending.

    Raises:
        InputError: there is none.
    """
    if path.suffix not in _WRITERS:
        raise InputError("manifest", str(path), f"a file ending in {', '.join(_WRITERS)}")
    return _WRITERS[path.suffix]
