"""From features to rows: every metric of every panel, or the reason why it has no number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ezaudio.errors import InputError
from ezaudio.evaluation.clips import Item
from ezaudio.evaluation.features import ClipFeatures
from ezaudio.evaluation.intervals import Interval, share_interval
from ezaudio.evaluation.metrics import METRICS, Measured, MetricSettings, Sides
from ezaudio.evaluation.protocol import Protocol
from ezaudio.evaluation.results import ClipScores, Row, RowKind, Score, column_name, number

ByExtractor = Mapping[str, ClipFeatures]


def score_row(
    title: str,
    kind: RowKind,
    protocol: Protocol,
    real: ByExtractor | None,
    takes: Sequence[ByExtractor],
    *,
    files: Sequence[Sequence[str]] = (),
) -> Row:
    """Compute everything that a protocol asks for.

    Args:
        title: of the row.
        kind: of the row; anchors get no intervals of set statistics, which cost the most.
        protocol: what is computed.
        real: features of the recordings; None where there are none.
        takes: features of each seed.
        files: sounds of each seed, in the order of the clips; gives the row its clips.

    Raises:
        InputError: clips and recordings do not pair; the message names the files.
    """
    settings = protocol.settings
    if kind == "anchor":
        settings = settings.model_copy(update={"jackknife_groups": 0})
    measured: dict[str, Measured] = {}
    scores: dict[str, Score] = {}
    for extractor, name in protocol.columns:
        column = column_name(extractor, name)
        found = _measure(extractor, name, settings, real, takes)
        if isinstance(found, str):
            scores[column] = Score(reason=found)
        else:
            measured[column] = found
            scores[column] = _score(found)
    first = next(iter(takes[0].values()))
    clips = _clips(first, files, measured) if files else ()
    return Row(
        title=title, kind=kind, count=len(first), seeds=len(takes), scores=scores, clips=clips
    )


def _measure(
    extractor: str,
    name: str,
    settings: MetricSettings,
    real: ByExtractor | None,
    takes: Sequence[ByExtractor],
) -> Measured | str:
    if extractor not in takes[0]:
        return "needs training recordings to compare with"
    metric = METRICS[name]
    reference = None if real is None else real.get(extractor)
    own = [take[extractor] for take in takes]
    if reference is not None and set(reference.names) == set(own[0].names):
        own = [take.matching(reference.names) for take in own]
    sides = Sides(reference, tuple(own), settings)
    reason = metric.lacks(sides)
    if reason is not None:
        return reason
    try:
        found = metric.measure(sides)
    except InputError as error:  # such as too few clips for this statistic
        return str(error)
    if not np.isfinite(found.interval.value):
        return "no clip has this score"
    if metric.share and found.clips is not None and found.interval.low == found.interval.high:
        clips = int((~np.isnan(found.clips).all(1)).sum())  # they all agree
        level = settings.level
        found = replace(found, interval=share_interval(found.interval.value, clips, level=level))
    elif metric.share:  # an interval by the jackknife may leave the possible range
        ends = np.clip([found.interval.low, found.interval.high], 0, 1)
        found = replace(found, interval=Interval(found.interval.value, *map(float, ends)))
    return found


def _score(found: Measured) -> Score:
    return Score(
        value=number(found.interval.value),
        low=number(found.interval.low),
        high=number(found.interval.high),
        seeds=tuple(value for value in found.seeds if np.isfinite(value)),
        extra={name: float(value) for name, value in found.extra.items()},
    )


def _clips(
    features: ClipFeatures, files: Sequence[Sequence[str]], measured: Mapping[str, Measured]
) -> tuple[ClipScores, ...]:
    rows = []
    for index, name in enumerate(features.names):
        scores = {
            column: tuple(number(value) for value in found.clips[index])
            for column, found in measured.items()
            if found.clips is not None
        }
        rows.append(
            ClipScores(
                name=name,
                caption=features.prompts[index] if features.prompts else "",
                files=tuple(take[index] for take in files),
                scores=scores,
            )
        )
    return tuple(rows)


def hash_of_set(items: Sequence[Item]) -> str:
    """Twelve hexadecimal digits over the names and captions of the clips, whatever their order."""
    text = json.dumps(sorted([item.name, item.caption] for item in items))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def relative(path: Path, folder: Path) -> str:
    """A path as the report writes it: relative when it lies below the folder."""
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return str(path)
