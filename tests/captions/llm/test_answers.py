from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ezaudio.captions.base import Attempt, StoredAnswer
from ezaudio.captions.llm.answers import AnswerStore, Spent
from ezaudio.errors import OutputError


def on(machine: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AnswerStore:
    monkeypatch.setattr(socket, "gethostname", lambda: machine)
    return AnswerStore(folder)


def test_machines_keep_answers_in_files_of_their_own_and_know_those_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = on("one", tmp_path, monkeypatch)
    one.sent("a-1", 0.5)
    one.refuse("a", Attempt("refusal", "No.", 1))
    created = one.keep("b", "Rain falls.", "m-2026")
    one.close()
    two = on("two/x", tmp_path, monkeypatch)
    two.sent("a-2", 0.5)
    two.refuse("a", Attempt("too long", "…", 2))
    two.settle("a-2", 0.2)
    tries = (Attempt("refusal", "No.", 1), Attempt("too long", "…", 2))
    assert two.known(["a", "b", "c"]) == {
        "a": StoredAnswer(None, tries, finished=False),
        "b": StoredAnswer("Rain falls.", (), "m-2026", created),
    }
    assert two.spent() == Spent(requests=2, cost=0.7, in_doubt=1)
    two.close()
    assert sorted(path.name for path in tmp_path.glob("*.sqlite")) == ["one.sqlite", "two_x.sqlite"]


def test_what_every_try_failed_at_is_forgotten_on_request_and_captions_are_not(
    tmp_path: Path,
) -> None:
    answers = AnswerStore(tmp_path)
    answers.refuse("a", Attempt("refusal", "No.", 1))
    answers.keep("a", None)
    answers.refuse("b", Attempt("refusal", "No.", 1))
    answers.keep("b", "Rain falls.")
    assert answers.known(["a"])["a"].finished
    answers.forget_failures()
    known = answers.known(["a", "b"])
    assert list(known) == ["b"] and len(known["b"].failures) == 1
    answers.close()


def test_a_file_that_holds_something_else_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "other.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(OutputError, match="cannot open the answers"):
        AnswerStore(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot open the answers"):
        AnswerStore(tmp_path / "file")
