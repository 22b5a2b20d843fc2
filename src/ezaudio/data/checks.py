"""Is a clip fit to learn from? What is measured, and what is put into quarantine."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ezaudio.audio_checks import clipped_share, highest_hz, loudest_db, power_db
from ezaudio.config import Config
from ezaudio.data.clips import BadLine, ClipRow
from ezaudio.data.manifest import table_of
from ezaudio.errors import InputError
from ezaudio.files import atomic_write

REASONS = (
    "missing",
    "unreadable",
    "outside",
    "short",
    "silent",
    "clipped",
    "band-limited",
    "duplicate",
)
"""Why a clip is in quarantine; the first that holds is told."""

_FLOOR_DB = power_db(0.0)


class CheckConfig(Config):
    """Limits of a usable clip.

    Attributes:
        min_s: Shortest clip.
        silent_db: A clip is silent when no 50 ms of it are louder (RMS re full scale).
        max_clipped_share: Largest share of samples in runs of three or more at full scale.
        bandwidth_db: The bandwidth ends where the loudest spectrum stays this far below its peak.
        min_bandwidth_hz: Smallest bandwidth.
        duplicates: Put further copies of the same audio into quarantine.
    """

    min_s: float = Field(0.1, ge=0)
    silent_db: float = -60.0
    max_clipped_share: float = Field(0.01, ge=0, le=1)
    bandwidth_db: float = Field(70.0, gt=0, le=90)
    min_bandwidth_hz: float = Field(500.0, ge=0)
    duplicates: bool = True


LENIENT = CheckConfig(
    min_s=0.0, silent_db=-1000.0, max_clipped_share=1.0, min_bandwidth_hz=0.0, duplicates=False
)
"""Limits that every readable clip keeps."""


@dataclass(frozen=True)
class ClipFacts:
    """What was measured.

    Attributes:
        duration: Seconds.
        peak_db, loudest_db: Peak, and RMS of the loudest 50 ms, re full scale.
        clipped_share: Share of samples in runs of three or more at full scale.
        bandwidth_hz: Where the spectrum ends.
        audio_sha256: Hash of the samples as 16-bit numbers: the same audio in another container or
            under another name has the same.
    """

    duration: float = 0.0
    peak_db: float = _FLOOR_DB
    loudest_db: float = _FLOOR_DB
    clipped_share: float = 0.0
    bandwidth_hz: float = 0.0
    audio_sha256: str = ""


@dataclass(frozen=True)
class Quarantined:
    """A clip that is left out.

    Attributes:
        file: As in the manifest.
        reason: One of `REASONS`.
        detail: What was found, and the limit.
        start: Where the clip begins in the file, in seconds, where the row says so.
        end: Where it ends.
    """

    file: str
    reason: str
    detail: str
    start: float = 0.0
    end: float = 0.0

    def is_of(self, row: ClipRow) -> bool:
        """Whether it is this row that is left out; an entry without a span is of a whole file."""
        if self.file != row.file:
            return False
        return not self.end or (self.start, self.end) == (row.start, row.end)


def quarantined(row: ClipRow, reason: str, detail: str) -> Quarantined:
    """Leave a row out."""
    return Quarantined(row.file, reason, detail, row.start, row.end)


def without_quarantined(rows: Sequence[ClipRow], entries: Iterable[Quarantined]) -> list[ClipRow]:
    """The rows of a list that are not left out; a row is known by its file and span."""
    by_file: dict[str, list[Quarantined]] = {}
    for entry in entries:
        by_file.setdefault(entry.file, []).append(entry)
    return [r for r in rows if not any(e.is_of(r) for e in by_file.get(r.file, ()))]


def measure(samples: NDArray[np.float32], sample_rate: int, config: CheckConfig) -> ClipFacts:
    """Measure a clip, (S,)."""
    pcm = np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2")
    digest = hashlib.sha256(f"{sample_rate}:".encode())
    digest.update(pcm.tobytes())
    return ClipFacts(
        duration=len(samples) / sample_rate,
        peak_db=power_db(float(np.abs(samples).max(initial=0.0)) ** 2),
        loudest_db=loudest_db(samples, sample_rate),
        clipped_share=clipped_share(samples),
        bandwidth_hz=highest_hz(samples, sample_rate, below_db=config.bandwidth_db),
        audio_sha256=digest.hexdigest(),
    )


def fault(row: ClipRow, facts: ClipFacts, config: CheckConfig) -> Quarantined | None:
    """Find the first limit that a readable clip breaks."""
    found = [
        ("short", facts.duration < config.min_s, f"{facts.duration:.3f} s < {config.min_s:g} s"),
        (
            "silent",
            facts.loudest_db < config.silent_db,
            f"loudest 50 ms {facts.loudest_db:.0f} dB < {config.silent_db:g} dB",
        ),
        (
            "clipped",
            facts.clipped_share > config.max_clipped_share,
            f"{facts.clipped_share:.1%} of samples > {config.max_clipped_share:.1%}",
        ),
        (
            "band-limited",
            facts.bandwidth_hz < config.min_bandwidth_hz,
            f"{facts.bandwidth_hz:.0f} Hz < {config.min_bandwidth_hz:g} Hz",
        ),
    ]
    return next((quarantined(row, name, text) for name, bad, text in found if bad), None)


def duplicates(rows: Sequence[ClipRow], hashes: Sequence[str]) -> dict[int, Quarantined]:
    """Find further copies of the same audio, by row.

    Of copies on different sides of a split the one outside `train` stays, so that nothing that is
    measured on was learnt; otherwise the first stays.

    Args:
        rows: N clips.
        hashes: Of their audio; "" where there is none.
    """
    kept: dict[str, int] = {}
    found: dict[int, Quarantined] = {}
    order = sorted(range(len(rows)), key=lambda i: (rows[i].split == "train", i))
    for i in order:
        if not hashes[i]:
            continue
        first = kept.setdefault(hashes[i], i)
        if first != i:
            other = rows[first]
            told = f"the same audio as {other.name or other.file} (split {other.split})"
            found[i] = quarantined(rows[i], "duplicate", told)
    return found


def write_quarantine(
    path: Path, entries: Iterable[Quarantined], skipped: Iterable[BadLine] = ()
) -> None:
    """Write a quarantine list as CSV: file, reason, detail, start, end.

    Args:
        path: Where to.
        entries: Clips that are left out.
        skipped: Lines of the list that gave none; the file is that of the line, with its number.
    """
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "reason", "detail", "start", "end"])
        for entry in entries:
            span = [entry.start or "", entry.end or ""]
            writer.writerow([entry.file, entry.reason, entry.detail, *span])
        writer.writerows((line.where, line.reason, line.text, "", "") for line in skipped)


def read_quarantine(path: Path) -> list[Quarantined]:
    """Read a quarantine list; `file` is the only column that it needs.

    Raises:
        InputError: The file is missing or no such list.
    """
    try:
        return [_entry(record) for record in table_of(path, ("file",), field="quarantine")]
    except InputError as error:
        allowed = f"a CSV file with the columns file, reason, detail ({error.allowed})"
        raise InputError("quarantine", str(path), allowed) from None


def _entry(record: tuple[str, dict[str, str]] | BadLine) -> Quarantined:
    if isinstance(record, BadLine):
        raise record.as_error()
    where, values = record
    try:
        start, end = (float(values.get(name) or 0.0) for name in ("start", "end"))
    except ValueError:
        raise InputError(where, values, f"{where}: start and end in seconds") from None
    told = (values["file"], values.get("reason", ""), values.get("detail", ""))
    return Quarantined(*told, start, end)
