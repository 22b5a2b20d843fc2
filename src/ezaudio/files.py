"""Files as every room handles them.

Folders that are made or said why not, whole files or none, hashes, parts of a work, downloads that
go on, and bytes kept by key.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ezaudio.errors import CheckpointError, InputError, NameTaken, OutputError

_HASH_BLOCK_BYTES = 1 << 20
_WAIT_S = 60.0
_CACHE_KIB = 16_384
_MOST_VARIABLES = 500


def make_folder(folder: Path) -> None:
    """Make a folder and its parents.

    Raises:
        OutputError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot make the folder {folder}: {reason}") from None


def read_part(text: str, field: str) -> tuple[int, int]:
    """Read which part of a work is done here: `K/N`, from `0/N` to `N-1/N`.

    Args:
        text: what was given.
        field: the option that it was given with, for the message.

    Raises:
        InputError: It is no such part.
    """
    first, _, second = text.partition("/")
    numbers = first.isascii() and second.isascii() and first.isdigit() and second.isdigit()
    if not numbers or not int(first) < int(second):
        raise InputError(field, text, "K/N with 0 <= K < N, such as 0/2 and 1/2")
    return int(first), int(second)


def download(
    target: Path,
    part: Path,
    *,
    lock: Path,
    bring: Callable[[BinaryIO, int], None],
    whole: Callable[[Path], bool],
    check: Callable[[Path], None],
    size: int | None = None,
) -> None:
    """Bring a file, going on with what an earlier call left, in this process or another.

    Args:
        target: the name that the file gets when all of it is there.
        part: holds what has come so far.
        lock: lets one process bring it at a time.
        bring: writes the rest to an open file, from the byte that it is given on; a sender that
            cannot go on may empty the file first.
        whole: whether a file that has the name by now can be taken.
        check: raises when what came is not what was asked for; it is removed then.
        size: of the whole file in bytes, where it is known.

    Raises:
        OSError: as `bring`, or the disk is full.
    """
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        if target.is_file() and whole(target):
            return
        have = part.stat().st_size if part.is_file() else 0
        if size is not None and have > size:
            have = 0
        with part.open("r+b" if have else "wb") as file:
            file.seek(have)
            bring(file, have)
            file.flush()
            os.fsync(file.fileno())
        try:
            check(part)
        except BaseException:
            part.unlink()
            raise
        part.replace(target)
    lock.unlink(missing_ok=True)


def sha256_file(path: str | Path) -> str:
    """Hash a file.

    Raises:
        CheckpointError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while block := file.read(_HASH_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()


@contextmanager
def atomic_write(path: str | Path, *, replace: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, it takes the place of `path`.

    The file reaches the disk before it gets its name, so that `path` holds either what it held
    before or all of what was written. When the block fails, the temporary file is removed.

    Args:
        path: of the file.
        replace: whether a file that is there gives way.

    Raises:
        NameTaken: there is such a file by now, and it is not to be replaced.
        OutputError: for every error of the file system, a full disk included.
    """
    target = _writable(path)
    temporary = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        temporary.chmod(mode)  # the block may have replaced the file by a private one
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if replace:
            temporary.replace(target)
        else:
            _take_name(temporary, target)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes, *, replace: bool = True) -> None:
    """Write a whole file atomically; arguments and errors as `atomic_write`."""
    with atomic_write(path, replace=replace) as temporary:
        temporary.write_bytes(content)


def _take_name(temporary: Path, target: Path) -> None:
    """Give a finished file its name unless a file has it, in one step that no other run can enter.

    Raises:
        NameTaken: a file has it.
        OSError: the file system refuses.
    """
    try:
        try:
            os.link(temporary, target)
        except FileExistsError:
            raise
        except (OSError, AttributeError):  # no hard links here, such as on FAT
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            temporary.replace(target)
    except FileExistsError:
        raise NameTaken(f"cannot write {target}: a file of this name is there by now") from None


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no links.

    Raises:
        OutputError: it cannot be written.
    """
    if target.exists() and target.samefile(source):
        return
    with atomic_write(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def require_writable(path: str | Path) -> None:
    """Refuse a place where no file can be written, before the work that would end there.

    Raises:
        OutputError: its folder is not there or may not be written, or it is no regular file.
    """
    target = _writable(path)
    if not os.access(target.parent, os.W_OK):
        raise OutputError(f"cannot write {path}: no permission to write into {target.parent}")


def _writable(path: str | Path) -> Path:
    """Follow links to the file that would be written, and refuse what cannot become one."""
    try:
        target = Path(os.path.realpath(path))
        mode = target.stat().st_mode
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise OutputError(f"cannot write {path}: no folder {target.parent}") from None
        return target
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise OutputError(f"cannot write {path!s}: {reason}") from None
    if not stat.S_ISREG(mode):
        what = "is a folder" if stat.S_ISDIR(mode) else "is not a regular file"
        raise OutputError(f"cannot write {path}: it {what}")
    return target


def first_line(error: BaseException) -> str:
    """Say in one line what went wrong."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


class BlobStore:
    """Bytes by key in one SQLite file, which threads and processes share.

    What is written is whole or absent.

    Args:
        path: the file, made when it is not there; None keeps nothing beyond this process.

    Raises:
        OutputError: It cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._path = path
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(
                ":memory:" if path is None else path, timeout=_WAIT_S, check_same_thread=False
            )
            self._base.execute("pragma journal_mode = wal")
            self._base.execute("pragma synchronous = normal")
            self._base.execute(f"pragma cache_size = -{_CACHE_KIB}")
            self._base.execute("create table if not exists blob (key primary key, value blob)")
            self._base.commit()
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"cannot open the cache {path}: {error}") from None

    def get(self, keys: Sequence[str | bytes]) -> dict[str | bytes, bytes]:
        """Give what is there, by key."""
        stored: dict[str | bytes, bytes] = {}
        for begin in range(0, len(keys), _MOST_VARIABLES):
            some = keys[begin : begin + _MOST_VARIABLES]
            marks = ",".join("?" * len(some))
            query = f"select key, value from blob where key in ({marks})"
            with self._lock:
                stored.update(self._base.execute(query, tuple(some)))
        return stored

    def put(self, values: Mapping[Any, bytes]) -> None:
        """Keep bytes by key, a text or bytes; a key that is there gets the new ones.

        Raises:
            OutputError: They cannot be written.
        """
        try:
            with self._lock, self._base:
                self._base.executemany("insert or replace into blob values (?, ?)", values.items())
        except sqlite3.Error as error:
            raise OutputError(f"cannot write the cache {self._path}: {error}") from None

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()
