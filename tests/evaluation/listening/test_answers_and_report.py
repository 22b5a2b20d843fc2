from pathlib import Path

import pytest

from ezaudio.errors import InputError
from ezaudio.evaluation.listening.answers import Answer, Answers
from ezaudio.evaluation.listening.report import (
    Screening,
    listening_report,
    write_listening_report,
)


def said(study, listener: str, *, bonus: int = 0, obey: bool = True, seconds: float = 0.5):
    """A listener who finds ours better than theirs and the recordings best."""
    base = {"theirs": 2, "ours": 3, "reference": 4}
    for number, trial in enumerate(study.trials):
        if trial.expected is not None:
            answer = trial.expected if obey else 6 - trial.expected if trial.expected != 3 else 1
            yield Answer(listener, trial.id, answer, answer, seconds, 1.0)
        else:
            rate = base[trial.system] + bonus * (number % 2)
            yield Answer(listener, trial.id, rate, min(5, rate + 1), seconds, 1.0)


def test_an_answer_is_kept_once_however_often_it_is_sent(tmp_path: Path):
    answers = Answers(tmp_path / "a.sqlite")
    token = answers.join("anna", {})
    for rate in (2, 5, 5):
        answers.put(token, Answer("anna", "t1", rate, 3, 1.0, 2.0))
    assert [(a.trial, a.ovl) for a in answers.all()] == [("t1", 5)]
    assert answers.answered(token) == {"t1"}


def test_a_known_code_goes_on_as_the_same_listener(tmp_path: Path):
    answers = Answers(tmp_path / "a.sqlite")
    token = answers.join("anna", {})
    assert Answers(tmp_path / "a.sqlite").join("anna", {"headphones": True}) == token
    assert answers.join("ben", {}) != token
    assert answers.code_of(token) == "anna"
    assert answers.code_of("stranger") is None


def test_scores_are_those_of_the_answers(study):
    answers = [a for code in ("a", "b", "c") for a in said(study, code)]
    found = listening_report(study, answers)
    assert {s: m.mean for s, m in found.scores["ovl"].items()} == {
        "ours": 3,
        "theirs": 2,
        "reference": 4,
    }
    assert found.scores["rel"]["ours"].ratings == 9
    assert found.agreement["ovl"] == 1
    pair = next(p for p in found.pairs if p.systems == ("ours", "theirs") and p.question == "ovl")
    assert pair.difference == 1
    assert pair.p == 0


def test_a_sound_that_is_shorter_than_most_still_counts_when_it_was_heard(study):
    answers = [a for code in ("a", "b", "c") for a in said(study, code, seconds=0.18)]
    assert listening_report(study, answers).left_out == 0


def test_intervals_end_with_the_scale(study):
    answers = [a for code, more in (("a", 0), ("b", 1)) for a in said(study, code, bonus=more)]
    found = listening_report(study, answers)
    ends = [end for one in found.scores["rel"].values() for end in (one.low, one.high)]
    assert 5.0 in ends  # two listeners are few
    assert all(1.0 <= end <= 5.0 for end in ends)


def test_who_fails_the_checks_is_left_out_by_name(study):
    answers = [a for code in ("a", "b") for a in said(study, code)]
    answers += list(said(study, "robot", bonus=1, obey=False))
    found = listening_report(study, answers, Screening(most_failed_checks=0))
    left = [one for one in found.listeners if not one.kept]
    assert [(one.code, one.reason) for one in left] == [("robot", "1 of 1 checks failed")]
    assert found.scores["ovl"]["ours"].mean == 3
    kept = listening_report(study, answers, Screening(most_failed_checks=1))
    assert kept.scores["ovl"]["ours"].mean > 3


def test_answers_without_listening_do_not_count(study):
    answers = [*said(study, "a"), *said(study, "b"), *said(study, "hasty", seconds=0.0)]
    found = listening_report(study, answers)
    assert found.left_out == 9
    assert found.scores["ovl"]["ours"].ratings == 6


def test_a_test_without_answers_has_no_report(study):
    with pytest.raises(InputError, match="at least one answer"):
        listening_report(study, [])


def test_the_report_is_written_with_its_figure_and_the_raw_answers(study, tmp_path):
    answers = [a for code in ("a", "b", "c") for a in said(study, code, bonus=1)]
    paths = write_listening_report(listening_report(study, answers), study, answers, tmp_path / "r")
    text = {path.name: path.read_text() for path in paths}
    assert "| ours |" in text["listening.md"]
    assert "Krippendorff" in text["listening.md"]
    assert "<svg" in text["listening.html"]
    assert len(text["answers.csv"].splitlines()) == 1 + len(answers)
