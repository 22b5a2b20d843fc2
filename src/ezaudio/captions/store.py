"""A caption set on disk: parquet shards that appear whole or not at all.

    SET/
      set.json                    what was run, and its counts
      captions/part-000000.parquet    records of chunk 0; its presence says that the chunk is done
      failures/part-000000.parquet    what gave no caption
      answers/MACHINE.sqlite      every answer that was paid for

A shard carries the hash of the chunk that it was made from and whether the chunk was finished, so
that a run that is started again knows what is left.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from ezaudio.captions.record import CaptionRecord, Failure
from ezaudio.checkpoints import atomic_write, write_bytes
from ezaudio.errors import CheckpointError, EzAudioError, InputError

SET_FILE = "set.json"
MADE_OF_SETS = ("dedup", "filter")
"""Sources of sets that are made of other sets."""
_KEY = b"ezaudio"
_TYPES = {"str": "string", "float": "float64", "int": "int64", "bool": "bool_"}
_ROWS_AT_ONCE = 4096

Row = TypeVar("Row", CaptionRecord, Failure)


def arrow() -> Any:
    """Import pyarrow with parquet.

    Raises:
        EzAudioError: the extra is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise EzAudioError(
            'captions need pyarrow: pip install "ezaudio[captions]" brings it'
        ) from None
    return pyarrow


def write_rows(
    path: Path, rows: Sequence[Row], cls: type[Row], facts: Mapping[str, Any] | None = None
) -> None:
    """Write one shard atomically.

    Args:
        path: `*.parquet`; its folder is made.
        rows: records, or failures.
        cls: their class.
        facts: JSON values that the shard carries.

    Raises:
        OutputError: the file cannot be written.
    """
    pa = arrow()
    columns = {f.name: [getattr(row, f.name) for row in rows] for f in fields(cls)}
    schema = _schema(pa, cls).with_metadata({_KEY: json.dumps(dict(facts or {})).encode()})
    table = pa.table(columns, schema=schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        pa.parquet.write_table(table, temporary, compression="zstd")


def read_rows(path: Path, cls: type[Row]) -> Iterator[Row]:
    """Read one shard, a few thousand rows at a time.

    Raises:
        CheckpointError: the file is missing, damaged, or holds something else.
    """
    pa = arrow()
    names = [f.name for f in fields(cls)]
    try:
        with pa.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=names):
                for values in zip(*(batch.column(n).to_pylist() for n in names), strict=True):
                    yield cls(*values)
    except (OSError, KeyError, TypeError, pa.ArrowException) as error:
        raise CheckpointError(f"{path}: not a shard of captions, or damaged ({error})") from None


def read_facts(path: Path) -> dict[str, Any] | None:
    """Read what a shard carries, without its rows; None when there is no whole shard."""
    pa = arrow()
    try:
        metadata = pa.parquet.read_schema(path).metadata or {}
        facts = json.loads(metadata.get(_KEY, b"null"))
    except (OSError, ValueError, pa.ArrowException):
        return None
    return facts if isinstance(facts, dict) else None


def rows_in(path: Path) -> int:
    """Count the rows of a shard; none when it is damaged."""
    pa = arrow()
    try:
        return int(pa.parquet.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException):
        return 0


def _schema(pa: Any, cls: type[Any]) -> Any:
    def kind(annotation: str) -> Any:
        plain = annotation.removesuffix(" | None")
        if plain == "datetime":
            return pa.timestamp("us", tz="UTC")
        return getattr(pa, _TYPES[plain])()

    return pa.schema([(f.name, kind(str(f.type))) for f in fields(cls)])


