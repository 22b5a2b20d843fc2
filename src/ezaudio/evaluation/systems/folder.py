"""Sounds that exist already: a folder, for instance of published samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ezaudio.config import Config
from ezaudio.errors import InputError
from ezaudio.evaluation.clips import ClipSet, read_folder
from ezaudio.evaluation.features import listed
from ezaudio.evaluation.systems.base import GenerationPlan, Naming, Progress


class FolderConfig(Config):
    """A folder of sounds.

    Attributes:
        name: for tables.
        folder: where they lie; with several seeds, in `seed-0`, `seed-1`, ... below it.
        naming: how a file is called; `{name}` as the clip, or `{index}` as its number.
    """

    kind: Literal["folder"] = "folder"
    name: str
    folder: Path
    naming: str = "{name}"

    def build(self) -> FolderSystem:
        """Check that the folder is there."""
        return FolderSystem(self)


class FolderSystem:
    """A folder of sounds.

    Args:
        config: which.

    Raises:
        InputError: no such folder.
    """

    def __init__(self, config: FolderConfig) -> None:
        if not config.folder.is_dir():
            raise InputError("folder", str(config.folder), "a folder of sounds")
        self.config = config
        self.naming = Naming(config.naming)

    @property
    def name(self) -> str:
        """For tables."""
        return self.config.name

    def facts(self) -> Mapping[str, Any]:
        """The folder's name; the sounds speak for themselves."""
        return {"folder": self.config.folder.name}

    def make(self, plan: GenerationPlan, folder: Path, *, progress: Progress | None = None) -> None:
        """Do nothing: the sounds are there."""

    def names(self, plan: GenerationPlan) -> set[str]:
        """Names of the items of which every seed has a sound."""
        stems = {item.name: self.naming.stem(index, item) for index, item in enumerate(plan.items)}
        known = [set(read_folder(each).names) for each in self._folders(plan)]
        return {name for name, stem in stems.items() if all(stem in found for found in known)}

    def sounds(self, plan: GenerationPlan, folder: Path) -> list[ClipSet]:
        """The sounds of each seed, by the names of the items; other files are left out.

        Raises:
            InputError: a sound is not there; the message names it.
        """
        return [self._one(plan, each) for each in self._folders(plan)]

    def _folders(self, plan: GenerationPlan) -> list[Path]:
        seeds = sorted(p for p in self.config.folder.glob("seed-*") if p.is_dir())
        return seeds[: plan.seeds] if seeds else [self.config.folder]

    def _one(self, plan: GenerationPlan, folder: Path) -> ClipSet:
        found = read_folder(folder)
        known = dict(zip(found.names, found.sources, strict=True))
        wanted = [self.naming.stem(index, item) for index, item in enumerate(plan.items)]
        lacking = [name for name in wanted if name not in known]
        if lacking:
            raise InputError(
                "folder", str(folder), f"a sound for every clip; it lacks {listed(lacking)}"
            )
        items = tuple(
            replace(item, duration_s=plan.duration_s or item.duration_s) for item in plan.items
        )
        return ClipSet(self.name, items, tuple(known[name] for name in wanted))
