"""The paper's experiments (arXiv 2409.10819) and its numbers, for columns beside what is measured.

The numbers were measured by the authors, with a selection of captions that they did not publish. A
number here and a number there are comparable as far as the protocol `ezaudio-2409.10819` is theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class PaperRow:
    """A line of Table 3.

    Attributes:
        title: of the system, as the paper has it.
        parameters: trainable ones.
        fd: on PANNs.
        kl: on PANNs.
        inception: IS on PANNs.
        clap: CLAP score.
        model: kind of network.
        data: what it was trained on first.
        text: encoder of the prompts.
    """

    title: str
    parameters: str | None
    fd: float | None
    kl: float | None
    inception: float | None
    clap: float | None
    model: str = "–"
    data: str = "–"
    text: str = "–"


_2D, _1D = "2D U-Net", "1D Transformer"
_CAPTION, _AUDIO = "Synthetic Caption", "Synthetic Audio"
_BOTH = "CLAP + FLAN-T5"
_ROWS = (
    PaperRow("Ground Truth", None, None, None, None, 0.302),
    PaperRow("Tango", "866M", 19.07, 1.33, 7.70, 0.293, _2D, _CAPTION, "FLAN-T5"),
    PaperRow("Tango-AF", "866M", 21.84, 1.32, 9.20, 0.269, _2D, _CAPTION, "FLAN-T5"),
    PaperRow("AudioLDM", "739M", 30.96, 2.36, 7.38, 0.197, _2D, "CLAP Embedding", "CLAP"),
    PaperRow("AudioLDM-2", "712M", 25.03, 1.75, 8.13, 0.236, _2D, _CAPTION, _BOTH),
    PaperRow("Make-An-Audio", "453M", 18.77, 1.71, 8.80, 0.244, _2D, _AUDIO, "CLAP"),
    PaperRow("Make-An-Audio-2", "937M", 16.16, 1.42, 9.93, 0.284, _1D, _AUDIO, _BOTH),
    PaperRow("GenAU-Large", "1.25B", 17.21, 1.40, 11.42, 0.270, _1D, _CAPTION, _BOTH),
    PaperRow("EzAudio-L", "596M", 15.59, 1.38, 11.35, 0.319, _1D, _CAPTION, "FLAN-T5"),
    PaperRow("EzAudio-XL", "874M", 14.98, 1.29, 11.38, 0.314, _1D, _CAPTION, "FLAN-T5"),
)
TABLE_3: dict[str, PaperRow] = {row.title.lower(): row for row in _ROWS}
"""Table 3 by the name of the system in lower case, in its order."""

_OWN_NAMES = {
    "l": "ezaudio-l",
    "xl": "ezaudio-xl",
    "tango-full-ft-ac": "tango",
    "tango-af-ac-ft-ac": "tango-af",
    "audioldm-l-full": "audioldm",
    "audioldm2-large": "audioldm-2",
    "real: the recordings": "ground truth",
}


def published(title: str) -> PaperRow | None:
    """The line of Table 3 for a row of ours; models may go by the names of their checkpoints."""
    name = title.lower()
    return TABLE_3.get(_OWN_NAMES.get(name, name))


@dataclass(frozen=True)
class PaperRun:
    """A trained network of an experiment.

    Attributes:
        label: of its row or curve.
        recipe: that trains it.
        columns: what the table says about it.
        published: what the paper has there, by metric.
    """

    label: str
    recipe: str
    columns: Mapping[str, Any]
    published: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """An experiment that compares trained networks.

    Attributes:
        runs: the networks.
        at: shares of a run whose checkpoints are scored; none scores the finished runs.
        best_between: two shares between which the checkpoint of the lowest validation loss is
            scored too.
    """

    runs: tuple[PaperRun, ...]
    at: tuple[float, ...] = ()
    best_between: tuple[float, float] | None = None

    def checkpoints(self, run: Path) -> list[Path]:
        """The checkpoints of a finished run that are scored, in order; none for the run itself."""
        from ezaudio.evaluation.training_runs import loss_of_step

        steps = {int(p.name): p for p in (run / "checkpoints").glob("[0-9]*") if p.is_dir()}
        if not (self.at and steps):
            return []
        last = max(steps)
        chosen = {min(steps, key=lambda step: abs(step - share * last)) for share in self.at}
        if self.best_between is not None:
            low, high = (share * last for share in self.best_between)
            losses = {s: loss_of_step(p) for s, p in steps.items() if low <= s <= high}
            known = {step: loss for step, loss in losses.items() if loss is not None}
            chosen.add(min(known, key=lambda step: known[step]) if known else last)
        return [steps[step] for step in sorted(chosen)]


def _scores(fd: float, kl: float, inception: float, clap: float) -> Mapping[str, float]:
    return MappingProxyType({"fd": fd, "kl": kl, "is": inception, "clap": clap})


_VARIANTS = {
    "figure-2-full-plain": ("AdaLN", False),
    "figure-2-full-skips": ("AdaLN", True),
    "figure-2-single-plain": ("AdaLN-Single", False),
    "figure-2-single-skips": ("AdaLN-Single", True),
    "figure-2-sola-plain": ("AdaLN-SOLA", False),
    "figure-2": ("AdaLN-SOLA", True),
}
_OURS = _scores(15.46, 1.44, 10.11, 0.294)

TRAINED: Mapping[str, Trained] = MappingProxyType(
    {
        "figure-2": Trained(
            tuple(
                PaperRun(
                    f"{kind}, {'long skips' if skips else 'no skips'}",
                    recipe,
                    {"adaln": kind, "long_skips": skips},
                )
                for recipe, (kind, skips) in _VARIANTS.items()
            ),
            at=(15 / 80, 40 / 80),
            best_between=(60 / 80, 1.0),
        ),
        "table-1": Trained(
            (
                PaperRun(
                    "WavCaps",
                    "table-1-wavcaps",
                    {"captions": "WavCaps", "mask_modelling": False},
                    _scores(17.79, 1.66, 9.60, 0.273),
                ),
                PaperRun(
                    "EzAudioCaps",
                    "table-1-no-mask",
                    {"captions": "EzAudioCaps", "mask_modelling": False},
                    _scores(16.60, 1.67, 10.04, 0.288),
                ),
                PaperRun(
                    "EzAudioCaps, masked first",
                    "paper-l",
                    {"captions": "EzAudioCaps", "mask_modelling": True},
                    _OURS,
                ),
            )
        ),
        "table-2": Trained(
            (
                PaperRun(
                    "0.35",
                    "table-2-035",
                    {"clap_threshold": 0.35, "pairs": "0.58M"},
                    _scores(16.17, 1.48, 9.85, 0.290),
                ),
                PaperRun(
                    "0.45",
                    "table-2-045",
                    {"clap_threshold": 0.45, "pairs": "0.11M"},
                    _scores(16.27, 1.40, 10.31, 0.303),
                ),
                PaperRun("0.40", "paper-l", {"clap_threshold": 0.40, "pairs": "0.27M"}, _OURS),
            )
        ),
    }
)
"""Figure 2, Tables 1 and 2: which recipes they compare."""

ABLATION: Mapping[str, Any] = MappingProxyType(
    {"steps": 50, "guidance_scale": 3.0, "guidance_rescale": 0.0, "eta": 1.0}
)
"""How the ablations are sampled (section 3.1; eta as in the authors' code)."""

SCALES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
RESCALED_AT = 5.0
FACTORS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Figure 3: CFG scales without rescaling, and rescaling factors at one scale."""

PROTOCOL, CAPTIONS = "ezaudio-2409.10819", "audiocaps-886"
"""How all of them are scored, and on which captions; 882 of the clips are there for most people."""
