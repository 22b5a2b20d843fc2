"""Lists of clips as files: CSV (commas, semicolons or tabs), JSON Lines, JSON and parquet.

One reader for all of them. It reads UTF-8 with or without a byte-order mark (and UTF-16 with one),
takes the usual names of columns, and turns a line that gives no clip into a `BadLine` with its
number, so that the others are read and nothing is lost without a word. `ezaudio.data.collections`
reads the lists of published collections with the same functions.
"""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from ezaudio.data.clips import COLUMN_OF, BadLine, ClipRow, row_from, shortened
from ezaudio.data.text_files import objects_of, opened, undecoded
from ezaudio.errors import InputError

Cells: TypeAlias = "tuple[int, list[str]]"
"""Number of a line, and its cells."""
Record: TypeAlias = "tuple[str, dict[str, Any]]"
"""File and line, and column to value; columns in lower case with `_` for spaces."""

_DELIMITERS = (",", ";", "\t")
_MOST_LINES_OF_A_ROW = 200
_ROWS_AT_ONCE = 10_000


def lines_of(
    path: Path, *, delimiter: str | None = None, quoted: bool = True, field: str = "manifest"
) -> Iterator[Cells | BadLine]:
    """Read the rows of a CSV or TSV file with the numbers of their lines; empty ones are left out.

    A row may have line breaks inside quotation marks. A mark that is never closed spoils its own
    line only.

    Args:
        path: The file.
        delimiter: Between cells; None takes the one of the first line.
        quoted: Whether quotation marks hold a cell together.
        field: That named the file, for the error.

    Raises:
        InputError: The file cannot be read.
    """
    with opened(path, field=field) as file:
        waiting: deque[str] = deque()
        number = 0
        while _filled(waiting, file, 1):
            number += 1
            if not waiting[0].strip(" \t\r\n,;\ufeff"):
                waiting.popleft()
                continue
            delimiter = delimiter or _delimiter_of(waiting[0])
            found, taken = _row(waiting, file, delimiter, quoted=quoted)
            text = "".join(islice(waiting, taken))
            for _ in range(taken):
                waiting.popleft()
            where = f"{path.name}:{number}"
            if isinstance(found, str):
                yield BadLine(where, found, shortened(text.strip()))
            elif undecoded(text):
                shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                yield BadLine(where, "not UTF-8", shortened(shown.strip()))
            else:
                yield number, [cell.strip() for cell in found]
            number += taken - 1


def table_of(
    path: Path,
    columns: Iterable[str] = (),
    *,
    delimiter: str | None = None,
    quoted: bool = True,
    field: str = "manifest",
) -> Iterator[Record | BadLine]:
    """Read a CSV or TSV file whose first line names the columns.

    Args:
        path: The file.
        columns: Names that must be there.
        delimiter: Between cells; None takes the one of the first line.
        quoted: Whether quotation marks hold a cell together.
        field: That named the file, for the error.

    Raises:
        InputError: The file cannot be read, a column is absent, or one comes twice.
    """
    lines = lines_of(path, delimiter=delimiter, quoted=quoted, field=field)
    first = next((line for line in lines if not isinstance(line, BadLine)), None)
    header = [] if first is None else [column_name(cell) for cell in first[1]]
    if missing := [name for name in columns if name not in header]:
        allowed = f"a header with {', '.join(missing)}"
        raise InputError(path.name, ",".join(header) or "no header", allowed)
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise InputError(f"{path.name}:1", twice[0], "every column once")
    for line in lines:
        if isinstance(line, BadLine):
            yield line
            continue
        number, cells = line
        where = f"{path.name}:{number}"
        if len(cells) == len(header):
            yield where, dict(zip(header, cells, strict=True))
            continue
        reason = "wrong number of columns"
        told = f"{len(cells)} values for {len(header)} columns; a comma inside a text needs quotes"
        yield BadLine(where, reason, shortened(f"{told}: {','.join(cells)}"))


def records_of(path: Path, *, field: str = "manifest") -> Iterator[Record | BadLine]:
    """Read a list of any kind as columns and values.

    Args:
        path: A file with an ending of `READERS`.
        field: That named it, for the error.

    Raises:
        InputError: The file cannot be read, or is of another kind.
        CheckpointError: A parquet file is damaged.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(field, str(path), f"a file ending in {', '.join(READERS)}")
    return reader(path, field)


def rows_of(
    path: Path, *, needs: Sequence[str] = ("file",), field: str = "manifest"
) -> Iterator[ClipRow | BadLine]:
    """Read an own list, a row a line.

    Args:
        path: CSV, TSV, JSON Lines, JSON or parquet.
        needs: Fields of which one has to be there.
        field: That named the list, for the error.

    Raises:
        InputError: As `records_of`; or no column of the list is one that is needed.
        CheckpointError: A parquet file is damaged.
    """
    columns: dict[str, None] = {}
    rows = 0
    for record in records_of(path, field=field):
        if isinstance(record, BadLine):
            yield record
            continue
        where, values = record
        columns |= dict.fromkeys(values)
        row = row_from(values, where)
        if isinstance(row, ClipRow) and not any(getattr(row, name) for name in needs):
            row = BadLine(where, f"no {' or '.join(needs)}", shortened(values))
        rows += isinstance(row, ClipRow)
        yield row
    if columns and not rows and not {COLUMN_OF.get(name, name) for name in columns} & set(needs):
        wanted = " or ".join(f"`{name}`" for name in needs)
        raise InputError(f"{path.name}:1", ",".join(columns), f"a list with a column {wanted}")


def read_manifest(path: Path) -> list[ClipRow]:
    """Read an own list that has to be without fault.

    Raises:
        InputError: The file is missing or of another kind, holds no clip, or a row is malformed
            (named by line).
        CheckpointError: A parquet file is damaged.
    """
    rows: list[ClipRow] = []
    for row in rows_of(path):
        if isinstance(row, BadLine):
            raise row.as_error()
        rows.append(row)
    if not rows:
        raise InputError("manifest", str(path), "a file with at least one clip")
    return rows


def write_manifest(path: Path, rows: Iterable[ClipRow]) -> None:
    """Write rows as CSV, JSON Lines or parquet, as the ending says; whole or not at all.

    JSON Lines leave out the fields that have their defaults.

    Raises:
        InputError: Another ending.
        OutputError: The file cannot be written.
    """
    from ezaudio.files import atomic_write

    write = writer_for(path)
    with atomic_write(path) as temporary:
        write(temporary, rows)


def writer_for(path: Path) -> Callable[[Path, Iterable[ClipRow]], None]:
    """Give what writes a list with this ending.

    Raises:
        InputError: There is none.
    """
    if path.suffix.lower() not in WRITERS:
        raise InputError("manifest", str(path), f"a file ending in {', '.join(WRITERS)}")
    return WRITERS[path.suffix.lower()]


def column_name(text: object) -> str:
    """A column's name in one spelling: ` File Name ` is `file_name`."""
    return "_".join(str(text).strip().strip("\ufeff").casefold().replace("-", " ").split())


