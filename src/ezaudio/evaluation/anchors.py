"""Sets whose scores give a table its scale: anchors that are bad in a known way, and real floors.

Anchors are made of the recordings: silence, white noise, the recordings under each other's
captions, and the recordings without what lies above 8 kHz (half their band, where they have no
more). Floors are recordings against recordings: what a perfect model would score with so many
clips.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy import signal

from ezaudio.evaluation.clips import ClipSet, Item
from ezaudio.evaluation.sources import Changed
from ezaudio.types import Clip

Samples = npt.NDArray[np.float32]

NOISE_DB = -20.0
LOW_PASS_HZ = 8000.0
_FILTER_ORDER = 10


def silence(real: ClipSet) -> ClipSet:
    """Digital silence as long as each recording."""

    def make(clip: Clip) -> Clip:
        return Clip(np.zeros_like(clip.samples), clip.sample_rate)

    return _changed(real, "silence", "silence", make)


def noise(real: ClipSet) -> ClipSet:
    """White noise at -20 dB as long as each recording; its seed is the clip's name."""
    made = []
    for item, source in zip(real.items, real.sources, strict=True):
        seed = zlib.crc32(item.name.encode())
        made.append(Changed(source, f"white noise {NOISE_DB} dB {seed}", partial(_noise, seed)))
    return replace(real, title="noise", sources=tuple(made))


def _noise(seed: int, clip: Clip) -> Clip:
    drawn = np.random.default_rng(seed).standard_normal(len(clip.samples)) * 10 ** (NOISE_DB / 20)
    return Clip(np.clip(drawn, -1, 1).astype(np.float32), clip.sample_rate)


def shuffled(real: ClipSet) -> ClipSet:
    """Each recording under the name and the caption of another."""
    order = np.random.default_rng(0).permutation(len(real.sources))
    cycle = np.empty_like(order)
    cycle[order] = np.roll(order, 1)  # one cycle: nobody keeps his own
    return replace(real, title="shuffled", sources=tuple(real.sources[i] for i in cycle))


def low_passed(real: ClipSet) -> ClipSet:
    """Each recording without what lies above 8 kHz; files with no more lose half their band."""

    def make(clip: Clip) -> Clip:
        enough = clip.sample_rate > 2.2 * LOW_PASS_HZ
        cut = LOW_PASS_HZ if enough else clip.sample_rate / 4
        sections = signal.butter(_FILTER_ORDER, cut, fs=clip.sample_rate, output="sos")
        kept: Samples = signal.sosfilt(sections, clip.samples).astype(np.float32)
        return Clip(kept, clip.sample_rate)

    return _changed(real, "low-passed", f"low-pass {LOW_PASS_HZ} Hz {_FILTER_ORDER}", make)


def _changed(real: ClipSet, title: str, change: str, make: Callable[[Clip], Clip]) -> ClipSet:
    sources = tuple(Changed(source, change, make) for source in real.sources)
    return replace(real, title=title, sources=sources)


ANCHORS: dict[str, Callable[[ClipSet], ClipSet]] = {
    "silence": silence,
    "noise": noise,
    "shuffled": shuffled,
    "low-passed": low_passed,
}
"""Every anchor by name."""


def halves(real: ClipSet) -> tuple[ClipSet, ClipSet]:
    """Two halves of the recordings, at N / 2 clips each; names are made equal, so nothing pairs."""
    order = np.random.default_rng(0).permutation(len(real.items))
    size = len(order) // 2
    return chosen(real, order[:size]), chosen(real, order[size : 2 * size])


def chosen(clips: ClipSet, rows: Sequence[int] | npt.NDArray[np.int64]) -> ClipSet:
    """Some clips of a set."""
    return ClipSet(
        clips.title,
        tuple(clips.items[i] for i in rows),
        tuple(clips.sources[i] for i in rows),
    )


def other_recordings(real: ClipSet, others: Sequence[Item]) -> ClipSet | None:
    """Other recordings of the same kinds, one for each, under the names and captions of the first.

    A recording without a label, or whose label has no (further) other recording, gets any other
    that is left. None when there are fewer others than recordings.
    """
    left = [item for item in others if item.file is not None and item.file.is_file()]
    if len(left) < len(real.items):
        return None
    order = np.random.default_rng(0).permutation(len(left))
    by_label: dict[str, list[int]] = {}
    for index in order:
        by_label.setdefault(left[index].label, []).append(int(index))
    taken: dict[int, int] = {}
    for row, item in enumerate(real.items):
        if item.label and by_label.get(item.label):
            taken[row] = by_label[item.label].pop()
    used = set(taken.values())
    rest = iter([int(i) for i in order if int(i) not in used])
    picks = [taken[row] if row in taken else next(rest) for row in range(len(real.items))]
    sources = [left[pick].file for pick in picks]
    return replace(
        real, title="other recordings", sources=tuple(s for s in sources if s is not None)
    )
