"""Files of prompts: one prompt a line, or any list that has a column `prompt`, `caption` or `text`.

A row sets what it names and leaves the rest to the options of the whole run; where it names no
seed, its own follows from that of the run. Every complaint names the file and the line. Columns
that say something else are left out, and told.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ezaudio.data.clips import COLUMN_OF, BadLine, ClipRow
from ezaudio.data.manifest import READERS, records_of
from ezaudio.data.text_files import opened, undecoded
from ezaudio.errors import InputError
from ezaudio.pipelines.generate import Request, row_options
from ezaudio.pipelines.options import GenerateOptions, check_prompt, resolve_options

_TEXT = (".txt", "")
_SHORT = {"duration": "duration_s", "fade": "fade_s"}
_LONG = {long: short for short, long in _SHORT.items()}
_ALIKE = 0.75
STDIN = "-"
ROW_KEYS = ("prompt", "output", *(_LONG.get(name, name) for name in GenerateOptions.model_fields))
"""What a row may hold."""


def read_rows(
    path: str | Path,
    defaults: Mapping[str, Any],
    given: Mapping[str, Any],
    *,
    tell: Callable[[str], None] | None = None,
) -> list[Request]:
    """Read requests from a file.

    Args:
        path: ending in `.txt` (or nothing), or as a list of clips: `.csv`, `.tsv`, `.jsonl`, ...;
            `-` is the standard input, whose kind is seen from its first line.
        defaults: of the model.
        given: options of the whole run; a row's own go first.
        tell: told which columns are no options and are left out.

    Raises:
        InputError: the file cannot be read or holds no prompt; a row is not allowed.
    """
    if str(path) == STDIN:
        with _standard_input() as spooled:
            return read_rows(spooled, defaults, given, tell=tell)
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in (*_TEXT, *READERS):
        allowed = f"a file that ends in {', '.join(_TEXT[:1] + tuple(READERS))}"
        raise InputError("prompts_file", str(path), allowed)
    requests: list[Request] = []
    ignored: dict[str, None] = {}
    rows = _lines(path) if ending in _TEXT else _records(path)
    for index, (where, values) in enumerate(rows):
        row, others = _known(values, where)
        ignored |= dict.fromkeys(others)
        requests.append(_request(row, (index, where), defaults, given))
    if not requests:
        raise InputError("prompts_file", str(path), "a file with at least one prompt")
    if ignored and tell is not None:
        tell(f"{path.name}: left out, no options: {', '.join(ignored)}")
    return requests


@contextmanager
def _standard_input() -> Iterator[Path]:
    """What comes in, as a file whose ending says of which kind it is."""
    content = sys.stdin.buffer.read()
    first = next((line.strip() for line in content.splitlines() if line.strip()), b"")
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"stdin{_kind_of(first.decode(errors='replace'))}"
        path.write_bytes(content)
        yield path


def _kind_of(first: str) -> str:
    """The ending of a file that begins with a line."""
    if first.startswith("{"):
        return ".jsonl"
    return ".csv" if "," in first and "prompt" in next(csv.reader([first])) else ".txt"


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with opened(path, field="prompts_file") as file:
        for number, line in enumerate(file, start=1):
            if undecoded(line):
                raise InputError("prompts_file", f"{path}:{number}", "text in UTF-8")
            if line.strip():
                yield f"{path.name}:{number}", {"prompt": line.strip()}


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for record in records_of(path, field="prompts_file"):
        if isinstance(record, BadLine):
            raise record.as_error()
        where, values = record
        empty = ("", None) if path.suffix.lower() in (".csv", ".tsv") else (None,)
        yield where, {name: value for name, value in values.items() if value not in empty}


def _known(values: Mapping[str, Any], where: str) -> tuple[dict[str, Any], list[str]]:
    """What a row asks for, and its other columns.

    Raises:
        InputError: there is no prompt, or a column is almost an option.
    """
    row = {name: value for name, value in values.items() if name in ROW_KEYS}
    others = [name for name in values if name not in ROW_KEYS]
    for name in others:
        field = COLUMN_OF.get(name, name)
        if field == "caption" and "prompt" not in row:
            row["prompt"] = values[name]
        elif field == "duration" and "duration" not in row:
            row["duration"] = values[name]
        elif field not in ClipRow.model_fields and get_close_matches(name, ROW_KEYS, cutoff=_ALIKE):
            raise InputError(f"{where}: key", name, f"any of {', '.join(ROW_KEYS)}")
    if "prompt" not in row:
        raise InputError(f"{where}: prompt", None, "a text; every row needs one")
    left = [n for n in others if COLUMN_OF.get(n, n) not in (*ClipRow.model_fields, "caption")]
    return row, left


def _request(
    row: Mapping[str, Any],
    where: tuple[int, str],
    defaults: Mapping[str, Any],
    given: Mapping[str, Any],
) -> Request:
    index, place = where
    output = row.get("output")
    if output is not None and not isinstance(output, str):
        raise InputError(f"{place}: output", output, "a name inside the output folder")
    own = {_SHORT.get(k, k): v for k, v in row.items() if k not in ("prompt", "output")}
    try:
        prompt = check_prompt(row["prompt"])
        options = resolve_options(
            GenerateOptions, defaults, {**given, **{k: v for k, v in own.items() if v is not None}}
        )
    except InputError as error:
        field = _LONG.get(error.field, error.field)
        raise InputError(f"{place}: {field}", error.got, error.allowed) from None
    if own.get("seed") is None:
        options = row_options(options, index)
    return Request(prompt, options, output)
