"""How well each caption fits its sound: the cosine of their CLAP vectors, shard by shard.

A scored shard carries a hash of the shard that it was made from, of the model, and of the size and
time of the sound files: what was scored already is passed over. Sounds are heard once, however many
captions they have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from ezaudio.captions.embedding_cache import EmbeddingCache, Vectors
from ezaudio.captions.record import CaptionRecord, Failure, digest, file_state, now, shortened
from ezaudio.captions.store import CaptionSet, read_facts, read_rows, write_rows
from ezaudio.checkpoints import sha256_file
from ezaudio.config import Config
from ezaudio.errors import AudioFileError
from ezaudio.extractors.clap import Clap, ClapConfig, FrontEnd, fetch_clap
from ezaudio.types import Clip

_MOST_CLIPS, _MOST_SECONDS = 64, 1200.0
"""Of sounds that are in memory at once, however long a single one is."""


class ScoreSettings(Config):
    """How pairs are scored.

    Attributes:
        clap: the model.
        device: `cpu`, `cuda`, `cuda:1`; `auto` takes a GPU where there is one.
        dtype: `float32`, `bfloat16`, `float16`.
        batch_size: windows of 10 s that are heard at once.
        audio_root: folder that the records' sound files lie in.
        cache: folder for vectors; empty for one inside the new set.
    """

    clap: ClapConfig = ClapConfig()
    device: str = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    batch_size: int = Field(32, ge=1)
    audio_root: str = ""
    cache: str = ""


def require_model(clap: ClapConfig) -> None:
    """See to it that the model's files are there before other work begins.

    Raises:
        CheckpointError: a file is missing or damaged, or it is a model with feature fusion.
        DownloadError: the model is neither in the cache nor can it be fetched.
        InputError: the name is not a model that can be fetched.
    """
    FrontEnd.read(fetch_clap(clap.name) if clap.path is None else Path(clap.path))


@dataclass(frozen=True, slots=True)
class ScoreTask:
    """One shard to be scored.

    Attributes:
        part: the shard.
        index: its number.
    """

    part: str
    index: int


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of a shard.

    Attributes:
        index: its number.
        scored, without: pairs with and without a score.
        heard: sounds that were not in the cache.
        passed_over: it was scored already.
    """

    index: int
    scored: int
    without: int
    heard: int
    passed_over: bool


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """Opens scorers.

    Attributes:
        settings: the model.
        folder: of the new set, as every machine sees it.
    """

    settings: ScoreSettings
    folder: str

    def open(self) -> Scorer:
        """Load the model."""
        return Scorer(self.settings, CaptionSet(self.folder))


class SoundEmbedder:
    """Hears sound files, or remembers them.

    Args:
        clap: the model.
        cache: of vectors.
        settings: where the files lie, and how many windows are heard at once.
    """

    def __init__(self, clap: Clap, cache: EmbeddingCache, settings: ScoreSettings) -> None:
        self._clap, self._cache = clap, cache
        self._root, self._batch_size = Path(settings.audio_root), settings.batch_size

    def sounds(self, files: Iterable[str]) -> tuple[dict[str, Vectors], dict[str, str]]:
        """Hear every file that can be read: vectors by file, and why there is none."""
        vectors: dict[str, Vectors] = {}
        reasons: dict[str, str] = {}
        waiting: dict[str, tuple[bytes, Clip | None]] = {}
        waiting_s = 0.0
        for file in files:
            try:
                key, clip = self._read(file)
            except OSError as error:
                reasons[file] = f"unreadable audio: {error.strerror}"
            except AudioFileError as error:
                reasons[file] = f"unreadable audio: {error}" if file else "no audio"
            else:
                waiting[file] = key, clip
                waiting_s += 0.0 if clip is None else clip.duration_s
            if len(waiting) >= _MOST_CLIPS or waiting_s >= _MOST_SECONDS:
                vectors |= self._heard(waiting)
                waiting, waiting_s = {}, 0.0
        return vectors | self._heard(waiting), reasons

    def _read(self, file: str) -> tuple[bytes, Clip | None]:
        """Give a sound's key, and its samples where its vector is not in the cache."""
        from ezaudio.audio import read_audio

        if not file:
            raise AudioFileError("the clip names no sound file")
        path = self._root / file
        key = self._cache.key(path.read_bytes())
        return key, None if self._cache.known([key]) else read_audio(path, self._clap.sample_rate)

    def _heard(self, waiting: Mapping[str, tuple[bytes, Clip | None]]) -> dict[str, Vectors]:
        keys = [key for key, _ in waiting.values()]
        clips = [clip for _, clip in waiting.values()]

        def listen(missing: list[int]) -> Vectors:
            batch = [clip for index in missing if (clip := clips[index]) is not None]
            heard: Vectors = (
                self._clap.embed_audio(batch, batch_size=self._batch_size).cpu().numpy()
            )
            return heard

        return dict(zip(waiting, self._cache.vectors(keys, listen), strict=True))


