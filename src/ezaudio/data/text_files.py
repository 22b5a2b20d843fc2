"""Text files that lists come in: opened whatever their mark, JSON arrays object by object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ezaudio.data.clips import BadLine, shortened
from ezaudio.errors import InputError

_BLOCK_CHARACTERS = 1 << 16
_LONGEST_OBJECT = 1 << 22
_SPACE = " \t\r\n,"
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_UNDECODED = range(0xDC80, 0xDD00)


@contextmanager
def opened(path: Path, *, field: str = "manifest") -> Iterator[TextIO]:
    """Open a text file; bytes that are not UTF-8 are kept, so that their line can be named.

    Args:
        path: The file.
        field: That named it, for the error.

    Raises:
        InputError: It cannot be read.
    """
    try:
        with path.open("rb") as start:
            encoding = _MARKS.get(start.read(2), "utf-8-sig")
        file = path.open(encoding=encoding, errors="surrogateescape", newline="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(field, str(path), f"a readable file ({reason})") from None
    with file:
        try:
            yield file
        except UnicodeError:  # what begins with a mark of UTF-16 and is none
            raise InputError(field, str(path), "text in UTF-8") from None


def undecoded(text: str) -> bool:
    """Whether a text that `opened` gave holds bytes that are not UTF-8."""
    return not text.isascii() and any(ord(letter) in _UNDECODED for letter in text)


def objects_of(
    path: Path, array: str, *, field: str = "manifest"
) -> Iterator[tuple[int, dict[str, Any]] | BadLine]:
    """Read the objects of one array in a JSON file, `{array: [{...}, ...]}` or the array alone.

    The file is read block by block: only one object is in memory. A damaged object ends the
    reading, since nobody can tell where the next one begins; what came before it is given.

    Raises:
        InputError: The file cannot be read, or holds no such array.
    """
    decoder = json.JSONDecoder()
    with opened(path, field=field) as file:
        text = _after_bracket(path, file, array)
        number = 0
        while True:
            text = text.lstrip(_SPACE)
            if text.startswith("]"):
                return
            try:
                value, end = decoder.raw_decode(text)
            except (ValueError, RecursionError):
                block = file.read(_BLOCK_CHARACTERS)
                if not block or len(text) > _LONGEST_OBJECT:
                    yield BadLine(f"{path.name}[{number}]", "not JSON", shortened(text))
                    return
                text += block
                continue
            text = text[end:]
            if isinstance(value, dict):
                yield number, value
            else:
                yield BadLine(f"{path.name}[{number}]", "not an object", shortened(repr(value)))
            number += 1


def _after_bracket(path: Path, file: TextIO, array: str) -> str:
    """Read up to the array's opening bracket."""
    text = file.read(_BLOCK_CHARACTERS).lstrip()
    if text.startswith("["):
        return text[1:]
    name = json.dumps(array)
    while True:
        at = text.find(name)
        rest = text[at + len(name) :].lstrip(" \t\r\n:") if at >= 0 else ""
        if rest.startswith("["):
            return rest[1:]
        block = file.read(_BLOCK_CHARACTERS)
        if not block:
            raise InputError(path.name, text[:60], f"JSON with an array `{array}`")
        text = (text[at:] if at >= 0 else text[-len(name) :]) + block
