"""A listening test as a folder: which clips are rated, under names that tell nothing.

    study.json      what is rated, in public and in secret terms
    clips/ID.wav    the sounds, all at one loudness
    answers.sqlite  what listeners said (made by the server)

Every system makes the same prompts, chosen at random; the recordings take part as a hidden
reference. Checks are trials whose caption asks for a certain answer.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ezaudio.audio import encode_audio, peak_guard
from ezaudio.config import Config, load_config
from ezaudio.errors import InputError, OutputError
from ezaudio.evaluation.clips import ClipSet
from ezaudio.evaluation.features import listed
from ezaudio.evaluation.listening.options import StudyOptions
from ezaudio.evaluation.metrics.signal_checks import loudness_lufs
from ezaudio.evaluation.sources import open_source
from ezaudio.files import make_folder, write_bytes
from ezaudio.types import Clip

STUDY_FILE = "study.json"
CHECK = "check"
LOUDNESS_LUFS = -23.0
_MOST_GAIN_DB = 20.0


class Trial(Config):
    """One sound to rate.

    Attributes:
        id: name of its file; tells nothing.
        system: who made it; `check` for a check. Secret.
        item: name of the clip. Secret.
        caption: what the listener reads.
        expected: answer that a check asks for.
    """

    id: str
    system: str
    item: str
    caption: str
    expected: int | None = None


class Study(Config):
    """A listening test.

    Attributes:
        format: of this file.
        title: shown to listeners.
        systems: names, in the order of the report.
        reference: the system that is the hidden reference, if any.
        trials: everything that is rated.
        seed: of the choice of prompts and of the orders of listeners.
        per_listener: trials of a listener, without checks; None gives each listener all.
        loudness_lufs: of all sounds, where their peaks allow it.
    """

    format: int = Field(1, ge=1, le=1)
    title: str = "Listening test"
    systems: tuple[str, ...]
    reference: str | None = None
    trials: tuple[Trial, ...]
    seed: int = 0
    per_listener: int | None = None
    loudness_lufs: float = LOUDNESS_LUFS

    @classmethod
    def load(cls, folder: Path) -> Study:
        """Read the study of a folder.

        Raises:
            InputError: there is none.
        """
        try:
            values = json.loads((folder / STUDY_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            made = "a folder made by `ezaudio listen build`"
            raise InputError("study", str(folder), made) from None
        return load_config(cls, values)

    def by_id(self) -> dict[str, Trial]:
        """Trials by their id."""
        return {trial.id: trial for trial in self.trials}

    def order_for(self, listener: str) -> list[Trial]:
        """The trials of a listener in his own order; no caption comes twice in a row.

        A listener who rates a part gets every system equally often, as nearly as that goes.
        """
        digest = hashlib.sha256(f"{self.seed}:{listener}".encode()).digest()
        generator = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        rated = [trial for trial in self.trials if trial.expected is None]
        checks = [trial for trial in self.trials if trial.expected is not None]
        rated = [rated[i] for i in generator.permutation(len(rated))]
        if self.per_listener is not None:
            rated = _balanced(rated, self.systems, self.per_listener)
        ordered = _apart(rated)
        places = np.sort(generator.choice(len(ordered) + 1, size=len(checks), replace=True))
        shuffled = [checks[i] for i in generator.permutation(len(checks))]
        for offset, (place, check) in enumerate(zip(places, shuffled, strict=True)):
            ordered.insert(int(place) + offset, check)
        return ordered


def build_study(
    systems: Mapping[str, ClipSet], reference: ClipSet | None, options: StudyOptions, folder: Path
) -> Study:
    """Choose prompts, bring all sounds to one loudness, and write the study.

    Args:
        systems: sounds by system, with captions.
        reference: recordings of the same names; None leaves the hidden reference out.
        options: how.
        folder: where to write; must not hold a study yet.

    Raises:
        InputError: a system lacks a clip, a caption is missing, or there are too few prompts.
        OutputError: the folder holds a study already.
    """
    if (folder / STUDY_FILE).exists():
        raise OutputError(f"{folder} holds a study already; choose another folder")
    everyone = {**systems, **({} if reference is None else {"reference": reference})}
    if len(everyone) < len(systems) + (reference is not None):
        raise InputError("name", "reference", "another name; it means the recordings")
    names = _common_names(everyone)
    if len(names) < options.prompts:
        raise InputError("prompts", options.prompts, f"at most {len(names)}, as there are clips")
    generator = np.random.default_rng(options.seed)
    chosen = [names[i] for i in sorted(generator.permutation(len(names))[: options.prompts])]
    make_folder(folder / "clips")
    trials = [
        _write_trial(folder, options.seed, system, clips, name)
        for system, clips in everyone.items()
        for name in chosen
    ]
    trials += _checks(folder, options, trials, generator)
    study = Study(
        title=options.title,
        systems=tuple(everyone),
        reference=None if reference is None else "reference",
        trials=tuple(trials),
        seed=options.seed,
        per_listener=options.per_listener,
    )
    text = json.dumps(study.model_dump(mode="json"), indent=1, ensure_ascii=False)
    write_bytes(folder / STUDY_FILE, text.encode())
    return study


def at_loudness(clip: Clip, lufs: float = LOUDNESS_LUFS) -> Clip:
    """Bring a clip to a loudness; peaks stay below full scale, and silence stays silent."""
    found = loudness_lufs(clip.samples, clip.sample_rate)
    if np.isnan(found):
        return Clip(peak_guard(clip.samples), clip.sample_rate)
    gain_db = float(np.clip(lufs - found, -60.0, _MOST_GAIN_DB))
    louder: npt.NDArray[np.float32] = clip.samples * np.float32(10 ** (gain_db / 20))
    return Clip(peak_guard(louder), clip.sample_rate)


def _common_names(everyone: Mapping[str, ClipSet]) -> list[str]:
    first_name, first = next(iter(everyone.items()))
    names = [item.name for item in first.items]
    for system, clips in everyone.items():
        lacking = sorted(set(names).symmetric_difference(clips.names))
        if lacking:
            allowed = f"the clips of {first_name}; not in both: {listed(lacking)}"
            raise InputError(system, f"{len(clips.names)} clips", allowed)
    silent = [item.name for item in first.items if not item.caption]
    if silent:
        raise InputError("caption", listed(silent), "a caption for each clip (--manifest)")
    return sorted(names)


def _write_trial(folder: Path, seed: int, system: str, clips: ClipSet, name: str) -> Trial:
    index = clips.names.index(name)
    source = clips.sources[index]
    sound = at_loudness(open_source(source))
    digest = hashlib.sha256(f"{seed}:{system}:{name}".encode()).hexdigest()[:16]
    content = encode_audio(sound.samples, sound.sample_rate, format="wav")
    write_bytes(folder / "clips" / f"{digest}.wav", content)
    return Trial(id=digest, system=system, item=name, caption=clips.items[index].caption)


def _checks(
    folder: Path, options: StudyOptions, trials: Sequence[Trial], generator: np.random.Generator
) -> list[Trial]:
    """Trials whose caption asks for an answer; their sounds are those of other trials."""
    checks = []
    for number in range(options.checks):
        source = trials[int(generator.integers(len(trials)))]
        expected = int(generator.integers(1, 6))
        digest = hashlib.sha256(f"{options.seed}:check:{number}".encode()).hexdigest()[:16]
        sound = (folder / "clips" / f"{source.id}.wav").read_bytes()
        write_bytes(folder / "clips" / f"{digest}.wav", sound)
        caption = f"This is a check, not a description: please answer {expected} to both questions."
        checks.append(
            Trial(
                id=digest, system=CHECK, item=f"check-{number}", caption=caption, expected=expected
            )
        )
    return checks


def _balanced(rated: Sequence[Trial], systems: Sequence[str], count: int) -> list[Trial]:
    """The first `count` trials when systems take turns."""
    queues = {system: [t for t in rated if t.system == system] for system in systems}
    turns: list[Trial] = []
    while len(turns) < count and any(queues.values()):
        turns += [queue.pop(0) for queue in queues.values() if queue]
    kept = {trial.id for trial in turns[:count]}
    return [trial for trial in rated if trial.id in kept]


def _apart(trials: Sequence[Trial]) -> list[Trial]:
    """The same trials, reordered so that neighbours differ in their item where that is possible.

    The first trial of another item comes next, unless some item needs every second place that is
    left: then it is that item's turn.
    """
    left = list(trials)
    ordered: list[Trial] = []
    while left:
        last = ordered[-1].item if ordered else None
        item, most = Counter(trial.item for trial in left).most_common(1)[0]
        due = item if 2 * most > len(left) and item != last else None
        fits = (i for i, t in enumerate(left) if t.item != last and due in (None, t.item))
        ordered.append(left.pop(next(fits, 0)))
    return ordered
