"""What a system is: something that makes a sound for every item and seed, and goes on where it was.

Sounds lie at `FOLDER/seed-S/NAME.wav`, each with the hash of its job inside; a sound whose hash
fits is not made again. A job's hash covers system, settings, prompt, length and seed.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ezaudio.audio import read_metadata
from ezaudio.errors import EzAudioError, InputError
from ezaudio.evaluation.clips import ClipSet, Item, check_names
from ezaudio.files import make_folder

Progress = Callable[[str, int, int], None]

JOB_KEY = "evaluation_job"
_SEED_RANGE = 1 << 31


@dataclass(frozen=True)
class GenerationPlan:
    """What is asked of a system.

    Attributes:
        items: clips to make.
        seeds: takes of each clip.
        seed: first seed; every clip and take has its own, which follows from this and its name.
        duration_s: length of every clip; None takes each item's own.
        shard: this process makes the jobs whose number leaves `shard[0]` modulo `shard[1]`.
        batch_size: most sounds that are made at once.
    """

    items: tuple[Item, ...]
    seeds: int = 1
    seed: int = 0
    duration_s: float | None = None
    shard: tuple[int, int] = (0, 1)
    batch_size: int = 8

    def length(self, item: Item, default: float) -> float:
        """Length of a clip in seconds."""
        if self.duration_s is not None:
            return self.duration_s
        return default if item.duration_s is None else item.duration_s


@dataclass(frozen=True)
class Generation:
    """One sound to make.

    Attributes:
        item: what.
        take: number of the take, from 0.
        seed: of its noise.
        duration_s: length.
        path: where it goes.
        mark: hash of all that decides it.
    """

    item: Item
    take: int
    seed: int
    duration_s: float
    path: Path
    mark: str

    def make_room(self) -> Path:
        """Make the folder that it goes into, and return it."""
        make_folder(self.path.parent)
        return self.path.parent

    @property
    def done(self) -> bool:
        """Whether the sound is there and was made by this job."""
        try:
            return self.path.is_file() and read_metadata(self.path).get(JOB_KEY) == self.mark
        except EzAudioError:
            return False


class System(Protocol):
    """Something that makes sounds."""

    @property
    def name(self) -> str:
        """For tables."""

    def facts(self) -> Mapping[str, Any]:
        """What decides its sounds: model, hashes, settings; a part of each job's hash."""

    def make(self, plan: GenerationPlan, folder: Path, *, progress: Progress | None = None) -> None:
        """Make what is not there yet.

        Raises:
            EzAudioError: it cannot be made.
        """

    def sounds(self, plan: GenerationPlan, folder: Path) -> list[ClipSet]:
        """The sounds of each seed, in the order of the items.

        Raises:
            InputError: a sound is not there; the message names it.
        """


def generations_of(
    plan: GenerationPlan, folder: Path, facts: Mapping[str, Any], default_s: float
) -> list[Generation]:
    """Spell out the jobs of a shard, takes of one seed next to each other."""
    check_names(plan.items)
    _check_shard(plan.shard)
    said = json.dumps(dict(facts), sort_keys=True, default=str)
    jobs = []
    for number, (take, item) in enumerate(
        (take, item) for take in range(plan.seeds) for item in plan.items
    ):
        if number % plan.shard[1] != plan.shard[0]:
            continue
        seed = (plan.seed + 7919 * take + zlib.crc32(item.name.encode())) % _SEED_RANGE
        duration = plan.length(item, default_s)
        text = json.dumps([said, item.name, item.caption, seed, duration])
        mark = hashlib.sha256(text.encode()).hexdigest()[:16]
        jobs.append(Generation(item, take, seed, duration, place(folder, take, item), mark))
    return jobs


def place(folder: Path, take: int, item: Item) -> Path:
    """Where a sound lies."""
    path = folder / f"seed-{take}" / f"{item.name}.wav"
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError("name", item.name, "a name inside the output folder")
    return path


def missing(jobs: Sequence[Generation]) -> list[Generation]:
    """Jobs that are not done."""
    return [job for job in jobs if not job.done]


def made_sounds(title: str, plan: GenerationPlan, folder: Path, default_s: float) -> list[ClipSet]:
    """The sounds of each seed where `place` has them.

    Raises:
        InputError: a sound is not there; the message names it.
    """
    from dataclasses import replace

    sets = []
    for take in range(plan.seeds):
        paths = tuple(place(folder, take, item) for item in plan.items)
        absent = [f"{path.parent.name}/{path.name}" for path in paths if not path.is_file()]
        if absent:
            allowed = "all of them; run the same command again, it goes on where it was"
            raise InputError("sounds", f"{len(absent)} missing, such as {absent[0]}", allowed)
        items = tuple(replace(item, duration_s=plan.length(item, default_s)) for item in plan.items)
        sets.append(ClipSet(title, items, paths))
    return sets


@dataclass(frozen=True)
class Naming:
    """How another program calls its files.

    A pattern with `{name}` (the clip's) or `{index}` (its number from 0), without ending.

    Attributes:
        pattern: such as `output_{index}`; `{index:05d}` pads with zeros.
    """

    pattern: str

    def __post_init__(self) -> None:
        """Raise InputError when the pattern cannot tell clips apart."""
        try:
            first, second = (self.stem(i, Item(f"n{i}")) for i in (0, 1))
        except (KeyError, IndexError, ValueError):
            first = second = ""
        if first == second:
            raise InputError("naming", self.pattern, "a pattern with {name} or {index}")

    def stem(self, index: int, item: Item) -> str:
        """The file's name without ending."""
        return self.pattern.format(name=item.name, index=index, caption=item.caption)


def _check_shard(shard: tuple[int, int]) -> None:
    number, count = shard
    if count < 1 or not 0 <= number < count:
        raise InputError("shard", f"{number}/{count}", "K/N with 0 <= K < N")
