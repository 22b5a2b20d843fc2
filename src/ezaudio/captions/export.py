"""From a caption set to the data room: a manifest with one row a clip and all of its captions.

CSV, JSON Lines and parquet are written, by the ending (`ezaudio.data.manifest`); memory does not
grow with the set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import Field

from ezaudio.captions.grouped import Grouped
from ezaudio.captions.store import CaptionSet
from ezaudio.config import Config
from ezaudio.data.clips import ClipRow
from ezaudio.data.collections import read_excluded
from ezaudio.data.manifest import writer_for
from ezaudio.errors import AudioFileError, InputError
from ezaudio.files import atomic_write


class ExportSettings(Config):
    """What goes into the manifest.

    Attributes:
        audio_root: folder of the sound files; empty takes what the set says.
        languages: captions in these languages; `unknown` is for short ones.
        profane: keep captions that are flagged.
        valid: share of clips that go to the split `valid`; a clip's name decides.
        exclude: lists of clips that are kept out.
        check_audio: open every sound file for its duration, and leave out those that cannot be
            read.
    """

    audio_root: str = ""
    languages: tuple[str, ...] = ("en", "unknown")
    profane: bool = False
    valid: float = Field(0.0, ge=0, lt=1, description="Share of clips that go to `valid`.")
    exclude: tuple[str, ...] = ()
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
    write = writer_for(target)
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
) -> Iterator[ClipRow]:
    out = read_excluded(Path(name) for name in settings.exclude)
    for clip_id, rows in clips.groups():
        if out.has(ClipRow(name=clip_id)):
            continue
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
        yield ClipRow(
            file=_path_from(target.parent, root / audio) if audio else clip_id,
            name=clip_id,
            split="valid" if _held_out(clip_id, settings.valid) else "train",
            caption=captions[0],
            captions=tuple(captions[1:]),
            duration=round(duration_s, 3),
            license=licence,
            source_repo="; ".join(sorted({row[4] for row in ranked})),
            source_path=clip_id,
            start=start_s,
            end=end_s,
        )


def _path_from(folder: Path, file: Path) -> str:
    """Path of a sound file as the manifest in a folder names it."""
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # on another drive
        return file.resolve().as_posix()


def _duration_s(path: Path) -> float:
    from ezaudio.audio import cut_off, read_audio

    try:
        length_s = read_audio(path).duration_s
        return 0.0 if cut_off(path) else length_s
    except AudioFileError:
        return 0.0


def _held_out(clip_id: str, share: float) -> bool:
    hashed = sha256(clip_id.encode("utf-8", "replace")).digest()
    return int.from_bytes(hashed[:6], "big") < share * 2**48
