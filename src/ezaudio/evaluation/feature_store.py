"""From sounds to features: every panel of a protocol listens to every clip once.

What an extractor heard is kept by content, so a second run, another table with the same sounds, or
another process that shares the cache listens to nothing again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ezaudio.errors import InputError
from ezaudio.evaluation.cache import Extracted, FeatureCache
from ezaudio.evaluation.clips import ClipSet, Item, captions_of
from ezaudio.evaluation.extractors import FeatureExtractor, open_extractor, print_extractor
from ezaudio.evaluation.features import ClipFeatures
from ezaudio.evaluation.loading import Loading, load_sound
from ezaudio.evaluation.metrics.memorisation import likeness
from ezaudio.evaluation.metrics.signal_checks import SoundFacts
from ezaudio.evaluation.protocol import Panel, Protocol
from ezaudio.evaluation.sources import Source, content_hash, open_source

Array = npt.NDArray[np.floating]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and how many there are."""

BANK_HOP_FRAMES = 5


@dataclass
class FeatureStore:
    """A protocol with its extractors opened, and the cache that they share.

    Attributes:
        protocol: what is heard.
        cache: of what was heard.
        weights: paths of weights by extractor.
        progress: told about every clip.
        bank: prints of the training recordings, (windows, J); None leaves near copies out.
        seconds: time spent, by stage.
        extracted_new: clips that were not in the cache.
    """

    protocol: Protocol
    cache: FeatureCache
    weights: Mapping[str, Path] = field(default_factory=dict)
    progress: Progress | None = None
    bank: npt.NDArray[np.float32] | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    extracted_new: int = 0
    _bank_hash: str = ""
    _contents: dict[Path, str] = field(default_factory=dict)
    _extractors: dict[str, FeatureExtractor] = field(default_factory=dict)
    _texts: dict[tuple[str, tuple[str, ...]], Array] = field(default_factory=dict)

    def extractor(self, name: str) -> FeatureExtractor:
        """Open an extractor, once."""
        if name not in self._extractors:
            begun = time.perf_counter()
            self._extractors[name] = open_extractor(name, self.weights)
            self._spend(f"open {name}", begun)
        return self._extractors[name]

    @property
    def hash(self) -> str:
        """Of the protocol with these weights."""
        names = dict.fromkeys(panel.extractor for panel in self.protocol.panels)
        return self.protocol.hash({name: self.extractor(name).identity for name in names})

    def features_of(self, clips: ClipSet, *, copies: bool = True) -> dict[str, ClipFeatures]:
        """ClipFeatures of a set of clips, by extractor.

        Args:
            clips: the set.
            copies: whether to compare it with the training recordings, which takes long.

        Raises:
            AudioFileError: a sound cannot be read.
        """
        begun = time.perf_counter()
        contents = self._hashes(clips)
        self._spend("hash", begun)
        compared = copies and self.bank is not None
        panels = [p for p in self.protocol.panels if compared or p.extractor != "prints"]
        return {
            panel.extractor: self._features(panel, clips, contents)
            for panel in panels or self.protocol.panels
        }

    def content_of(self, clips: ClipSet) -> str:
        """Twelve hexadecimal digits over the names and contents of clips, whatever their order."""
        pairs = sorted(zip(clips.names, self._hashes(clips), strict=True))
        return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:12]

    def fill_bank(self, training: ClipSet) -> None:
        """Take the prints of training recordings, to find copies of them."""
        extractor = print_extractor(BANK_HOP_FRAMES)
        contents = self._hashes(training)
        heard = self._extract(extractor, Loading(), training, contents, "training prints")
        self.bank = np.concatenate([found["prints"] for found in heard])
        self._bank_hash = hashlib.sha256("".join(contents).encode()).hexdigest()

    def _hashes(self, clips: ClipSet) -> list[str]:
        return [content_hash(source, self._contents) for source in clips.sources]

    def _features(self, panel: Panel, clips: ClipSet, contents: Sequence[str]) -> ClipFeatures:
        extractor = self.extractor(panel.extractor)
        heard = self._extract(
            extractor, panel.loading, clips, contents, f"{clips.title}: {extractor.name}"
        )
        stacked = {
            name: np.stack([found[name] for found in heard])
            for name in ("features", "logits", "audio")
            if name in heard[0]
        }
        asked = [np.nan if i.duration_s is None else i.duration_s for i in clips.items]
        known = not np.isnan(asked).any()
        return ClipFeatures(
            names=clips.names,
            prompts=captions_of(clips.items),
            **stacked,
            text=self._text(extractor, clips.items),
            frames=_frames(heard),
            presence=_presence(extractor, clips.items, heard),
            likeness=self._likeness(heard, contents),
            facts=_facts(heard),
            asked_s=np.array(asked) if known else None,
        )

    def _extract(
        self,
        extractor: FeatureExtractor,
        loading: Loading,
        clips: ClipSet,
        contents: Sequence[str],
        title: str,
    ) -> list[Extracted]:
        found: list[Extracted] = []
        how = json.dumps(loading.model_dump(mode="json"), sort_keys=True)
        for index, (source, content) in enumerate(zip(clips.sources, contents, strict=True)):
            key = self.cache.key(content, f"{extractor.name}:{extractor.identity}", how)
            begun = time.perf_counter()
            heard = self.cache.get(key)
            self._spend("cache", begun)
            if heard is None:
                heard = self._extract_one(extractor, loading, source)
                self.cache.put(key, heard)
                self.extracted_new += 1
            found.append(heard)
            if self.progress is not None:
                self.progress(title, index + 1, len(clips.sources))
        return found

    def _extract_one(
        self, extractor: FeatureExtractor, loading: Loading, source: Source
    ) -> Extracted:
        begun = time.perf_counter()
        samples, rate = _loaded(source, extractor.sample_rate, loading)
        begun = self._spend("load", begun)
        heard = extractor.extract(samples, rate)
        self._spend(f"extract {extractor.name}", begun)
        return heard

    def _text(self, extractor: FeatureExtractor, items: Sequence[Item]) -> Array | None:
        captions = captions_of(items)
        if extractor.embed_text is None or not all(captions):
            return None
        key = (extractor.name, captions)
        if key not in self._texts:
            begun = time.perf_counter()
            self._texts[key] = extractor.embed_text(captions)
            self._spend(f"read {extractor.name}", begun)
        return self._texts[key]

    def _likeness(self, heard: Sequence[Extracted], contents: Sequence[str]) -> Array | None:
        if "prints" not in heard[0] or self.bank is None:
            return None
        begun = time.perf_counter()
        found = np.empty(len(heard))
        for row, (one, content) in enumerate(zip(heard, contents, strict=True)):
            key = self.cache.key(content, "likeness 1", self._bank_hash)
            known = self.cache.get(key)
            if known is None:
                known = {"likeness": likeness([one["prints"]], self.bank).astype(np.float32)}
                self.cache.put(key, known)
            found[row] = known["likeness"][0]
        self._spend("compare prints", begun)
        return found

    def _spend(self, stage: str, begun: float) -> float:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - begun
        return now