def _filled(waiting: deque[str], file: TextIO, count: int) -> bool:
    """Have at least so many lines at hand; False at the end of the file."""
    while len(waiting) < count:
        line = file.readline()
        if not line:
            return False
        waiting.append(line)
    return True


def _row(
    waiting: deque[str], file: TextIO, delimiter: str, *, quoted: bool
) -> tuple[list[str] | str, int]:
    """Cells of the next row, or why there are none; and how many lines it takes."""
    if not quoted or '"' not in waiting[0]:
        return waiting[0].rstrip("\r\n").split(delimiter), 1
    for count in range(1, _MOST_LINES_OF_A_ROW):
        if not _filled(waiting, file, count):
            break
        lines = list(islice(waiting, count))
        try:
            reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
            return next(reader), count
        except csv.Error as error:
            if "unexpected end" not in str(error):
                break
    return "quotation marks that do not match", 1


def _delimiter_of(line: str) -> str:
    """What stands between the columns of a first line: what makes most of them known names."""

    def known(delimiter: str) -> tuple[int, int]:
        names = [column_name(cell.strip('"')) for cell in line.split(delimiter)]
        return sum(name in COLUMN_OF for name in names), -_DELIMITERS.index(delimiter)

    best = max(_DELIMITERS, key=known)
    if known(best)[0] and best in line:
        return best
    return "\t" if "\t" in line and "," not in line else ","


def _read_table(path: Path, field: str) -> Iterator[Record | BadLine]:
    return table_of(path, field=field)


def _read_json_lines(path: Path, field: str) -> Iterator[Record | BadLine]:
    with opened(path, field=field) as file:
        for number, text in enumerate(file, start=1):
            if not text.strip():
                continue
            where = f"{path.name}:{number}"
            if undecoded(text):
                shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                yield BadLine(where, "not UTF-8", shortened(shown.strip()))
                continue
            try:
                values = json.loads(text)
            except (ValueError, RecursionError):
                values = None
            if isinstance(values, dict):
                yield where, {column_name(name): value for name, value in values.items()}
            else:
                yield BadLine(where, "not a JSON object", shortened(text.strip()))


def _read_json(path: Path, field: str) -> Iterator[Record | BadLine]:
    for found in objects_of(path, "data", field=field):
        if isinstance(found, BadLine):
            yield found
            continue
        number, values = found
        yield f"{path.name}[{number}]", {column_name(key): v for key, v in values.items()}


def _read_parquet(path: Path, field: str) -> Iterator[Record | BadLine]:
    from ezaudio.data.tables import read_table

    if not path.is_file():
        raise InputError(field, str(path), "a readable file (no such file)")
    table = read_table(path)
    names = [column_name(name) for name in table.column_names]
    number = 0
    for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
        for values in batch.to_pylist():
            number += 1
            yield f"{path.name}:{number}", dict(zip(names, values.values(), strict=True))


READERS: dict[str, Callable[[Path, str], Iterator[Record | BadLine]]] = {
    ".csv": _read_table,
    ".tsv": _read_table,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
"""How own lists are read, by ending."""


def _write_csv(path: Path, rows: Iterable[ClipRow]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(ClipRow.model_fields), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            values = row.model_dump(mode="json")
            for name in ("captions", "tags"):
                values[name] = _cell_of(values[name])
            values["events"] = json.dumps(values["events"]) if values["events"] else ""
            for name in ("duration", "start", "end"):
                values[name] = values[name] or ""
            writer.writerow(values)


def _cell_of(texts: Sequence[str]) -> str:
    """Texts in one cell: with "|" between, or as JSON where a text holds one itself."""
    plain = "|".join(texts)
    ambiguous = plain.count("|") != max(0, len(texts) - 1) or plain.startswith("[")
    return json.dumps(texts, ensure_ascii=False) if ambiguous else plain


def _write_json_lines(path: Path, rows: Iterable[ClipRow]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            values = row.model_dump(mode="json", exclude_defaults=True)
            file.write(json.dumps(values, ensure_ascii=False) + "\n")


def _write_parquet(path: Path, rows: Iterable[ClipRow]) -> None:
    from ezaudio.data.tables import write_stream

    write_stream(path, rows)


WRITERS: dict[str, Callable[[Path, Iterable[ClipRow]], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
    ".parquet": _write_parquet,
}
"""How lists are written, by ending."""
