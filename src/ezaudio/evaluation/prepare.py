"""From what a user says to what an evaluation needs: clips, recordings, protocol, cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ezaudio.audio import duration_of
from ezaudio.errors import InputError
from ezaudio.evaluation.cache import usable_default
from ezaudio.evaluation.clips import (
    ClipSet,
    Item,
    read_folder,
    read_items,
    recordings,
    with_captions,
)
from ezaudio.evaluation.feature_store import Progress
from ezaudio.evaluation.options import EvaluationOptions
from ezaudio.evaluation.partial import only, with_recordings
from ezaudio.evaluation.protocol import find_protocol
from ezaudio.evaluation.run import Setup, reference_of
from ezaudio.evaluation.systems.base import GenerationPlan
from ezaudio.files import make_folder, read_part

TRAINING_SPLIT = "train"


def prepare(
    options: EvaluationOptions,
    folder: Path,
    *,
    sounds: Path | None = None,
    copies: bool = False,
    unpaired: bool = False,
    partial: bool = False,
    progress: Progress | None = None,
) -> tuple[GenerationPlan, Setup]:
    """Read everything that an evaluation needs, before anything is made.

    Args:
        options: what the user said.
        folder: where sounds and reports go.
        sounds: folder of sounds whose names are the clips, where there is no manifest.
        copies: look for copies of the manifest's training recordings.
        unpaired: clips and recordings need not have the same names.
        partial: score the clips whose recordings are there, and list the others.
        progress: told about every clip.

    Raises:
        InputError: something does not fit; nothing was made.
    """
    protocol = find_protocol(options.protocol)
    everything = _items(options, None, sounds)
    items = _items(options, options.split, sounds) if everything else _names(sounds)
    items = _spread(items, options.limit)
    left_out: dict[str, tuple[str, ...]] = {}
    if partial and not unpaired:
        items, left_out = _present(options, items)
    reference = _reference(options, items, bool(everything), unpaired)
    if reference is not None and partial and not unpaired:
        reference = only(reference, {item.name for item in items})
    setup = Setup(
        protocol=protocol,
        folder=folder,
        cache=options.cache or usable_default(),
        weights=_weights(options.weights),
        reference=reference,
        others=_others(everything, items),
        training=_training(everything) if copies else None,
        unpaired=unpaired,
        progress=progress,
        left_out=left_out,
    )
    if reference is not None and not unpaired:
        items = _as_long_as(reference, items)
    make_folder(folder)
    plan = GenerationPlan(
        items=tuple(items),
        seeds=options.seeds,
        seed=options.seed,
        duration_s=options.duration_s,
        shard=read_part(options.shard, "shard"),
        batch_size=options.batch_size,
    )
    return plan, setup


def _items(options: EvaluationOptions, split: str | None, sounds: Path | None) -> list[Item]:
    if options.manifest is None:
        return []
    folders = [] if sounds is None or not sounds.is_dir() else [_first_take(sounds)]
    folders += [] if options.reference is None else [options.reference]
    return read_items(
        options.manifest,
        split=split,
        audiocaps=options.audiocaps,
        exclude=[] if options.exclude is None else [options.exclude],
        folders=[read_folder(folder).names for folder in folders],
    )


def _names(sounds: Path | None) -> list[Item]:
    if sounds is None:
        raise InputError("manifest", None, "a manifest, or a folder of sounds to score")
    return [replace(i, file=None) for i in read_folder(_first_take(sounds)).items]


def _first_take(sounds: Path) -> Path:
    """The folder of the first seed, or the folder itself."""
    seeds = sorted(p for p in sounds.glob("seed-*") if p.is_dir())
    return seeds[0] if seeds else sounds


def _as_long_as(reference: ClipSet, items: list[Item]) -> list[Item]:
    """Items with the lengths of their recordings, where nothing else says how long they are."""
    sources = dict(zip(reference.names, reference.sources, strict=True))
    told = {item.name: item.duration_s for item in reference.items}

    def length_s(item: Item) -> float | None:
        known = item.duration_s or told.get(item.name)
        source = sources.get(item.name)
        return duration_of(source) if known is None and isinstance(source, Path) else known

    return [replace(item, duration_s=length_s(item)) for item in items]


def _spread(items: list[Item], limit: int | None) -> list[Item]:
    if limit is None or limit >= len(items):
        return items
    return [items[index * len(items) // limit] for index in range(limit)]


def _reference(
    options: EvaluationOptions, items: Sequence[Item], told: bool, unpaired: bool
) -> ClipSet | None:
    if options.reference is None:
        return reference_of(items, f"the recordings of {Path(options.manifest or '').name}")
    found = read_folder(options.reference)
    if unpaired or not told:
        return found
    names = {item.name for item in items}
    kept = [i for i, item in enumerate(found.items) if item.name in names]
    own = ClipSet(
        found.title,
        tuple(found.items[i] for i in kept),
        tuple(found.sources[i] for i in kept),
    )
    return with_captions(own, items)


def _present(
    options: EvaluationOptions, items: list[Item]
) -> tuple[list[Item], dict[str, tuple[str, ...]]]:
    """The clips with a recording, and the names of the others; all where nothing is paired."""
    if options.reference is not None:
        recorded = set(read_folder(options.reference).names)
        kept, left_out = with_recordings(items, recorded)
        if options.manifest is None:  # the folders alone say which clips there are
            unheard = sorted(recorded - {item.name for item in items})
            left_out |= {"no sound": tuple(unheard)} if unheard else {}
        return kept, left_out
    if all(item.file is None for item in items):
        return items, {}
    return with_recordings(items, {i.name for i in items if i.file and i.file.is_file()})


def _others(everything: Sequence[Item], items: Sequence[Item]) -> tuple[Item, ...]:
    scored = {item.name for item in items}
    return tuple(item for item in everything if item.name not in scored)


def _training(everything: Sequence[Item]) -> ClipSet:
    rows = [item for item in everything if item.split == TRAINING_SPLIT]
    if not rows:
        raise InputError("copies", None, f"a manifest with rows of the split {TRAINING_SPLIT!r}")
    return recordings(rows, "training recordings")


def _weights(text: str | None) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for part in filter(None, (text or "").split(",")):
        name, equals, path = part.partition("=")
        if not equals or not Path(path).exists():
            raise InputError("weights", part, "NAME=PATH of a file or folder that exists")
        found[name.strip()] = Path(path)
    return found
