"""From what a user says to what an evaluation needs: clips, recordings, protocol, cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ezaudio.data.shards import make_folder
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
from ezaudio.evaluation.hearing import Progress
from ezaudio.evaluation.options import EvaluationOptions
from ezaudio.evaluation.protocol import find_protocol
from ezaudio.evaluation.run import Setup, reference_of
from ezaudio.evaluation.systems.base import Order

TRAINING_SPLIT = "train"


def prepare(
    options: EvaluationOptions,
    folder: Path,
    *,
    sounds: Path | None = None,
    copies: bool = False,
    unpaired: bool = False,
    progress: Progress | None = None,
) -> tuple[Order, Setup]:
    """Read everything that an evaluation needs, before anything is made.

    Args:
        options: what the user said.
        folder: where sounds and reports go.
        sounds: folder of sounds whose names are the clips, where there is no manifest.
        copies: look for copies of the manifest's training recordings.
        unpaired: clips and recordings need not have the same names.
        progress: told about every clip.

    Raises:
        InputError: something does not fit; nothing was made.
    """
    protocol = find_protocol(options.protocol)
    everything = _items(options, None)
    items = _items(options, options.split) if everything else _names(sounds)
    items = _spread(items, options.limit)
    reference = _reference(options, items, bool(everything), unpaired)
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
    )
    if reference is not None and not unpaired:
        durations = {item.name: item.duration_s for item in reference.items}
        items = [replace(i, duration_s=i.duration_s or durations.get(i.name)) for i in items]
    make_folder(folder)
    order = Order(
        items=tuple(items),
        seeds=options.seeds,
        seed=options.seed,
        duration_s=options.duration_s,
        shard=read_shard(options.shard),
        batch_size=options.batch_size,
    )
    return order, setup


def read_shard(text: str) -> tuple[int, int]:
    """Read `K/N`.

    Raises:
        InputError: not two whole numbers with 0 <= K < N.
    """
    first, _, second = text.partition("/")
    if not (first.isdigit() and second.isdigit() and int(first) < int(second)):
        raise InputError("shard", text, "K/N with 0 <= K < N")
    return int(first), int(second)


def _items(options: EvaluationOptions, split: str | None) -> list[Item]:
    if options.manifest is None:
        return []
    return read_items(options.manifest, split=split, audiocaps=options.audiocaps)


def _names(sounds: Path | None) -> list[Item]:
    if sounds is None:
        raise InputError("manifest", None, "a manifest, or a folder of sounds to score")
    seeds = sorted(p for p in sounds.glob("seed-*") if p.is_dir())
    return [replace(i, file=None) for i in read_folder(seeds[0] if seeds else sounds).items]


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
