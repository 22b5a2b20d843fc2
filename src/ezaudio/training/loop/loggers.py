"""What a run leaves to be looked at: a JSONL log, TensorBoard, sounds of fixed prompts.

A resumed run forgets what was logged after the checkpoint that it goes on from, so the log of a
run that was killed reads like that of one that was not.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ezaudio.audio import write_audio
from ezaudio.checkpoints import write_bytes
from ezaudio.errors import InputError, OutputError
from ezaudio.spectrogram import log_mel_db, spectrogram_png
from ezaudio.training.loop.task import Heard
from ezaudio.types import Clip

LOG = "log.jsonl"
SAMPLES = "samples"
TENSORBOARD = "tensorboard"
_FLUSH_S = 20
_INFERNO = np.array(  # ten colours from black over purple and orange to pale yellow
    [
        [0, 0, 4], [27, 12, 65], [74, 12, 107], [120, 28, 109], [165, 44, 96],
        [207, 68, 70], [237, 105, 37], [251, 155, 6], [247, 209, 61], [252, 255, 164],
    ],
    np.float32,
)  # fmt: skip


class JsonLog:
    """One line of JSON per entry.

    Args:
        folder: Of the run.
        step: Where the run goes on; later lines, and a torn last one, are dropped.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        self.path = folder / LOG
        if self.path.exists():
            kept = [line for line in _lines(self.path) if line.get("step", 0) <= step]
            if not step:
                kept = []
            write_bytes(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def values(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line.

        Raises:
            OutputError: The disk is full.
        """
        line = {"step": step, **{name: _short(value) for name, value in values.items()}}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from None

    def sounds(self, step: int, sounds: Sequence[Heard]) -> None:
        """Write sounds as files, with pictures where they can be drawn."""
        folder = self.path.parent / SAMPLES / f"{step:09d}"
        folder.mkdir(parents=True, exist_ok=True)
        pictures = importlib.util.find_spec("matplotlib") is not None
        for place, heard in enumerate(sounds):
            path = folder / f"{place:02d}-{_slug(heard.name)}.wav"
            write_audio(path, heard.samples, heard.sample_rate, metadata={"prompt": heard.name})
            if pictures:
                clip = Clip(heard.samples, heard.sample_rate)
                spectrogram_png(path.with_suffix(".png"), clip, heard.name)

    def close(self) -> None:
        """Nothing stays open."""


class TensorBoard:
    """Curves, sounds and spectrograms for TensorBoard.

    Args:
        folder: Of the run.
        step: Where the run goes on; what was logged later is hidden.

    Raises:
        InputError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            allowed = "false, or tensorboard installed: pip install 'ezaudio[train]'"
            raise InputError("run.tensorboard", True, allowed)
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(
            str(folder / TENSORBOARD), purge_step=step + 1, flush_secs=_FLUSH_S
        )

    def values(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self._writer.add_scalar(_group(name), value, step)

    def sounds(self, step: int, sounds: Sequence[Heard]) -> None:
        """Add sounds and their spectrograms."""
        for heard in sounds:
            tag = f"samples/{_slug(heard.name)}"
            self._writer.add_audio(tag, heard.samples[None], step, heard.sample_rate)
            self._writer.add_image(f"{tag}-mel", picture(heard), step, dataformats="HWC")

    def close(self) -> None:
        """Write what waits."""
        self._writer.close()


class Loggers:
    """All places that a run is watched from; silent on all processes but the main one.

    Args:
        folder: Of the run.
        step: Where the run goes on.
        main: Whether this process writes.
        tensorboard: Whether TensorBoard is wanted.
    """

    def __init__(self, folder: Path, *, step: int, main: bool, tensorboard: bool) -> None:
        self.folder = folder
        self.places: list[JsonLog | TensorBoard] = []
        with self._writing():
            if main:
                self.places.append(JsonLog(folder, step=step))
            if main and tensorboard:
                self.places.append(TensorBoard(folder, step=step))

    def values(self, step: int, values: Mapping[str, float]) -> None:
        """Log values after a step.

        Raises:
            OutputError: They cannot be written; so for sounds.
        """
        with self._writing():
            for place in self.places:
                place.values(step, values)

    def sounds(self, step: int, sounds: Sequence[Heard]) -> None:
        """Keep sounds made after a step."""
        with self._writing():
            for place in self.places:
                place.sounds(step, sounds)

    def close(self) -> None:
        """Write what waits."""
        with self._writing():
            for place in self.places:
                place.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(f"cannot write the log in {self.folder}: {reason}") from None


def picture(heard: Heard) -> NDArray[np.uint8]:
    """A log-mel spectrogram as an image, (mels, frames, 3), low frequencies at the bottom."""
    level = log_mel_db(heard.samples, heard.sample_rate)[::-1]  # (mels, frames), dB below the peak
    place = (1 + level / 80.0).clip(0, 1) * (len(_INFERNO) - 1)
    below = np.minimum(place.astype(np.int64), len(_INFERNO) - 2)
    share = (place - below)[..., None]
    colours = _INFERNO[below] * (1 - share) + _INFERNO[below + 1] * share
    image: NDArray[np.uint8] = np.rint(colours).astype(np.uint8)
    return image


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return _lines(folder / LOG)


def _lines(path: Path) -> list[dict[str, Any]]:
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break  # the line that was being written when the run was killed
    return [line for line in found if isinstance(line, dict)]


def _short(value: float) -> float:
    """Nine digits, which tell every float32 from its neighbours."""
    return float(f"{value:.9g}")


def _group(name: str) -> str:
    """Put a value under a heading: `valid_loss` is `valid/loss`."""
    first, _, rest = name.partition("_")
    return f"valid/{rest}" if first == "valid" and rest else f"train/{name}"


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name.lower()).strip("-")[:40] or "no-text"
