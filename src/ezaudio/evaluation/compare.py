"""Several systems side by side: reading them, and testing their differences pair by pair."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml

from ezaudio.errors import InputError
from ezaudio.evaluation.features import listed
from ezaudio.evaluation.intervals import paired_difference
from ezaudio.evaluation.metrics import METRICS
from ezaudio.evaluation.report.markdown import heading
from ezaudio.evaluation.results import Results, Row, column_title
from ezaudio.evaluation.systems import AnyConfig, read_system
from ezaudio.files import write_bytes

Read = TypeVar("Read")


def read_systems(path: Path) -> list[AnyConfig]:
    """Read a YAML file with a list `systems`.

    Raises:
        InputError: the file cannot be read, an entry is not allowed, or a name occurs twice.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("systems", str(path), f"a readable file ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise InputError("systems", str(path), "a valid YAML file") from None
    entries: Any = values.get("systems") if isinstance(values, dict) else None
    listed_well = isinstance(entries, list) and all(isinstance(e, dict) for e in entries)
    if not entries or not listed_well:
        raise InputError("systems", str(path), "a YAML file with a list `systems` of mappings")
    configs = [
        of_entry(f"systems[{number}]", partial(read_system, entry))
        for number, entry in enumerate(entries)
    ]
    names = [config.name for config in configs]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError("name", listed(twice), "each system once")
    return configs


def of_entry(place: str, read: Callable[[], Read]) -> Read:
    """Read an entry of a list in a file; an error names the list, the entry and its field.

    Raises:
        InputError: the entry is not allowed.
    """
    try:
        return read()
    except InputError as error:
        raise InputError(f"{place}.{error.field}", error.got, error.allowed) from None


def differences(results: Results, folder: Path) -> list[Path]:
    """Write `differences.md`: every pair of systems, clip by clip; nothing for a single system."""
    if len(results.systems) < 2:
        return []
    lines = [
        heading(results),
        "",
        "Paired bootstrap over clips: the mean difference, its 95% confidence interval, and a "
        "two-sided p-value. Several seeds of a clip are averaged first.",
        "",
        "| metric | systems | difference | interval | p | better |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for a, b in itertools.combinations(results.systems, 2):
        for column in results.columns:
            line = _difference(a, b, column, results)
            if line is not None:
                lines.append(line)
    path = folder / "differences.md"
    write_bytes(path, ("\n".join(lines) + "\n").encode())
    return [path]


def _difference(a: Row, b: Row, column: str, results: Results) -> str | None:
    one, two = _scores(a, column), _scores(b, column)
    names = sorted(one.keys() & two.keys())
    better = METRICS[column.partition("/")[2]].better
    if len(names) < 2 or better == "real":
        return None
    first, second = (np.array([scores[name] for name in names]) for scores in (one, two))
    settings = results.protocol.settings
    found, p = paired_difference(
        first,
        second,
        draws=settings.bootstrap_draws,
        level=settings.level,
        seed=settings.seed,
    )
    sure = found.low > 0 or found.high < 0
    winner = a if (found.value > 0) == (better == "higher") else b
    return (
        f"| {column_title(column)} ({column.partition('/')[0]}) | {a.title} - {b.title} | "
        f"{found.value:+.4g} | [{found.low:+.4g}, {found.high:+.4g}] | {p:.2g} | "
        f"{winner.title if sure else 'not told apart'} |"
    )


def _scores(row: Row, column: str) -> dict[str, float]:
    found = {}
    for clip in row.clips:
        values = [value for value in clip.scores.get(column, ()) if value is not None]
        if values:
            found[clip.name] = sum(values) / len(values)
    return found
