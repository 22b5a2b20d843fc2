"""Stops a run whose loss is no number, or explodes, and says which batch did it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ezaudio.checkpoints import write_bytes
from ezaudio.errors import EzAudioError

REPORT = "report.json"
_MEMORY = 100
_LEAST = 20
_SHOWN_CHARACTERS = 300


class DivergedError(EzAudioError):
    """The loss is not a number, or exploded; a report lies in the folder of the run."""


class DivergenceGuard:
    """Watches `loss` and `gradient_norm` of every step.

    A loss explodes when it is `explode` times the highest of the last 100, of which there must be
    20: a maximum, so that losses of alternating players do not alarm.

    Args:
        explode: See above; None allows every finite loss.
    """

    def __init__(self, explode: float | None) -> None:
        self.explode = explode
        self.recent: list[float] = []

    def fault(self, values: Mapping[str, float]) -> str | None:
        """What is wrong with a step, or None; then its loss is remembered."""
        for name in ("loss", "gradient_norm"):
            if name in values and not math.isfinite(values[name]):
                return f"{_spoken(name)} is {values[name]}"
        loss, highest = values["loss"], max(self.recent, default=0.0)
        if self.explode is not None and len(self.recent) >= _LEAST:
            limit = self.explode * abs(highest)
            if loss > limit > 0:
                return f"the loss exploded to {loss:.4g}; the highest before was {highest:.4g}"
        self.recent = [*self.recent[1 - _MEMORY :], loss]
        return None


def write_report(
    folder: Path, *, index: int, fault: str, values: Mapping[str, float], batch: Sequence[str]
) -> DivergedError:
    """Write `report.json`, and give the error to raise.

    Args:
        folder: Of the run.
        index: Step.
        fault: What is wrong.
        values: What was measured.
        batch: What the step saw, by process.
    """
    report: dict[str, Any] = {
        "step": index,
        "fault": fault,
        "values": {name: _json(value) for name, value in values.items()},
        "batch": list(batch),
    }
    path = folder / REPORT
    write_bytes(path, (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())
    shown = "; ".join(batch)
    if len(shown) > _SHOWN_CHARACTERS:
        shown = f"{shown[:_SHOWN_CHARACTERS]}…"
    return DivergedError(f"step {index}: {fault}; batch: {shown}. The report is {path}.")


def _json(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _spoken(name: str) -> str:
    return "the loss" if name == "loss" else "the norm of the gradient"
