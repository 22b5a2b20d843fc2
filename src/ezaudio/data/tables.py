"""Rows of clips as parquet: written whole or not at all, read as columns and, one by one, as rows.

Millions of rows stay columns in memory; a `ClipRow` is made when it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ezaudio.data.clips import ClipRow
from ezaudio.errors import CheckpointError, InputError
from ezaudio.files import atomic_write, first_line

_MOST_ROWS_KEPT = 50_000
_ROWS_AT_ONCE = 10_000
_METADATA_KEY = b"ezaudio"


def write_table(
    path: Path,
    rows: Sequence[ClipRow],
    columns: Mapping[str, Sequence[Any]],
    *,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write rows with further columns.

    Args:
        path: Parquet file; replaced atomically.
        rows: N rows.
        columns: Name to N values.
        facts: JSON values kept with the file.

    Raises:
        OutputError: The file cannot be written.
    """
    pa, _ = arrow()
    values = [row.model_dump() for row in rows]
    arrays = {
        field.name: pa.array([value[field.name] for value in values], field.type)
        for field in _schema(pa)
    }
    arrays |= {name: pa.array(column) for name, column in columns.items()}
    write_arrow(path, pa.table(arrays), facts)


def write_columns(
    path: Path, columns: Mapping[str, Sequence[Any]], *, facts: Mapping[str, Any] | None = None
) -> None:
    """Write columns that are no clips; arguments and errors as `write_table`."""
    pa, _ = arrow()
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    write_arrow(path, table, facts)


def write_stream(path: Path, rows: Iterable[ClipRow]) -> None:
    """Write rows to a parquet file as they come; few are in memory at once."""
    pa, parquet = arrow()
    schema, waiting = _schema(pa), iter(rows)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for some in _batches(waiting):
            values = [row.model_dump() for row in some]
            writer.write_table(pa.Table.from_pylist(values, schema=schema))


def _batches(rows: Iterator[ClipRow]) -> Iterator[list[ClipRow]]:
    while some := list(islice(rows, _ROWS_AT_ONCE)):
        yield some


def write_joined(path: Path, parts: Sequence[Any], *, facts: Mapping[str, Any]) -> None:
    """Write tables (of `read_table`) one after the other; arguments and errors as `write_table`."""
    pa, _ = arrow()
    write_arrow(path, pa.concat_tables(parts, promote_options="permissive"), facts)


def read_table(path: Path) -> Any:
    """Read a parquet file as an Arrow table.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    pa, parquet = arrow()
    try:
        return parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise CheckpointError(f"{path}: cannot be read ({first_line(error)})") from None


def read_facts(path: Path) -> dict[str, Any]:
    """The JSON values kept with a table, read without its rows; empty where there are none.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    pa, parquet = arrow()
    try:
        text = (parquet.read_schema(path).metadata or {}).get(_METADATA_KEY)
        return {} if text is None else dict(json.loads(text))
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise CheckpointError(f"{path}: cannot be read ({first_line(error)})") from None


def numbers(table: Any, name: str) -> NDArray[Any]:
    """A column of numbers as an array, (N,)."""
    values: NDArray[Any] = table.column(name).to_numpy()
    return values


def select(table: Any, keep: NDArray[np.bool_]) -> Any:
    """The rows of a table where `keep` is True."""
    pa, _ = arrow()
    return table.filter(pa.array(keep))


class RowTable(Sequence[ClipRow]):
    """Rows of a table, made when they are asked for.

    Args:
        table: With the columns of `ClipRow`; absent ones have their defaults.
    """

    def __init__(self, table: Any) -> None:
        names = [name for name in ClipRow.model_fields if name in table.column_names]
        self._table = table.select(names).combine_chunks()
        self._made: dict[int, ClipRow] = {}

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @overload
    def __getitem__(self, index: int) -> ClipRow: ...

    @overload
    def __getitem__(self, index: slice) -> list[ClipRow]: ...

    def __getitem__(self, index: int | slice) -> ClipRow | list[ClipRow]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        if index not in self._made:
            if len(self._made) >= _MOST_ROWS_KEPT:
                self._made.clear()
            (values,) = self._table.slice(index, 1).to_pylist()
            given = {name: value for name, value in values.items() if value is not None}
            self._made[index] = ClipRow.model_validate(given)
        return self._made[index]

    def texts(self, name: str) -> tuple[NDArray[np.int64], list[str]]:
        """A column of texts as codes (N,) and the texts they stand for."""
        column = self._table.column(name).combine_chunks().dictionary_encode()
        return column.indices.to_numpy().astype(np.int64), column.dictionary.to_pylist()

    def takes(self, split: str, *, mixed: bool = False) -> dict[str, NDArray[np.int64]]:
        """Clips (numbers) of each label of a split: those mixed from several, or the others."""
        codes, labels = self.texts("label")
        splits, names = self.texts("split")
        keep = splits == (names.index(split) if split in names else -1)
        keep &= self._several() == mixed
        clips = np.flatnonzero(keep)
        clips = clips[np.argsort(codes[clips], kind="stable")]
        found, starts = np.unique(codes[clips], return_index=True)
        groups = np.split(clips, starts[1:]) if len(clips) else []
        return {labels[code]: group for code, group in zip(found.tolist(), groups, strict=True)}

    def _several(self) -> NDArray[np.bool_]:
        """Which rows were mixed from several clips, (N,)."""
        codes, scenes = self.texts("scene")
        return np.isin(codes, [i for i, scene in enumerate(scenes) if scene != "single"])


def write_arrow(path: Path, table: Any, facts: Mapping[str, Any] | None = None) -> None:
    """Write an Arrow table, whole or not at all; arguments and errors as `write_table`."""
    _, parquet = arrow()
    metadata = {_METADATA_KEY: json.dumps(dict(facts or {})).encode()}
    with atomic_write(path) as temporary:
        parquet.write_table(table.replace_schema_metadata(metadata), temporary, compression="zstd")


def _schema(pa: Any) -> Any:
    text, number, texts = pa.string(), pa.float64(), pa.list_(pa.string())
    event = pa.struct([("label", text), ("caption", text), ("start", number), ("end", number)])
    kinds = {"captions": texts, "tags": texts, "events": pa.list_(event)}
    kinds |= dict.fromkeys(("duration", "start", "end"), number)
    return pa.schema([(name, kinds.get(name, text)) for name in ClipRow.model_fields])


def arrow() -> tuple[Any, Any]:
    """Import pyarrow and its parquet.

    Raises:
        InputError: They are not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError("pyarrow", "not installed", "pip install 'ezaudio[data]'") from None
    return pyarrow, parquet
