"""A caption set is written by one run at a time, of one kind, and stays if it holds something."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ezaudio.captions.llm.answers import AnswerStore
from ezaudio.captions.store import CaptionSet, rows_in
from ezaudio.errors import InputError, OutputError

_LOCK = ".lock"


@contextmanager
def locked(target: CaptionSet, kind: str, *, sources: Sequence[Path] = ()) -> Iterator[None]:
    """Take hold of a folder, in order to write a caption set into it.

    After an error, a folder that was made here and got neither captions nor answers is removed.

    Args:
        target: it is made when it is not there.
        kind: what `set.json` is to say about its source.
        sources: sets that are read meanwhile.

    Raises:
        InputError: the folder is one of those that are read, or holds captions of another kind.
        OutputError: it cannot be written, or another run works on it.
    """
    if target.folder.resolve() in [path.resolve() for path in sources]:
        raise InputError("output", str(target.folder), "another folder than the set that is read")
    source = target.read_card().get("source", kind)
    if source != kind:
        raise InputError(
            "output", str(target.folder), f"a new folder; this one holds {source} captions"
        )
    fresh = not target.folder.exists()
    with _file_lock(target.folder):
        try:
            yield
        except BaseException:
            if fresh and _holds_nothing(target):
                shutil.rmtree(target.folder, ignore_errors=True)
            raise


@contextmanager
def _file_lock(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / _LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(f"{folder}: another run works on it") from None
    except (OSError, NotImplementedError) as error:  # a file system without locks
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {folder}: {reason}") from None
    try:
        yield
    finally:
        lock.release()


def _holds_nothing(target: CaptionSet) -> bool:
    if any(rows_in(part) for kind in ("captions", "scored") for part in target.parts(kind)):
        return False
    if not target.answers.exists():
        return True
    answers = AnswerStore(target.answers)
    try:
        return answers.spent().requests == 0
    finally:
        answers.close()
