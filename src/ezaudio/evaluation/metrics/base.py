"""How a metric turns features into a number with an interval: three kinds of metric.

`per_clip`: every clip has a score (KL, CLAP); the number is their mean. `per_set`: only the whole
set has one (FD, KAD, IS). `per_prompt`: the takes of each prompt have one together (diversity).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ezaudio.config import Config
from ezaudio.evaluation.features import ClipFeatures, Rows
from ezaudio.evaluation.intervals import Interval, bootstrap_mean, jackknife

Array = npt.NDArray[np.floating]
Better = Literal["lower", "higher", "real"]


class MetricSettings(Config):
    """The constants of the metrics; a part of every protocol.

    Attributes:
        is_splits: parts of the inception score.
        is_shuffle_seed: of the shuffle before it.
        neighbours: k of precision, recall, density and coverage.
        order_threshold: probability from which an event counts as heard.
        copy_quantile: of the likeness of unheard recordings, from which a clip counts as a copy.
        bias_draws: pairs of Gaussian sets behind the bias of FD.
        bootstrap_draws: resampled means.
        jackknife_groups: groups of clips that are left out.
        level: of the confidence intervals.
        seed: of resampling and grouping.
    """

    is_splits: int = 10
    is_shuffle_seed: int = 2020
    neighbours: int = 5
    order_threshold: float = 0.3
    copy_quantile: float = 0.99
    bias_draws: int = 2
    bootstrap_draws: int = 2000
    jackknife_groups: int = 10
    level: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Sides:
    """Both sides of a comparison.

    Attributes:
        reference: recordings; None where there are none.
        takes: generated sets, one per seed, of the same names in the same order.
        settings: of the metrics.
    """

    reference: ClipFeatures | None
    takes: tuple[ClipFeatures, ...]
    settings: MetricSettings

    @property
    def real(self) -> ClipFeatures:
        """The recordings, which must be there."""
        assert self.reference is not None
        return self.reference

    @property
    def paired(self) -> bool:
        """Whether each clip has the recording of the same name."""
        return self.reference is not None and self.reference.names == self.takes[0].names


@dataclass(frozen=True)
class Measured:
    """A number and what belongs to it.

    Attributes:
        interval: the number, over all seeds, with its confidence interval.
        seeds: the number of each seed.
        clips: the scores of the clips, (N, seeds); None where clips have none.
        extra: further numbers, such as the bias of FD.
    """

    interval: Interval
    seeds: tuple[float, ...]
    clips: Array | None = None
    extra: Mapping[str, float] = field(default_factory=dict)


Measure: TypeAlias = Callable[[Sides], Measured]
ClipScores: TypeAlias = Callable[[ClipFeatures | None, ClipFeatures, MetricSettings], Array]
SetScore: TypeAlias = Callable[[ClipFeatures | None, ClipFeatures, MetricSettings], float]
Extra: TypeAlias = Callable[[Sides], Mapping[str, float]]


@dataclass(frozen=True)
class Metric:
    """A metric by its name.

    Attributes:
        title: head of its column.
        meaning: one line for readers.
        better: which way is better; `real` means as near to recordings as possible.
        needs: features of the generated clips.
        needs_reference: features of the recordings.
        paired: whether each clip needs the recording of the same name.
        measure: the computation.
        share: whether it is a share, shown in percent.
    """

    title: str
    meaning: str
    better: Better
    measure: Measure
    needs: tuple[str, ...] = ()
    needs_reference: tuple[str, ...] = ()
    paired: bool = False
    share: bool = False

    def lacks(self, sides: Sides) -> str | None:
        """Say why the metric cannot be computed; None when it can."""
        missing = [name for name in self.needs if not sides.takes[0].has(name)]
        if missing:
            return f"the clips lack: {', '.join(missing)}"
        if self.needs_reference and sides.reference is None:
            return "needs recordings to compare with"
        missing = [name for name in self.needs_reference if not sides.real.has(name)]
        if missing:
            return f"the recordings lack: {', '.join(missing)}"
        if self.paired and not sides.paired:
            return "needs a recording of the same name for each clip"
        return None


def per_clip(scores: ClipScores) -> Measure:
    """A metric whose number is the mean of the clips' scores."""

    def measure(sides: Sides) -> Measured:
        table = np.stack(
            [scores(sides.reference, take, sides.settings) for take in sides.takes], axis=1
        )
        if np.isnan(table).all():  # no clip has this score
            return Measured(Interval(float("nan"), float("nan"), float("nan")), (), table)
        interval = bootstrap_mean(
            table,
            draws=sides.settings.bootstrap_draws,
            level=sides.settings.level,
            seed=sides.settings.seed,
        )
        return Measured(interval, _column_means(table), table)

    return measure


def per_set(score: SetScore, extra: Extra | None = None) -> Measure:
    """A metric of whole sets; its interval comes from leaving out groups of clips."""

    def measure(sides: Sides) -> Measured:
        seeds = tuple(score(sides.reference, take, sides.settings) for take in sides.takes)

        def reduced(rows: Rows) -> float:
            if len(rows) == len(sides.takes[0]):
                return float(np.mean(seeds))
            real = sides.real.rows(rows) if sides.paired else sides.reference
            kept = [score(real, take.rows(rows), sides.settings) for take in sides.takes]
            return float(np.mean(kept))

        interval = jackknife(
            reduced,
            len(sides.takes[0]),
            groups=sides.settings.jackknife_groups,
            level=sides.settings.level,
            seed=sides.settings.seed,
        )
        return Measured(interval, seeds, extra=extra(sides) if extra else {})

    return measure


def per_prompt(scores: Callable[[Sides], Array]) -> Measure:
    """A metric of all takes of a prompt together; the number is the mean over prompts."""

    def measure(sides: Sides) -> Measured:
        values = scores(sides)
        if not len(values):
            return Measured(Interval(float("nan"), float("nan"), float("nan")), ())
        interval = bootstrap_mean(
            values,
            draws=sides.settings.bootstrap_draws,
            level=sides.settings.level,
            seed=sides.settings.seed,
        )
        return Measured(interval, ())

    return measure


def _column_means(table: Array) -> tuple[float, ...]:
    columns = [column[~np.isnan(column)] for column in table.T]
    return tuple(float(column.mean()) if len(column) else float("nan") for column in columns)
