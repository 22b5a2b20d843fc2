"""Scoring what is there: clips that lack a recording or a sound are left out, and listed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from ezaudio.errors import InputError
from ezaudio.evaluation.clips import ClipSet, Item
from ezaudio.evaluation.run import Setup, in_order
from ezaudio.evaluation.systems.base import GenerationPlan, System
from ezaudio.evaluation.systems.folder import FolderSystem


def keep_what_is_there(
    systems: Sequence[System], plan: GenerationPlan, setup: Setup
) -> tuple[GenerationPlan, Setup]:
    """Keep the clips of which every folder has a sound, and the recordings, where there are any.

    Raises:
        InputError: nothing is left.
    """
    items, left_out = list(plan.items), dict(setup.left_out)
    if setup.reference is not None:
        items = _kept(items, setup.reference.names, "no recording", left_out)
    for system in systems:
        if isinstance(system, FolderSystem):
            items = _kept(items, system.names(plan), f"no sound in {system.name}", left_out)
    if not items:
        raise InputError("partial", "no clip", "at least one clip with a recording and its sounds")
    reference = setup.reference
    if reference is not None:
        reference = in_order(reference, [item.name for item in items])
    return replace(plan, items=tuple(items)), replace(setup, reference=reference, left_out=left_out)


def with_recordings(
    items: Sequence[Item], recorded: Collection[str]
) -> tuple[list[Item], dict[str, tuple[str, ...]]]:
    """The clips whose names were recorded, and the names of the others.

    Raises:
        InputError: there is none.
    """
    left_out: dict[str, tuple[str, ...]] = {}
    kept = _kept(items, recorded, "no recording", left_out)
    if not kept:
        raise InputError("partial", "no recording", "at least one clip with a recording")
    return kept, left_out


def only(clips: ClipSet, names: Collection[str]) -> ClipSet:
    """The clips with these names, in the order that they have."""
    return in_order(clips, [name for name in clips.names if name in names])


def _kept(
    items: Sequence[Item],
    present: Collection[str],
    reason: str,
    left_out: dict[str, tuple[str, ...]],
) -> list[Item]:
    known = set(present)
    lacking = tuple(item.name for item in items if item.name not in known)
    if lacking:
        left_out[reason] = (*left_out.get(reason, ()), *lacking)
    return [item for item in items if item.name in known]
