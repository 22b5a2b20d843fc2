"""What an evaluation found, as values that are written to and read from JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ezaudio.config import Config, load_config
from ezaudio.errors import InputError
from ezaudio.evaluation.metrics import METRICS
from ezaudio.evaluation.protocol import Protocol, require_one_hash
from ezaudio.files import write_bytes

RowKind = Literal["system", "floor", "anchor"]


class Score(Config):
    """One number of a row.

    Attributes:
        value: the number; None where it could not be measured.
        low: lower end of its confidence interval.
        high: upper end.
        seeds: the number of each seed.
        extra: further numbers, such as the bias of FD.
        reason: why there is no number.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: tuple[float, ...] = ()
    extra: dict[str, float] = Field(default_factory=dict)
    reason: str | None = None


class ClipScores(Config):
    """One clip of a row.

    Attributes:
        name: of the clip.
        caption: what should be heard.
        files: the sounds, one per seed, relative to the report's folder where they lie below it.
        scores: by column, one number per seed; None where the clip has none.
    """

    name: str
    caption: str = ""
    files: tuple[str, ...] = ()
    scores: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)


class Row(Config):
    """One line of the table.

    Attributes:
        title: of the system, floor or anchor.
        kind: which of the three.
        count: clips, N.
        seeds: takes of each clip.
        scores: by column.
        facts: what the system says about itself.
        clips: its clips, for systems.
    """

    title: str
    kind: RowKind
    count: int
    seeds: int = 1
    scores: dict[str, Score]
    facts: dict[str, Any] = Field(default_factory=dict)
    clips: tuple[ClipScores, ...] = ()


class Results(Config):
    """A table under one protocol.

    Attributes:
        format: of this file.
        protocol: how everything was measured.
        hash: of the protocol with the weights of its extractors.
        weights: identity of each extractor's weights.
        clip_set: hash of the names of the clips.
        reference: title of the recordings; None where there were none.
        recordings: hash of their names and contents.
        rows: systems, floors, anchors.
        seconds: time by stage.
        notes: what a reader has to know.
        left_out: names of clips that were not scored, by reason.
    """

    format: Literal[1] = 1
    protocol: Protocol
    hash: str
    weights: dict[str, str]
    clip_set: str
    reference: str | None = None
    recordings: str | None = None
    rows: tuple[Row, ...]
    seconds: dict[str, float] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left_out: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns in which some row has a number."""
        return tuple(
            column_name(*pair)
            for pair in self.protocol.columns
            if any(_has(row, column_name(*pair)) for row in self.rows)
        )

    @property
    def systems(self) -> tuple[Row, ...]:
        """Rows that are systems."""
        return tuple(row for row in self.rows if row.kind == "system")

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False)
        write_bytes(path, (text + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote.

        Raises:
            InputError: not such a file.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise InputError("results", str(path), "a scores.json of `ezaudio evaluate`") from None
        return load_config(cls, values)


def column_name(extractor: str, metric: str) -> str:
    """Name a column: `extractor/metric`."""
    return f"{extractor}/{metric}"


def column_title(column: str) -> str:
    """Head of a column; the extractor stands in the table's caption."""
    return METRICS[column.partition("/")[2]].title


def number(value: float) -> float | None:
    """A number that JSON can hold; None for what is not finite."""
    return float(value) if math.isfinite(value) else None


def joined(parts: Sequence[Results]) -> Results:
    """Put the systems of several results into one table.

    Raises:
        InputError: they were measured under different protocols, weights, clips, or against
            different recordings.
    """
    names = [f"{index + 1}: {part.systems[0].title}" for index, part in enumerate(parts)]
    require_one_hash(dict(zip(names, (part.hash for part in parts), strict=True)))
    sets = {part.clip_set for part in parts}
    if len(sets) > 1:
        raise InputError("clips", sorted(sets), f"the same clips, as in {names[0]}")
    heard = {part.recordings for part in parts}
    if len(heard) > 1:
        got = sorted(str(content) for content in heard)
        raise InputError("recordings", got, f"the same recordings, as in {names[0]}")
    first = parts[0]
    systems = [row for part in parts for row in part.systems]
    others = [row for row in first.rows if row.kind != "system"]
    return first.model_copy(update={"rows": (*systems, *others)})


def _has(row: Row, column: str) -> bool:
    score = row.scores.get(column)
    return score is not None and score.value is not None


def show(score: Score | None, metric: str, *, interval: bool = True) -> str:
    """A number with its interval, as the tables have it."""
    if score is None or score.value is None:
        return "–"
    shown = _formatted(score.value, metric)
    if interval and score.low is not None and score.high is not None:
        shown += f" [{_formatted(score.low, metric)}, {_formatted(score.high, metric)}]"
    return shown


def _formatted(value: float, metric: str) -> str:
    if METRICS[metric].share:
        return f"{100 * value:.1f} %"
    size = abs(value)
    if size >= 1000:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 100 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def left_out_notes(results: Results) -> list[str]:
    """Say which clips were left out, and why; every one by its name."""
    scored = max((row.count for row in results.systems), default=0)
    total = scored + sum(map(len, results.left_out.values()))
    return [
        f"left out, {reason}: {', '.join(names)} ({len(names)} of {total} clips)."
        for reason, names in results.left_out.items()
    ]


def facts_of(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what JSON can hold."""
    kept: dict[str, Any] = json.loads(json.dumps(dict(mapping), default=str))
    return kept
