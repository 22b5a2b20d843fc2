"""How tests write command lines."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable


def with_set(arguments: Iterable[object]) -> list[object]:
    """Put --set before each KEY=VALUE, as the command line wants it."""
    is_value = re.compile(r"[a-z_]+(\.[\w-]+)*=").match
    return [w for a in arguments for w in (["--set", a] if is_value(str(a)) else [a])]


class Bytes(io.StringIO):
    """A standard stream with bytes beneath."""

    def __init__(self, content=b""):
        super().__init__()
        self.buffer = io.BytesIO(content)
