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
from ezaudio.data.manifest import ClipRow
from ezaudio.errors import InputError
from ezaudio.files import atomic_write

REASONS = (
    "missing",
    "unreadable",
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
    """

    file: str
    reason: str
    detail: str


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
    return next((Quarantined(row.file, name, text) for name, bad, text in found if bad), None)


def duplicates(
    names: Sequence[str], splits: Sequence[str], hashes: Sequence[str]
) -> dict[int, Quarantined]:
    """Find further copies of the same audio, by row.

    Of copies on different sides of a split the one outside `train` stays, so that nothing that is
    measured on was learnt; otherwise the first stays.

    Args:
        names: Files, N.
        splits: Their splits.
        hashes: Of their audio; "" where there is none.
    """
    kept: dict[str, int] = {}
    found: dict[int, Quarantined] = {}
    order = sorted(range(len(names)), key=lambda i: (splits[i] == "train", i))
    for i in order:
        if not hashes[i]:
            continue
        first = kept.setdefault(hashes[i], i)
        if first != i:
            told = f"the same audio as {names[first]} (split {splits[first]})"
            found[i] = Quarantined(names[i], "duplicate", told)
    return found


def write_quarantine(path: Path, entries: Iterable[Quarantined]) -> None:
    """Write a quarantine list as CSV: file, reason, detail."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "reason", "detail"])
        writer.writerows((entry.file, entry.reason, entry.detail) for entry in entries)


def read_quarantine(path: Path) -> list[Quarantined]:
    """Read a quarantine list.

    Raises:
        InputError: The file is missing or no such list.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [Quarantined(r["file"], r["reason"], r["detail"]) for r in csv.DictReader(file)]
    except (OSError, KeyError, UnicodeDecodeError):
        allowed = "a CSV file with the columns file, reason, detail"
        raise InputError("quarantine", str(path), allowed) from None