def _frames(heard: Sequence[Extracted]) -> npt.NDArray[np.object_] | None:
    if "frames" not in heard[0]:
        return None
    frames = np.empty(len(heard), dtype=object)
    for row, found in enumerate(heard):
        frames[row] = found["frames"]
    return frames


def _loaded(
    source: Source, sample_rate: int, loading: Loading
) -> tuple[npt.NDArray[np.float32], int]:
    """A sound at the rate that an extractor takes; at rate 0 as it is."""
    if sample_rate:
        return load_sound(source, sample_rate, loading), sample_rate
    clip = open_source(source)
    return clip.samples, clip.sample_rate


_FACTS = tuple(field.name for field in fields(SoundFacts))


def _facts(heard: Sequence[Extracted]) -> dict[str, Array]:
    return {
        name: np.array([float(found[name][0]) for found in heard])
        for name in _FACTS
        if name in heard[0]
    }


def _presence(
    extractor: FeatureExtractor, items: Sequence[Item], heard: Sequence[Extracted]
) -> Array | None:
    """Probabilities of the two events of each clip in its windows, (N, W, 2)."""
    if "timeline" not in heard[0] or not any(item.events for item in items):
        return None
    column = {label: index for index, label in enumerate(extractor.labels)}
    longest = max(len(found["timeline"]) for found in heard)
    presence = np.full((len(items), longest, 2), np.nan)
    for row, (item, found) in enumerate(zip(items, heard, strict=True)):
        if not item.events:
            continue
        unknown = [event for event in item.events if event not in column]
        if unknown:
            allowed = (
                f"kinds that {extractor.name} knows, such as {', '.join(extractor.labels[:5])}"
            )
            raise InputError(f"{item.name}: events", unknown[0], allowed)
        timeline = found["timeline"]
        presence[row, : len(timeline)] = timeline[:, [column[event] for event in item.events]]
    return presence