class CaptionSet:
    """The folder of a caption set.

    Args:
        folder: it is made when something is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.answers = self.folder / "answers"

    def part(self, index: int, kind: str = "captions") -> Path:
        """Path of a chunk's shard: `captions` or `failures`."""
        return self.folder / kind / f"part-{index:06d}.parquet"

    def parts(self, kind: str = "captions") -> list[Path]:
        """Shards that exist, in order."""
        return sorted((self.folder / kind).glob("part-*.parquet"))

    def records(self) -> Iterator[CaptionRecord]:
        """Every caption, in order, a few thousand in memory at a time.

        Raises:
            InputError: there is no caption set in the folder.
            CheckpointError: a shard is damaged.
        """
        self.require()
        for part in self.parts():
            yield from read_rows(part, CaptionRecord)

    def failures(self) -> Iterator[Failure]:
        """Everything that gave no caption, in order."""
        for part in self.parts("failures"):
            yield from read_rows(part, Failure)

    def require(self) -> None:
        """Refuse a folder that holds no caption set, or one that was to be made anew and is not
        whole: what a killed `dedup` or `filter` leaves.
        """
        if not (self.folder / SET_FILE).is_file() and not self.parts():
            raise InputError("set", str(self.folder), "a folder made by `ezaudio caption`")
        card = self.read_card()
        if card.get("source") in MADE_OF_SETS and not card.get("finished"):
            allowed = f"a finished set; run `ezaudio caption {card['source']}` again"
            raise InputError("set", str(self.folder), allowed)

    def drop_parts_from(
        self, index: int, kinds: Sequence[str] = ("captions", "failures", "scored")
    ) -> None:
        """Remove the shards of chunks that the input no longer has."""
        for kind in kinds:
            for path in self.parts(kind):
                if int(path.stem.removeprefix("part-")) >= index:
                    path.unlink()

    def read_card(self) -> dict[str, Any]:
        """What `set.json` says; empty when there is none yet."""
        try:
            card = json.loads((self.folder / SET_FILE).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError):
            raise CheckpointError(f"{self.folder / SET_FILE}: damaged") from None
        return card if isinstance(card, dict) else {}

    def write_card(self, card: Mapping[str, Any]) -> None:
        """Write `set.json` atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(dict(card), indent=2, ensure_ascii=False, default=_plain)
        write_bytes(self.folder / SET_FILE, (text + "\n").encode())


def common_root(sets: Sequence[Path], audio: str = "") -> str:
    """Folder of the sound files of several sets.

    Args:
        sets: folders of caption sets.
        audio: what a person says; empty takes what the sets say.

    Raises:
        InputError: the sets' sounds lie in different folders.
    """
    if audio:
        return audio
    roots = {_root(CaptionSet(path)) for path in sets} - {""}
    if len(roots) > 1:
        raise InputError("audio", ", ".join(sorted(roots)), "one folder for the sounds of all sets")
    return roots.pop() if roots else ""


def _root(caption_set: CaptionSet) -> str:
    """Folder of a set's sounds; empty where its clips name none."""
    first = next(caption_set.records(), None) if caption_set.parts() else None
    names_sounds = first is not None and first.audio
    return str(caption_set.read_card().get("audio_root", "")) if names_sounds else ""


class SetWriter:
    """Writes records into a new caption set, shard by shard.

    Args:
        target: its old shards are removed first.
        rows_per_part: most rows of one shard.
    """

    def __init__(self, target: CaptionSet, *, rows_per_part: int = 20_000) -> None:
        target.drop_parts_from(0, ("captions",))
        self._target = target
        self._limit = rows_per_part
        self._rows: list[CaptionRecord] = []
        self._next = 0
        self.written = 0

    def add(self, record: CaptionRecord) -> None:
        """Take one record."""
        self._rows.append(record)
        if len(self._rows) >= self._limit:
            self.flush()

    def extend(self, records: Iterable[CaptionRecord]) -> None:
        """Take several records."""
        for record in records:
            self.add(record)

    def flush(self) -> None:
        """Write what waits; call it at the end."""
        if not self._rows:
            return
        write_rows(self._target.part(self._next), self._rows, CaptionRecord)
        self.written += len(self._rows)
        self._next += 1
        self._rows = []


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)
