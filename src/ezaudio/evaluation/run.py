"""An evaluation from start to end: make, listen, score, with floors and anchors.

Everything that costs time is kept: sounds in the output folder, what was heard in the cache. A run
that is stopped goes on where it was; shards of it may run in other processes or on other machines
that share the folder and the cache.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

from ezaudio.errors import InputError
from ezaudio.evaluation.anchors import ANCHORS, halves, other_recordings
from ezaudio.evaluation.cache import FeatureCache
from ezaudio.evaluation.clips import ClipSet, Item, recordings
from ezaudio.evaluation.feature_store import FeatureStore, Progress
from ezaudio.evaluation.features import ClipFeatures, listed
from ezaudio.evaluation.protocol import Protocol
from ezaudio.evaluation.results import Results, Row, facts_of
from ezaudio.evaluation.scoring import ByExtractor, hash_of_set, relative, score_row
from ezaudio.evaluation.systems.base import GenerationPlan, System


@dataclass(frozen=True)
class Setup:
    """What an evaluation needs beside the systems.

    Attributes:
        protocol: how everything is measured.
        folder: where sounds and reports go.
        cache: file of what was heard; None keeps nothing.
        weights: paths of weights by extractor.
        reference: the recordings; None where there are none.
        others: further recordings, for the floor.
        training: recordings that a model was trained on, for near copies.
        anchors: names of the anchors.
        unpaired: clips and recordings need not have the same names; paired metrics fall away.
        progress: told about every clip.
        left_out: names of clips that are not scored, by reason.
    """

    protocol: Protocol
    folder: Path
    cache: Path | None = None
    weights: Mapping[str, Path] = field(default_factory=dict)
    reference: ClipSet | None = None
    others: tuple[Item, ...] = ()
    training: ClipSet | None = None
    anchors: tuple[str, ...] = tuple(ANCHORS)
    unpaired: bool = False
    progress: Progress | None = None
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def feature_store(self) -> FeatureStore:
        """Open the cache; extractors are opened when they are needed."""
        return FeatureStore(
            self.protocol, FeatureCache(self.cache), weights=self.weights, progress=self.progress
        )


def require_extractors(setup: Setup) -> None:
    """Open everything that will listen, before sounds are made that nobody could score.

    Raises:
        CheckpointError: weights are absent; the message says where they come from.
        DownloadError: they cannot be fetched.
    """
    _ = setup.feature_store().hash


def make(system: System, plan: GenerationPlan, setup: Setup) -> None:
    """Make the sounds of a shard; what is there already is left alone."""
    system.make(plan, setup.folder / "sounds" / system.name, progress=setup.progress)


def make_all(
    systems: Sequence[tuple[object, System]],
    plan: GenerationPlan,
    setup: Setup,
    *,
    processes: int = 1,
) -> None:
    """Make the sounds of several systems, one after the other.

    Args:
        systems: the config of each and what it built.
        plan: what is asked.
        setup: of the evaluation.
        processes: how many share the work of each system; a shard of a plan is not shared again.
    """
    for config, system in systems:
        if processes > 1 and plan.shard[1] == 1:
            in_processes(config, plan, setup, processes)
        else:
            make(system, plan, setup)


def in_processes(config: object, plan: GenerationPlan, setup: Setup, processes: int) -> None:
    """Make the sounds of one system in several processes.

    Args:
        config: of the system, with `build()`; crosses into the processes.
        plan: what is asked; each process takes its share.
        setup: of the evaluation.
        processes: how many.
    """
    quiet = replace(setup, progress=None)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        running = [
            pool.submit(_shard, config, replace(plan, shard=(number, processes)), quiet)
            for number in range(processes)
        ]
        for future in running:
            future.result()


def _shard(config: object, plan: GenerationPlan, setup: Setup) -> None:
    make(config.build(), plan, setup)  # type: ignore[attr-defined]


def evaluate(systems: Sequence[System], plan: GenerationPlan, setup: Setup) -> Results:
    """Score systems whose sounds are made, and the floors and anchors beside them.

    Raises:
        InputError: a sound is missing, or clips and recordings do not pair; names are given.
    """
    begun = time.perf_counter()
    store = setup.feature_store()
    if setup.training is not None:
        store.fill_bank(setup.training)
    real = None if setup.reference is None else store.features_of(setup.reference)
    rows: list[Row] = []
    for system in systems:
        sets = system.sounds(plan, setup.folder / "sounds" / system.name)
        rows.append(_system_row(system, sets, store, setup, real))
    clip_set = hash_of_set(plan.items)
    if setup.reference is not None and real is not None:
        rows += _floors(store, setup, real)
        rows += _anchors(store, setup, real)
    store.seconds["all"] = time.perf_counter() - begun
    return Results(
        protocol=setup.protocol,
        hash=store.hash,
        weights={p.extractor: store.extractor(p.extractor).identity for p in setup.protocol.panels},
        clip_set=clip_set,
        reference=None if setup.reference is None else setup.reference.title,
        recordings=None if setup.reference is None else store.content_of(setup.reference),
        rows=tuple(rows),
        seconds={stage: round(value, 3) for stage, value in store.seconds.items()},
        notes=_notes(setup, rows),
        left_out=dict(setup.left_out),
    )


def _system_row(
    system: System,
    sets: Sequence[ClipSet],
    store: FeatureStore,
    setup: Setup,
    real: ByExtractor | None,
) -> Row:
    if setup.reference is not None and not setup.unpaired:
        for clips in sets:
            require_pairs(setup.reference, clips)
        sets = [in_order(clips, setup.reference.names) for clips in sets]
    takes = [store.features_of(clips) for clips in sets]
    files = [[relative(p, setup.folder) for p in c.sources if isinstance(p, Path)] for c in sets]
    row = score_row(system.name, "system", setup.protocol, real, takes, files=files)
    return row.model_copy(update={"facts": facts_of(system.facts())})


def require_pairs(reference: ClipSet, generated: ClipSet) -> None:
    """Refuse sets of unequal files.

    Raises:
        InputError: a clip of one set is missing from the other; the message names it.
    """
    lacking = sorted(set(reference.names) - set(generated.names))
    surplus = sorted(set(generated.names) - set(reference.names))
    if lacking:
        allowed = (
            f"a sound for each of the {len(reference.names)} recordings; it lacks {listed(lacking)}"
        )
        raise InputError(generated.title, f"{len(generated.names)} sounds", allowed)
    if surplus:
        allowed = f"only sounds with a recording; there is none for {listed(surplus)}"
        raise InputError(generated.title, f"{len(generated.names)} sounds", allowed)


def in_order(clips: ClipSet, names: Sequence[str]) -> ClipSet:
    """The same clips in the order of `names`."""
    row = {name: index for index, name in enumerate(clips.names)}
    order = [row[name] for name in names]
    return ClipSet(
        clips.title,
        tuple(clips.items[i] for i in order),
        tuple(clips.sources[i] for i in order),
    )


def _floors(store: FeatureStore, setup: Setup, real: ByExtractor) -> list[Row]:
    assert setup.reference is not None
    rows = [score_row("real: the recordings", "floor", setup.protocol, None, [real])]
    other = other_recordings(setup.reference, setup.others)
    if other is not None:
        heard = store.features_of(other, copies=False)
        rows.append(score_row("real: other recordings", "floor", setup.protocol, real, [heard]))
    if len(setup.reference.items) >= 4:
        a, b = halves(setup.reference)
        half = [_rows_of(real, part.names) for part in (a, b)]
        row = score_row("real: half against half", "floor", setup.protocol, half[0], [half[1]])
        rows.append(row)
    return rows


def _anchors(store: FeatureStore, setup: Setup, real: ByExtractor) -> list[Row]:
    assert setup.reference is not None
    rows = []
    for name in setup.anchors:
        heard = store.features_of(ANCHORS[name](setup.reference), copies=False)
        rows.append(score_row(name, "anchor", setup.protocol, real, [heard]))
    return rows


def _rows_of(real: ByExtractor, names: Sequence[str]) -> dict[str, ClipFeatures]:
    import numpy as np

    first = next(iter(real.values()))
    place = {name: index for index, name in enumerate(first.names)}
    rows = np.array([place[name] for name in names], dtype=np.int64)
    return {extractor: features.rows(rows) for extractor, features in real.items()}


def _notes(setup: Setup, rows: Sequence[Row]) -> tuple[str, ...]:
    notes = []
    biased = [
        (row.title, score)
        for row in rows
        if row.kind == "system"
        for column, score in row.scores.items()
        if column.endswith("/fd") and score.extra.get("bias")
    ]
    for title, score in biased:
        notes.append(
            f"{title}: two equal Gaussian sets of this size and covariance have FD "
            f"{score.extra['bias']:.2f}; compare FD at this number of clips only, with the floors."
        )
    for row in rows:
        if row.kind == "system":
            reasons: dict[str, list[str]] = {}
            for column, score in row.scores.items():
                if score.reason is not None:
                    reasons.setdefault(score.reason, []).append(column.partition("/")[2])
            notes += [f"{row.title}: no {', '.join(n)}: {why}" for why, n in reasons.items()]
    halved = [row for row in rows if row.title == "real: half against half"]
    if halved:
        notes.append(
            f"`real: half against half` compares sets of {halved[0].count} clips: its FD is "
            "biased more than that of the other rows."
        )
    if setup.unpaired:
        notes.append("clips and recordings are not paired: metrics of pairs are left out.")
    return tuple(notes)


def reference_of(items: Sequence[Item], title: str) -> ClipSet | None:
    """The recordings of a manifest, where it has them."""
    if all(item.file is None for item in items):
        return None
    return recordings(items, title)