class Scorer:
    """Scores one shard after another."""

    def __init__(self, settings: ScoreSettings, target: CaptionSet) -> None:
        import torch

        gpu = "cuda" if torch.cuda.is_available() else "cpu"
        device = gpu if settings.device == "auto" else settings.device
        self._clap: Clap = settings.clap.build().to(device, getattr(torch, settings.dtype))
        self._settings, self._target = settings, target
        cache = Path(settings.cache) if settings.cache else target.folder / "cache"
        self._cache = EmbeddingCache(cache, f"{self._clap.sha256} {settings.dtype}")
        self._embedder = SoundEmbedder(self._clap, self._cache, settings)

    def close(self) -> None:
        """Close the cache."""
        self._cache.close()

    def __call__(self, task: ScoreTask) -> Scored:
        """Score a shard; records keep their order."""
        target = self._target.part(task.index, "scored")
        records = list(read_rows(Path(task.part), CaptionRecord))
        files = sorted({record.audio for record in records})
        origin = self._origin(task.part, files)
        shard_facts = read_facts(target) or {}
        if shard_facts.get("origin") == origin:
            return Scored(
                task.index, shard_facts["scored"], shard_facts["without"], heard=0, passed_over=True
            )
        before = self._cache.misses
        sounds, reasons = self._embedder.sounds(files)
        heard = self._cache.misses - before
        scores = self._scores(records, sounds)
        scored = [
            replace(record, score=score, score_model=self._clap.sha256[:16])
            for record, score in zip(records, scores, strict=True)
        ]
        without = sum(score is None for score in scores)
        self._note(task.index, records, reasons)
        counts = {"scored": len(records) - without, "without": without}
        write_rows(target, scored, CaptionRecord, {"origin": origin, **counts})
        return Scored(task.index, **counts, heard=heard, passed_over=False)

    def _origin(self, part: str, files: Sequence[str]) -> str:
        """Hash what the scores of a shard depend on: records, sound files and model."""
        root = Path(self._settings.audio_root)
        states = [(file, file_state(root / file) if file else "") for file in files]
        return digest(sha256_file(part), self._clap.sha256, self._settings.dtype, str(root), states)

    def _scores(
        self, records: Sequence[CaptionRecord], sounds: dict[str, Vectors]
    ) -> list[float | None]:
        captions = sorted({record.caption for record in records if record.audio in sounds})
        keys = [self._cache.key(b"text\0" + text.encode()) for text in captions]

        def read(missing: list[int]) -> Vectors:
            vectors: Vectors = self._clap.embed_text([captions[i] for i in missing]).cpu().numpy()
            return vectors

        texts = dict(zip(captions, self._cache.vectors(keys, read), strict=True))
        return [
            float(sounds[record.audio] @ texts[record.caption]) if record.audio in sounds else None
            for record in records
        ]

    def _note(self, index: int, records: Sequence[CaptionRecord], reasons: dict[str, str]) -> None:
        created = now()
        failures = [
            Failure(
                record.clip_id,
                record.source,
                reasons[record.audio].partition(":")[0],
                shortened(reasons[record.audio]),
                0,
                True,
                created,
            )
            for record in records
            if record.audio in reasons
        ]
        write_rows(self._target.part(index, "failures"), failures, Failure)
