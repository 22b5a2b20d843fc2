"""Pipelines of diffusers as systems: AudioLDM, AudioLDM2, Stable Audio and newer ones.

Nothing is known here of a single pipeline. Its call is asked for the argument that holds the
length, its parts for the sample rate; every other setting is passed on by its own name.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from ezaudio.audio import peak_guard, write_audio
from ezaudio.config import Config
from ezaudio.errors import CheckpointError, InputError
from ezaudio.evaluation.clips import ClipSet
from ezaudio.evaluation.systems.base import (
    JOB_KEY,
    Generation,
    GenerationPlan,
    Progress,
    generations_of,
    made_sounds,
    missing,
)
from ezaudio.files import sha256_file

LENGTH_ARGUMENTS = (
    "audio_length_in_s",
    "audio_end_in_s",
    "audio_duration_in_s",
    "audio_duration_s",
    "audio_duration",
    "duration",
)


class DiffusersConfig(Config):
    """A pipeline of diffusers.

    Attributes:
        name: for tables.
        model: name on the hub, or a folder.
        pipeline: class of diffusers; None lets the model's own index decide.
        settings: arguments of the pipeline's call.
        revision: commit on the hub; give it, or the model may change under the table.
        sample_rate: of its sounds; None asks its parts.
        duration_s: length of clips that do not say theirs.
        device: where it runs.
        dtype: its precision.
    """

    kind: Literal["diffusers"] = "diffusers"
    name: str
    model: str
    pipeline: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    revision: str | None = None
    sample_rate: int | None = None
    duration_s: float = 10.0
    device: str = "cpu"
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"

    def build(self) -> DiffusersSystem:
        """Give the system; the pipeline is loaded when something has to be made."""
        return DiffusersSystem(self)


class DiffusersSystem:
    """A pipeline of diffusers.

    Args:
        config: which, and how.
    """

    def __init__(self, config: DiffusersConfig) -> None:
        self.config = config
        self._pipeline: Any = None

    @property
    def name(self) -> str:
        """For tables."""
        return self.config.name

    def facts(self) -> Mapping[str, Any]:
        """Model, revision or, of a folder, the hash of its files, precision and settings."""
        config = self.config
        facts = {"model": config.model, "revision": config.revision, **config.settings}
        facts |= {"pipeline": config.pipeline, "dtype": config.dtype}
        if Path(config.model).is_dir():
            facts["files"] = hash_of_folder(Path(config.model))
        return facts

    def make(self, plan: GenerationPlan, folder: Path, *, progress: Progress | None = None) -> None:
        """Make what is not there yet, one sound at a time: its seed is its own.

        Raises:
            InputError: the pipeline does not know a setting.
            CheckpointError: it cannot be loaded.
        """
        jobs = generations_of(plan, folder, self.facts(), self.config.duration_s)
        todo = missing(jobs)
        if not todo:
            return
        if self._pipeline is None:
            self._pipeline = self._load()
        for count, job in enumerate(todo, start=1):
            self._make_one(job)
            if progress is not None:
                progress(f"make {self.name}", count, len(todo))

    def sounds(self, plan: GenerationPlan, folder: Path) -> list[ClipSet]:
        """The sounds of each seed."""
        return made_sounds(self.name, plan, folder, self.config.duration_s)

    def _load(self) -> Any:
        try:
            import diffusers
        except ImportError:
            raise CheckpointError(
                f"{self.name}: needs diffusers: pip install 'ezaudio[eval]'"
            ) from None
        known = getattr(diffusers, self.config.pipeline or "DiffusionPipeline", None)
        if known is None:
            raise InputError("pipeline", self.config.pipeline, "a pipeline class of diffusers")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on how others build their networks
                loaded = known.from_pretrained(
                    self.config.model,
                    revision=self.config.revision,
                    torch_dtype=getattr(torch, self.config.dtype),
                )
        except (OSError, ValueError, ImportError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{self.name}: {self.config.model}: {reason}") from None
        loaded.set_progress_bar_config(disable=True)
        return loaded.to(self.config.device)

    def _make_one(self, job: Generation) -> None:
        arguments = inspect.signature(self._pipeline.__call__).parameters
        length = next((name for name in LENGTH_ARGUMENTS if name in arguments), None)
        if length is None or "prompt" not in arguments:
            given = self.config.pipeline or type(self._pipeline).__name__
            raise InputError("pipeline", given, "one that makes sounds of a prompt and a length")
        unknown = sorted(set(self.config.settings) - set(arguments))
        if unknown:
            raise InputError(f"{self.name}: settings", unknown[0], f"one of {', '.join(arguments)}")
        generator = torch.Generator("cpu").manual_seed(job.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = self._pipeline(
                prompt=job.item.caption,
                generator=generator,
                **{length: job.duration_s},
                **self.config.settings,
            )
        samples = as_channels(made.audios[0])
        rate = self.config.sample_rate or sample_rate_of(self._pipeline)
        wanted = round(job.duration_s * rate)
        metadata = {JOB_KEY: job.mark, "prompt": job.item.caption, "seed": job.seed}
        job.make_room()
        write_audio(
            job.path, peak_guard(samples[:, :wanted]), rate, metadata=metadata, subtype="float32"
        )


@functools.lru_cache(maxsize=32)
def hash_of_folder(folder: Path) -> str:
    """Hash of the names and contents of all files of a model's folder; asked once per process."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_file(path)}\0".encode())
    return digest.hexdigest()


def as_channels(sound: Any) -> npt.NDArray[np.float32]:
    """Bring one sound of a pipeline, (S,), (channels, S) or (S, channels), to (channels, S)."""
    if isinstance(sound, torch.Tensor):
        sound = sound.detach().float().cpu().numpy()
    array = np.atleast_2d(np.asarray(sound, dtype=np.float32))
    return array.T if array.shape[0] > array.shape[1] else array


def sample_rate_of(pipeline: Any) -> int:
    """Ask a pipeline's parts for their sample rate.

    Raises:
        InputError: none of them says it.
    """
    for part in ("vocoder", "vae", "pipeline"):
        owner = getattr(pipeline, part, None)
        for place in (owner, getattr(owner, "config", None)):
            for name in ("sampling_rate", "sample_rate"):
                rate = getattr(place, name, None)
                if isinstance(rate, int) and rate > 0:
                    return rate
    own = getattr(pipeline, "sample_rate", None)
    if isinstance(own, int) and own > 0:
        return own
    raise InputError("sample_rate", None, "a rate in Hz; the pipeline does not say its own")
