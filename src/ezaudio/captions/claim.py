"""A caption set is written by one run at a time, of one kind, and stays if it holds something."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ezaudio.captions.answers import Answers
from ezaudio.captions.shards import CaptionSet, rows_in
from ezaudio.errors import InputError, OutputError

_LOCK = ".lock"


@contextmanager
def claimed(target: CaptionSet, kind: str, *, given: Sequence[Path] = ()) -> Iterator[None]:
    """Take hold of a folder, in order to write a caption set into it.

    After an error, a folder that was made here and got neither captions nor answers is removed.

    Args:
        target: it is made when it is not there.
        kind: what `set.json` is to say about its source.
        given: sets that are read meanwhile.

    Raises:
        InputError: the folder is one of those that are read, or holds captions of another kind.
        OutputError: it cannot be written, or another run works on it.
    """
    if target.folder.resolve() in [path.resolve() for path in given]:
        raise InputError("output", str(target.folder), "another folder than the set that is read")
    own = target.read_card().get("source", kind)
    if own != kind:
        raise InputError(
            "output", str(target.folder), f"a new folder; this one holds {own} captions"
        )
    fresh = not target.folder.exists()
    with _locked(target.folder):
        try:
            yield
        except BaseException:
            if fresh and _holds_nothing(target):
                shutil.rmtree(target.folder, ignore_errors=True)
            raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCK).open("w")
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"{folder}: another run works on it") from None
        yield


def _holds_nothing(target: CaptionSet) -> bool:
    if any(rows_in(part) for kind in ("captions", "scored") for part in target.parts(kind)):
        return False
    if not target.answers.exists():
        return True
    answers = Answers(target.answers)
    try:
        return answers.spent().requests == 0
    finally:
        answers.close()
