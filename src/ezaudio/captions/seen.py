"""What was seen before, in a temporary file on disk: captions by their words, sounds by their
bytes and prints. The memory that it takes does not grow.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ezaudio.captions.prints import Print, print_of
from ezaudio.captions.record import CaptionRecord
from ezaudio.errors import AudioFileError

_CACHE_KIB = 32_768
_BANDS, _ROWS = 8, 4
_SCHEMA = """
CREATE TABLE exact (key BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE text (id INTEGER PRIMARY KEY, body TEXT);
CREATE TABLE word (scope BLOB, value INTEGER, id INTEGER, PRIMARY KEY (scope, value, id))
    WITHOUT ROWID;
CREATE TABLE clip (name TEXT PRIMARY KEY, own TEXT, audio TEXT, start REAL, finish REAL)
    WITHOUT ROWID;
CREATE TABLE sound (id INTEGER PRIMARY KEY, name TEXT, seconds REAL, levels BLOB);
CREATE TABLE bytes (hash BLOB PRIMARY KEY, name TEXT) WITHOUT ROWID;
"""


class Seen:
    """The file; use it as a context."""

    def __init__(self) -> None:
        self._file = tempfile.NamedTemporaryFile(suffix=".sqlite")  # noqa: SIM115
        self._base = sqlite3.connect(self._file.name, isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
            self._base.execute(f"PRAGMA {pragma}")
        self._base.executescript(_SCHEMA)
        self._base.execute("BEGIN")

    def __enter__(self) -> Seen:
        return self

    def __exit__(self, *error: object) -> None:
        self._base.close()
        self._file.close()

    def run(self, query: str, *values: object) -> sqlite3.Cursor:
        """Run one statement."""
        return self._base.execute(query, values)

    def one(self, query: str, *values: object) -> Any:
        """Give the first row; None when there is none."""
        return self._base.execute(query, values).fetchone()

    def first(self, *parts: str) -> bool:
        """True when these texts come together for the first time."""
        query = "INSERT OR IGNORE INTO exact VALUES (?)"
        return self.run(query, _digest(*parts)).rowcount == 1

    def note_words(self, scope: bytes, values: Iterable[int], number: int | None) -> None:
        """Let something be found by any of its words."""
        rows = [(scope, value, number) for value in set(values)]
        self._base.executemany("INSERT INTO word VALUES (?, ?, ?)", rows)


class TextsSeen:
    """Captions that were seen.

    Args:
        seen: the file.
        similarity: share of common words and pairs of words from which captions are the same.
        across: captions of many clips share one scope, so that only likely ones are compared.
    """

    def __init__(self, seen: Seen, similarity: float, *, across: bool) -> None:
        self._seen, self._similarity, self._across = seen, similarity, across

    def look(self, scope: str, caption: str) -> tuple[str, str]:
        """Say whether a caption was seen in a scope, and as what; remember it when it was not."""
        words = re.findall(r"\w+", caption.lower())
        if not self._seen.first(scope, *words):
            return "duplicate caption", caption
        like = self._near(scope, words) if self._similarity < 1 else None
        return ("", "") if like is None else ("near-duplicate caption", like)

    def _near(self, scope: str, words: list[str]) -> str | None:
        own = _shingles(words)
        salt = _digest(scope)[:8]
        values = _minhash(own) if self._across else [0]
        marks = ",".join("?" * len(values))
        query = f"SELECT DISTINCT id FROM word WHERE scope = ? AND value IN ({marks})"
        for (number,) in self._seen.run(query, salt, *values).fetchall():
            (body,) = self._seen.one("SELECT body FROM text WHERE id = ?", number)
            other = _shingles(body.split())
            if len(own & other) >= self._similarity * len(own | other):
                return str(body)
        insert = "INSERT INTO text (body) VALUES (?)"
        self._seen.note_words(salt, values, self._seen.run(insert, " ".join(words)).lastrowid)
        return None


class SoundsSeen:
    """Clips that were seen, by their sound.

    Args:
        seen: the file.
        root: folder that sound files lie in.
        near: compare prints too, not only bytes.
    """

    def __init__(self, seen: Seen, root: Path, *, near: bool) -> None:
        self._seen, self._root, self._near_too = seen, root, near

    def joined(self, record: CaptionRecord) -> tuple[CaptionRecord, str, str]:
        """Give a record the clip in which its sound was first seen, and say how it was known."""
        row = self._seen.one("SELECT * FROM clip WHERE name = ?", record.clip_id)
        reason = ""
        if row is None:
            own, reason = self._clip_of(record)
            place = (own, record.audio, record.start_s, record.end_s)
            if own != record.clip_id:
                query = "SELECT own, audio, start, finish FROM clip WHERE name = ?"
                place = self._seen.one(query, own)
            row = (record.clip_id, *place)
            self._seen.run("INSERT INTO clip VALUES (?, ?, ?, ?, ?)", *row)
        _, own, audio, start_s, end_s = row
        joined = replace(record, clip_id=own, audio=audio, start_s=start_s, end_s=end_s)
        return joined, reason, own if reason else ""

    def _clip_of(self, record: CaptionRecord) -> tuple[str, str]:
        """Find the clip with the same sound: its name, and how the sound was recognised."""
        path = self._root / record.audio
        try:
            key = hashlib.sha256(path.read_bytes()).digest()
        except OSError:
            return record.clip_id, "unreadable audio"
        row = self._seen.one("SELECT name FROM bytes WHERE hash = ?", key)
        if row is not None:
            return row[0], "duplicate audio"
        own, reason = self._near(record.clip_id, path) if self._near_too else (record.clip_id, "")
        self._seen.run("INSERT INTO bytes VALUES (?, ?)", key, own)
        return own, reason

    def _near(self, name: str, path: Path) -> tuple[str, str]:
        from ezaudio.audio import read_audio

        try:
            found = print_of(read_audio(path))
        except AudioFileError:
            return name, "unreadable audio"
        if found is None:
            return name, ""
        keys = [(index << 32) | word for index, word in enumerate(found.words)]
        marks = ",".join("?" * len(keys))
        query = (
            "SELECT DISTINCT sound.* FROM word JOIN sound USING (id) WHERE scope = ? "
            f"AND value IN ({marks})"
        )
        for _, other, seconds, levels in self._seen.run(query, b"sound", *keys):
            if found.near(Print(seconds, np.frombuffer(levels, np.int8), ())):
                return str(other), "near-duplicate audio"
        row = (name, found.seconds, found.levels.tobytes())
        insert = "INSERT INTO sound (name, seconds, levels) VALUES (?, ?, ?)"
        self._seen.note_words(b"sound", keys, self._seen.run(insert, *row).lastrowid)
        return name, ""


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=16).digest()


def _shingles(words: Sequence[str]) -> frozenset[str]:
    """Words, and pairs of neighbours."""
    return frozenset(words) | {f"{a} {b}" for a, b in pairwise(words)}


_DRAW = np.random.default_rng(20260409)
_MASKS = _DRAW.integers(0, 2**63, _BANDS * _ROWS, dtype=np.uint64)
_FACTORS = _DRAW.integers(0, 2**63, _BANDS * _ROWS, dtype=np.uint64) | np.uint64(1)


def _minhash(shingles: frozenset[str]) -> list[int]:
    """Eight words of which captions with most shingles in common share at least one."""
    hashed = np.array(
        [int.from_bytes(_digest(shingle)[:8], "big") for shingle in shingles] or [0], np.uint64
    )
    mixed = (hashed[:, None] ^ _MASKS) * _FACTORS  # wraps around, as it is meant to
    least = mixed.min(0).reshape(_BANDS, _ROWS)
    return [
        int.from_bytes(_digest(str(index), *map(str, band))[:7], "big")
        for index, band in enumerate(least)
    ]
