"""An index of captions by their words, and of sounds by their bytes and fingerprints, in a
temporary database on disk. The memory that it takes does not grow.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ezaudio.captions.fingerprint import Fingerprint, fingerprint_of
from ezaudio.captions.record import CaptionRecord
from ezaudio.errors import AudioFileError

_CACHE_KIB = 32_768
_BANDS, _ROWS = 8, 4
_SCHEMA = """
CREATE TABLE exact (key BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE text (id INTEGER PRIMARY KEY, body TEXT);
CREATE TABLE word (scope BLOB, value INTEGER, id INTEGER, PRIMARY KEY (scope, value, id))
    WITHOUT ROWID;
CREATE TABLE clip (name TEXT PRIMARY KEY, joined TEXT, audio TEXT, start REAL, finish REAL)
    WITHOUT ROWID;
CREATE TABLE sound (id INTEGER PRIMARY KEY, name TEXT, seconds REAL, levels BLOB);
CREATE TABLE bytes (hash BLOB PRIMARY KEY, name TEXT) WITHOUT ROWID;
"""


class DedupIndex:
    """The database; use it as a context."""

    def __init__(self) -> None:
        # No name: SQLite makes a temporary file of its own and removes it on closing.
        self._base = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
            self._base.execute(f"PRAGMA {pragma}")
        self._base.executescript(_SCHEMA)
        self._base.execute("BEGIN")

    def __enter__(self) -> DedupIndex:
        return self

    def __exit__(self, *error: object) -> None:
        self._base.close()

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


class CaptionIndex:
    """Captions that have come so far.

    Args:
        index: the database.
        similarity: share of common words and pairs of words from which captions are the same.
        across: captions of many clips share one scope, so that only likely ones are compared.
    """

    def __init__(self, index: DedupIndex, similarity: float, *, across: bool) -> None:
        self._index, self._similarity, self._across = index, similarity, across

    def look(self, scope: str, caption: str) -> tuple[str, str]:
        """Say whether a caption has come in a scope, and as what; remember it when it has not."""
        words = re.findall(r"\w+", caption.lower())
        if not self._index.first(scope, *words):
            return "duplicate caption", caption
        like = self._near(scope, words) if self._similarity < 1 else None
        return ("", "") if like is None else ("near-duplicate caption", like)

    def _near(self, scope: str, words: list[str]) -> str | None:
        shingles = _shingles(words)
        salt = _digest(scope)[:8]
        values = _minhash(shingles) if self._across else [0]
        marks = ",".join("?" * len(values))
        query = f"SELECT DISTINCT id FROM word WHERE scope = ? AND value IN ({marks})"
        for (number,) in self._index.run(query, salt, *values).fetchall():
            (body,) = self._index.one("SELECT body FROM text WHERE id = ?", number)
            other = _shingles(body.split())
            if len(shingles & other) >= self._similarity * len(shingles | other):
                return str(body)
        insert = "INSERT INTO text (body) VALUES (?)"
        self._index.note_words(salt, values, self._index.run(insert, " ".join(words)).lastrowid)
        return None


class SoundIndex:
    """Clips that have come so far, by their sound.

    Args:
        index: the database.
        root: folder that sound files lie in.
        near: compare fingerprints too, not only bytes.
    """

    def __init__(self, index: DedupIndex, root: Path, *, near: bool) -> None:
        self._index, self._root, self._near_too = index, root, near

    def joined(self, record: CaptionRecord) -> tuple[CaptionRecord, str, str]:
        """Give a record the clip in which its sound first came, and say how it was known."""
        row = self._index.one("SELECT * FROM clip WHERE name = ?", record.clip_id)
        reason = ""
        if row is None:
            clip_id, reason = self._clip_of(record)
            clip = (clip_id, record.audio, record.start_s, record.end_s)
            if clip_id != record.clip_id:
                query = "SELECT joined, audio, start, finish FROM clip WHERE name = ?"
                clip = self._index.one(query, clip_id)
            row = (record.clip_id, *clip)
            self._index.run("INSERT INTO clip VALUES (?, ?, ?, ?, ?)", *row)
        _, clip_id, audio, start_s, end_s = row
        joined = replace(record, clip_id=clip_id, audio=audio, start_s=start_s, end_s=end_s)
        return joined, reason, clip_id if reason else ""

    def _clip_of(self, record: CaptionRecord) -> tuple[str, str]:
        """Find the clip with the same sound: its name, and how the sound was recognised."""
        path = self._root / record.audio
        try:
            key = hashlib.sha256(path.read_bytes()).digest()
        except OSError:
            return record.clip_id, "unreadable audio"
        row = self._index.one("SELECT name FROM bytes WHERE hash = ?", key)
        if row is not None:
            return row[0], "duplicate audio"
        clip_id, reason = record.clip_id, ""
        if self._near_too:
            clip_id, reason = self._near(clip_id, path)
        self._index.run("INSERT INTO bytes VALUES (?, ?)", key, clip_id)
        return clip_id, reason

    def _near(self, name: str, path: Path) -> tuple[str, str]:
        from ezaudio.audio import read_audio

        try:
            fingerprint = fingerprint_of(read_audio(path))
        except AudioFileError:
            return name, "unreadable audio"
        if fingerprint is None:
            return name, ""
        keys = [(index << 32) | word for index, word in enumerate(fingerprint.words)]
        marks = ",".join("?" * len(keys))
        query = (
            "SELECT DISTINCT sound.* FROM word JOIN sound USING (id) WHERE scope = ? "
            f"AND value IN ({marks})"
        )
        for _, other, seconds, levels in self._index.run(query, b"sound", *keys):
            if fingerprint.near(Fingerprint(seconds, np.frombuffer(levels, np.int8), ())):
                return str(other), "near-duplicate audio"
        row = (name, fingerprint.seconds, fingerprint.levels.tobytes())
        insert = "INSERT INTO sound (name, seconds, levels) VALUES (?, ?, ?)"
        self._index.note_words(b"sound", keys, self._index.run(insert, *row).lastrowid)
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
