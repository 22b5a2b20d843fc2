"""Published files, read line by line: CSV and TSV with bad lines counted, long JSON arrays, and
rows that belong together but do not lie together.
"""

from __future__ import annotations

import csv
import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ezaudio.captions.record import BadLine, shortened
from ezaudio.errors import InputError

_BLOCK_CHARACTERS = 1 << 16
_LONGEST_OBJECT = 1 << 22
_CACHE_KIB = 16_384
_SPACE = " \t\r\n,"


@contextmanager
def opened(path: Path, *, field: str = "input") -> Iterator[TextIO]:
    """Open a text file; bytes that are not UTF-8 become U+FFFD, so that their line can be named.

    Args:
        path: the file.
        field: that named it, for the error.

    Raises:
        InputError: it cannot be read.
    """
    try:
        file = path.open(encoding="utf-8-sig", errors="replace", newline="")
    except OSError as error:
        raise InputError(field, str(path), f"a readable file ({error.strerror})") from None
    with file:
        yield file


def lines_of(path: Path, *, delimiter: str = ",") -> Iterator[tuple[int, list[str]] | BadLine]:
    """Read the rows of a CSV or TSV file with their line numbers; empty lines are passed over."""
    with opened(path) as file:
        if delimiter == "\t":
            reader = csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE)
        else:
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield BadLine(f"{path.name}:{reader.line_num}", "not CSV", str(error))
                continue
            if not row or not any(cell.strip() for cell in row):
                continue
            if any("\ufffd" in cell for cell in row):
                text = shortened(delimiter.join(row))
                yield BadLine(f"{path.name}:{reader.line_num}", "not UTF-8", text)
                continue
            yield reader.line_num, [cell.strip() for cell in row]


def rows_of(
    path: Path, columns: Iterable[str], *, delimiter: str = ","
) -> Iterator[tuple[int, dict[str, str]] | BadLine]:
    """Read a CSV or TSV file whose first line names the columns.

    Args:
        path: the file.
        columns: names that must be there.
        delimiter: between cells.

    Raises:
        InputError: the file cannot be read, or a column is absent.
    """
    lines = lines_of(path, delimiter=delimiter)
    first = next((line for line in lines if not isinstance(line, BadLine)), None)
    header = [] if first is None else [name.lower() for name in first[1]]
    if missing := [name for name in columns if name not in header]:
        allowed = f"a header with {', '.join(missing)}"
        raise InputError(path.name, ",".join(header) or "no header", allowed)
    for line in lines:
        if isinstance(line, BadLine):
            yield line
            continue
        number, cells = line
        if len(cells) != len(header):
            text = shortened(delimiter.join(cells))
            yield BadLine(f"{path.name}:{number}", "wrong number of columns", text)
            continue
        yield number, dict(zip(header, cells, strict=True))


def objects_of(path: Path, field: str) -> Iterator[tuple[int, dict[str, Any]] | BadLine]:
    """Read the objects of one array in a JSON file, `{field: [{...}, ...]}` or the array alone.

    The file is read block by block: only one object is in memory. A damaged object ends the
    reading, since nobody can tell where the next one begins; what came before it is given.

    Raises:
        InputError: the file cannot be read, or holds no such array.
    """
    decoder = json.JSONDecoder()
    with opened(path) as file:
        text = _after_bracket(path, file, field)
        number = 0
        while True:
            text = text.lstrip(_SPACE)
            if text.startswith("]"):
                return
            try:
                value, end = decoder.raw_decode(text)
            except ValueError:
                block = file.read(_BLOCK_CHARACTERS)
                if not block or len(text) > _LONGEST_OBJECT:
                    yield BadLine(f"{path.name}[{number}]", "not JSON", shortened(text))
                    return
                text += block
                continue
            text = text[end:]
            if isinstance(value, dict):
                yield number, value
            else:
                yield BadLine(f"{path.name}[{number}]", "not an object", shortened(repr(value)))
            number += 1


def _after_bracket(path: Path, file: TextIO, field: str) -> str:
    """Read up to the array's opening bracket."""
    text = file.read(_BLOCK_CHARACTERS).lstrip()
    if text.startswith("["):
        return text[1:]
    name = json.dumps(field)
    while True:
        at = text.find(name)
        rest = text[at + len(name) :].lstrip(" \t\r\n:") if at >= 0 else ""
        if rest.startswith("["):
            return rest[1:]
        block = file.read(_BLOCK_CHARACTERS)
        if not block:
            raise InputError(path.name, text[:60], f"JSON with an array `{field}`")
        text = (text[at:] if at >= 0 else text[-len(name) :]) + block


class Grouped:
    """Rows of one key brought together on disk, however far apart they came.

    Groups come in the order of their first row, and the rows of a group as they came. Use it as a
    context; the memory it takes does not grow with the rows.

    Args:
        folder: of the temporary file; None takes the system's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.NamedTemporaryFile(suffix=".sqlite", dir=folder)  # noqa: SIM115
        self._base = sqlite3.connect(self._file.name, isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
            self._base.execute(f"PRAGMA {pragma}")
        self._base.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, key TEXT, value TEXT)")
        self._base.execute("BEGIN")

    def __enter__(self) -> Grouped:
        return self

    def __exit__(self, *error: object) -> None:
        self._base.close()
        self._file.close()

    def add(self, key: str, value: object) -> None:
        """Keep one row: any JSON value."""
        text = json.dumps(value, ensure_ascii=False)
        self._base.execute("INSERT INTO row (key, value) VALUES (?, ?)", (key, text))

    def groups(self) -> Iterator[tuple[str, list[Any]]]:
        """Give each key with its rows."""
        self._base.execute("CREATE INDEX by_key ON row (key, id)")
        self._base.execute(
            "CREATE TEMP TABLE first AS SELECT key, MIN(id) AS id FROM row GROUP BY key"
        )
        keys = self._base.execute("SELECT key FROM first ORDER BY id")
        while some := keys.fetchmany(1000):
            for (key,) in some:
                found = self._base.execute(
                    "SELECT value FROM row WHERE key = ? ORDER BY id", (key,)
                )
                yield key, [json.loads(value) for (value,) in found]
