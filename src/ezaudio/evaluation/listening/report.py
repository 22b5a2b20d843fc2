"""What a listening test found: who was kept, mean opinion scores, agreement, pairwise tests."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ezaudio.config import Config
from ezaudio.errors import InputError
from ezaudio.evaluation.listening.answers import Answer
from ezaudio.evaluation.listening.statistics import (
    Ratings,
    clustered_mean,
    holm,
    krippendorff_alpha,
    paired_by_item,
)
from ezaudio.evaluation.listening.study import Study, Trial
from ezaudio.evaluation.results import number
from ezaudio.files import make_folder, write_bytes
from ezaudio.reports.html import text_page
from ezaudio.reports.markdown import markdown_table
from ezaudio.reports.plots import PALETTE, Dot, DotPlot, can_draw, svg

QUESTIONS = {"ovl": "OVL, overall quality", "rel": "REL, fit to the caption"}
SCALE = (1.0, 5.0)
CHECK_TOLERANCE = 0


@dataclass(frozen=True)
class Screening:
    """Who is kept.

    Attributes:
        most_failed_checks: a listener who fails more is left out.
        least_answers: a listener who rated fewer sounds is left out.
        least_listened_s: an answer after less listening is left out; less than the shortest
            sound that can be rated.
    """

    most_failed_checks: int = 1
    least_answers: int = 1
    least_listened_s: float = 0.1


class Mos(Config):
    """A mean opinion score.

    Attributes:
        mean: of the ratings.
        low: lower end of the 95 % interval, clustered by listener and by item.
        high: upper end.
        ratings: how many.
    """

    mean: float
    low: float | None
    high: float | None
    ratings: int


class Pair(Config):
    """Two systems compared on what the same listeners rated of both.

    Attributes:
        systems: the two.
        question: `ovl` or `rel`.
        difference: mean of the first minus the second.
        low: lower end of its interval.
        high: upper end.
        p: p-value after Holm's adjustment over all pairs of this question.
    """

    systems: tuple[str, str]
    question: str
    difference: float
    low: float | None
    high: float | None
    p: float | None


class Listener(Config):
    """One listener.

    Attributes:
        code: of the listener.
        answers: sounds that were rated.
        failed_checks: attention checks that were answered otherwise.
        kept: whether the answers count.
        reason: why not.
    """

    code: str
    answers: int
    failed_checks: int
    kept: bool
    reason: str = ""


class ListeningReport(Config):
    """What a listening test found.

    Attributes:
        title: of the study.
        listeners: everybody who answered.
        scores: by question and system.
        agreement: Krippendorff's alpha by question, over sounds, interval scale.
        pairs: comparisons.
        left_out: answers of kept listeners that came without listening.
    """

    title: str
    listeners: tuple[Listener, ...]
    scores: dict[str, dict[str, Mos]]
    agreement: dict[str, float | None]
    pairs: tuple[Pair, ...]
    left_out: int = 0


def listening_report(
    study: Study, answers: Sequence[Answer], screening: Screening | None = None
) -> ListeningReport:
    """Screen listeners and compute everything.

    Raises:
        InputError: no answer is left.
    """
    screening = screening or Screening()
    trials = study.by_id()
    known = [answer for answer in answers if answer.trial in trials]
    listeners = _screened(known, trials, screening)
    kept = {listener.code for listener in listeners if listener.kept}
    rated = [a for a in known if a.listener in kept and trials[a.trial].expected is None]
    heard = [a for a in rated if a.listened_s >= screening.least_listened_s]
    if not heard:
        raise InputError("answers", len(answers), "at least one answer that passes the screening")
    scores: dict[str, dict[str, Mos]] = {}
    pairs: list[Pair] = []
    agreement: dict[str, float | None] = {}
    for question in QUESTIONS:
        ratings = {system: _ratings(heard, trials, system, question) for system in study.systems}
        present = {system: own for system, own in ratings.items() if len(own.values)}
        scores[question] = {system: _mos(own) for system, own in present.items()}
        pairs += _pairs(present, question)
        values = np.array([getattr(a, question) for a in heard], dtype=np.float64)
        alpha = krippendorff_alpha(
            values, [a.listener for a in heard], [answer.trial for answer in heard]
        )
        agreement[question] = number(alpha)
    return ListeningReport(
        title=study.title,
        listeners=tuple(listeners),
        scores=scores,
        agreement=agreement,
        pairs=tuple(pairs),
        left_out=len(rated) - len(heard),
    )


def _screened(
    answers: Sequence[Answer], trials: Mapping[str, Trial], screening: Screening
) -> list[Listener]:
    found = []
    for code in sorted({answer.listener for answer in answers}):
        own = [(answer, trials[answer.trial]) for answer in answers if answer.listener == code]
        checks = [(a, t.expected) for a, t in own if t.expected is not None]
        failed = sum(
            max(abs(a.ovl - wanted), abs(a.rel - wanted)) > CHECK_TOLERANCE for a, wanted in checks
        )
        rated = len(own) - len(checks)
        reason = ""
        if failed > screening.most_failed_checks:
            reason = f"{failed} of {len(checks)} checks failed"
        elif rated < screening.least_answers:
            reason = f"only {rated} sounds rated"
        found.append(
            Listener(code=code, answers=rated, failed_checks=failed, kept=not reason, reason=reason)
        )
    return found


def _ratings(
    answers: Sequence[Answer], trials: Mapping[str, Trial], system: str, question: str
) -> Ratings:
    own = [answer for answer in answers if trials[answer.trial].system == system]
    return Ratings(
        np.array([getattr(answer, question) for answer in own], dtype=np.float64),
        tuple(answer.listener for answer in own),
        tuple(trials[answer.trial].item for answer in own),
    )


def _mos(ratings: Ratings) -> Mos:
    interval, _ = clustered_mean(ratings)
    low, high = np.clip([interval.low, interval.high], *SCALE)  # few listeners: may leave the scale
    return Mos(
        mean=interval.value,
        low=number(float(low)),
        high=number(float(high)),
        ratings=len(ratings.values),
    )


def _pairs(ratings: Mapping[str, Ratings], question: str) -> list[Pair]:
    found = []
    for a, b in itertools.combinations(ratings, 2):
        differences = paired_by_item(ratings[a], ratings[b])
        if len(differences.values):
            found.append(((a, b), *clustered_mean(differences)))
    adjusted = holm([p for _, _, p in found])
    return [
        Pair(
            systems=systems,
            question=question,
            difference=interval.value,
            low=number(interval.low),
            high=number(interval.high),
            p=number(p),
        )
        for (systems, interval, _), p in zip(found, adjusted, strict=True)
    ]


def write_listening_report(
    report: ListeningReport, study: Study, answers: Sequence[Answer], folder: Path
) -> list[Path]:
    """Write `listening.json`, `listening.md`, `listening.html`, `answers.csv` and the figure."""
    make_folder(folder)
    plot = mos_plot(report)
    text = listening_markdown(report)
    values = json.dumps(report.model_dump(mode="json"), indent=1, ensure_ascii=False)
    contents = {
        "listening.json": values + "\n",
        "listening.md": text,
        "listening.html": text_page(report.title, text, [plot]),
        "answers.csv": _answers_csv(study, answers),
    }
    if can_draw():
        contents["mos.svg"] = svg(plot.title, [plot])
    for name, content in contents.items():
        write_bytes(folder / name, content.encode())
    return [folder / name for name in contents]


def mos_plot(report: ListeningReport) -> DotPlot:
    """Scores of all systems with their intervals, one colour per question."""
    dots = [
        Dot(f"{system} · {question.upper()}", mos.mean, mos.low, mos.high, PALETTE[index])
        for index, question in enumerate(report.scores)
        for system, mos in report.scores[question].items()
    ]
    return DotPlot("Mean opinion score, 95 % intervals", dots)


def listening_markdown(report: ListeningReport) -> str:
    """Scores, agreement, tests and listeners as Markdown."""
    kept = [listener for listener in report.listeners if listener.kept]
    scores = [
        (system, _shown(mos), _shown(report.scores["rel"][system]), str(mos.ratings))
        for system, mos in report.scores["ovl"].items()
    ]
    lines = [
        f"# {report.title}",
        "",
        f"{len(kept)} of {len(report.listeners)} listeners kept. Intervals: 95 %, clustered by "
        "listener and by item.",
        "",
        markdown_table(("system", "OVL", "REL", "ratings"), scores),
    ]
    for question, alpha in report.agreement.items():
        shown = "–" if alpha is None else f"{alpha:.2f}"
        lines += ["", f"Agreement on {question.upper()} (Krippendorff's alpha, interval): {shown}."]
    pairs = [_pair_cells(pair) for pair in report.pairs]
    lines += ["", markdown_table(("question", "systems", "difference", "p (Holm)"), pairs)]
    left = [listener for listener in report.listeners if not listener.kept]
    if left:
        lines += ["", "Left out: " + "; ".join(f"{one.code} ({one.reason})" for one in left) + "."]
    if report.left_out:
        lines += ["", f"{report.left_out} answers came without listening and do not count."]
    return "\n".join(lines) + "\n"


def _pair_cells(pair: Pair) -> tuple[str, str, str, str]:
    span = "" if pair.low is None else f" [{pair.low:+.2f}, {pair.high:+.2f}]"
    p = "–" if pair.p is None else f"{pair.p:.2g}"
    names = " - ".join(pair.systems)
    return pair.question.upper(), names, f"{pair.difference:+.2f}{span}", p


def _shown(mos: Mos) -> str:
    if mos.low is None:
        return f"{mos.mean:.2f}"
    return f"{mos.mean:.2f} [{mos.low:.2f}, {mos.high:.2f}]"


def _answers_csv(study: Study, answers: Sequence[Answer]) -> str:
    trials = study.by_id()
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["listener", "system", "item", "ovl", "rel", "listened_s", "spent_s"])
    for a in answers:
        trial = trials.get(a.trial)
        if trial is not None:
            writer.writerow(
                [a.listener, trial.system, trial.item, a.ovl, a.rel, a.listened_s, a.spent_s]
            )
    return buffer.getvalue()
