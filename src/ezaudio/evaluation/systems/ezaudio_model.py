"""This project's models as systems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ezaudio.config import Config
from ezaudio.evaluation.clips import ClipSet
from ezaudio.evaluation.systems.base import (
    JOB_KEY,
    GenerationPlan,
    Progress,
    generations_of,
    made_sounds,
    missing,
)
from ezaudio.files import sha256_file
from ezaudio.pipelines import EzAudio
from ezaudio.pipelines.catalogue import find_model
from ezaudio.pipelines.generate import Request
from ezaudio.pipelines.options import MIN_DURATION_S, GenerateOptions, resolve_options


class EzAudioConfig(Config):
    """A model of this project.

    Attributes:
        name: for tables.
        model: a name of the catalogue, or a model folder.
        settings: fields of `GenerateOptions`; what is left out has the model's default.
        device: where it runs.
        dtype: its precision.
    """

    kind: Literal["ezaudio"] = "ezaudio"
    name: str
    model: str = "starter"
    settings: dict[str, Any] = Field(default_factory=dict)
    device: str = "auto"
    dtype: str = "auto"

    def build(self) -> EzAudioSystem:
        """Check the settings; the model is loaded when something has to be made."""
        return EzAudioSystem(self)


class EzAudioSystem:
    """A model of this project.

    Args:
        config: which, and how.

    Raises:
        InputError: no such model, or a setting is not allowed.
    """

    def __init__(self, config: EzAudioConfig) -> None:
        self.config = config
        self.model = find_model(config.model)
        self.options = resolve_options(GenerateOptions, self.model.card.defaults, config.settings)
        self._loaded: EzAudio | None = None

    @property
    def name(self) -> str:
        """For tables."""
        return self.config.name

    def facts(self) -> Mapping[str, Any]:
        """Model, hashes of its files or their revisions, and settings."""
        settings = self.options.model_dump(mode="json", exclude={"seed", "num", "duration_s"})
        if self.model.folder is not None:
            card = self.model.card
            parts = {part: self.model.folder / part for part in (card.dit, card.vae)}
            files = {part: sha256_file(path) for part, path in parts.items()}
        else:
            files = {f.filename: f.revision for f in self.model.remote_files}
        return {"model": self.model.card.name, "files": files, **settings}

    def make(self, plan: GenerationPlan, folder: Path, *, progress: Progress | None = None) -> None:
        """Make what is not there yet, in batches of equal length."""
        fitted = self._fitted(plan)
        jobs = generations_of(fitted, folder, self.facts(), self.options.duration_s)
        todo = missing(jobs)
        if not todo:
            return
        if self._loaded is None:
            self._loaded = EzAudio.from_pretrained(
                self.config.model, device=self.config.device, dtype=self.config.dtype
            )
        requests = [
            Request(
                job.item.caption,
                self.options.model_copy(
                    update={"seed": job.seed, "num": 1, "duration_s": job.duration_s}
                ),
            )
            for job in todo
        ]
        made = self._loaded.generate_each(requests, batch_size=plan.batch_size)
        for count, (index, sound) in enumerate(made, start=1):
            marked = replace(sound, metadata={**sound.metadata, JOB_KEY: todo[index].mark})
            todo[index].make_room()
            marked.save(todo[index].path)
            if progress is not None:
                progress(f"make {self.name}", count, len(todo))

    def sounds(self, plan: GenerationPlan, folder: Path) -> list[ClipSet]:
        """The sounds of each seed."""
        return made_sounds(self.name, self._fitted(plan), folder, self.options.duration_s)

    def _fitted(self, plan: GenerationPlan) -> GenerationPlan:
        """Lengths that the model can make."""
        longest = self.model.card.max_duration_s
        items = tuple(
            item
            if item.duration_s is None
            else replace(item, duration_s=min(max(item.duration_s, MIN_DURATION_S), longest))
            for item in plan.items
        )
        return replace(plan, items=items)
