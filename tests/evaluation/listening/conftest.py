from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ezaudio.audio import write_audio
from ezaudio.evaluation.clips import ClipSet, Item
from ezaudio.evaluation.listening.options import StudyOptions
from ezaudio.evaluation.listening.study import Study, build_study

RATE = 16_000
CAPTIONS = ("a dog barking", "rain on a roof", "a bell")


def sounds(folder: Path, system: int, seconds: float = 0.5) -> ClipSet:
    folder.mkdir(parents=True)
    times = np.arange(round(seconds * RATE)) / RATE
    items, paths = [], []
    for index, caption in enumerate(CAPTIONS):
        path = folder / f"clip{index}.wav"
        wave = 0.05 * (system + 1) * np.sin(2 * np.pi * 220 * (index + 1) * times)
        write_audio(path, wave.astype(np.float32), RATE)
        items.append(Item(f"clip{index}", caption))
        paths.append(path)
    return ClipSet(folder.name, tuple(items), tuple(paths))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of two systems and recordings, three prompts each, with a check."""
    systems = {
        name: sounds(tmp_path / name, index) for index, name in enumerate(("ours", "theirs"))
    }
    real = sounds(tmp_path / "real", 2)
    place = tmp_path / "study"
    build_study(systems, real, StudyOptions(prompts=3, checks=1), place)
    return place


@pytest.fixture
def study(folder: Path) -> Study:
    return Study.load(folder)
