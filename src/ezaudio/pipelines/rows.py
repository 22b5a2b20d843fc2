"""Files of prompts: one prompt a line, CSV, or JSON Lines.

A row sets what it names and leaves the rest to the options of the whole run; where it names no
seed, its own follows from that of the run. Every complaint names the file and the line.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ezaudio.errors import InputError
from ezaudio.pipelines.generate import Request, row_options
from ezaudio.pipelines.options import GenerateOptions, check_prompt, resolve_options

_SUFFIXES = {".txt": "text", "": "text", ".csv": "csv", ".jsonl": "json", ".ndjson": "json"}
_SHORT = {"duration": "duration_s", "fade": "fade_s"}
_LONG = {long: short for short, long in _SHORT.items()}
STDIN = "-"
ROW_KEYS = ("prompt", "output", *(_LONG.get(name, name) for name in GenerateOptions.model_fields))
"""What a row may hold."""


def read_rows(
    path: str | Path, defaults: Mapping[str, Any], given: Mapping[str, Any]
) -> list[Request]:
    """Read requests from a file.

    Args:
        path: ending in `.txt` (or nothing), `.csv`, `.jsonl` or `.ndjson`; `-` is the standard
            input, whose kind is seen from its first line.
        defaults: of the model.
        given: options of the whole run; a row's own go first.

    Raises:
        InputError: the file cannot be read or holds no prompt; a row is not allowed.
    """
    path = Path(path)
    if str(path) == STDIN:
        text, path = _read_stdin(), Path("stdin")
        kind = _kind_of(text)
    else:
        found = _SUFFIXES.get(path.suffix.lower())
        if found is None:
            raise InputError("prompts_file", str(path), "a file that ends in .txt, .csv or .jsonl")
        text, kind = _read(path), found
    rows = {"text": _lines, "csv": _csv_rows, "json": _json_rows}[kind](text, path)
    requests = [
        _request(row, (index, f"{path}:{number}"), defaults, given)
        for index, (number, row) in enumerate(rows)
    ]
    if not requests:
        raise InputError("prompts_file", str(path), "a file with at least one prompt")
    return requests


def _kind_of(text: str) -> str:
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if first.startswith("{"):
        return "json"
    return "csv" if "," in first and "prompt" in next(csv.reader([first])) else "text"


def _read_stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("prompts_file", STDIN, "text in UTF-8") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("prompts_file", str(path), "text in UTF-8") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError("prompts_file", str(path), f"a readable file ({reason})") from None


def _lines(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, {"prompt": line.strip()}


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True, skipinitialspace=True)
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        _check_names(names, f"{path}:1")
        if len(set(names)) < len(names):
            raise InputError(f"{path}:1: columns", names, "every name once")
        for row in reader:
            if None in row or None in row.values():
                count = len(names)
                raise InputError(f"{path}:{reader.line_num}: row", row, f"{count} values, as named")
            yield reader.line_num, {name: value for name, value in row.items() if value.strip()}
    except csv.Error as error:
        raise InputError(f"{path}:{reader.reader.line_num}", str(error), "valid CSV") from None


def _json_rows(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise InputError(f"{path}:{number}", line, "a JSON object")
        yield number, row


def _check_names(names: list[str], place: str) -> None:
    if unknown := [name for name in names if name not in ROW_KEYS]:
        raise InputError(f"{place}: key", unknown[0], f"any of {', '.join(ROW_KEYS)}")
    if "prompt" not in names:
        raise InputError(f"{place}: prompt", None, "a text; every row needs one")


def _request(
    row: Mapping[str, Any],
    where: tuple[int, str],
    defaults: Mapping[str, Any],
    given: Mapping[str, Any],
) -> Request:
    index, place = where
    _check_names(list(row), place)
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
