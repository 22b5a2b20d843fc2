"""Prompt files: text that a user can read, copy and change.

A file has a part `[system]` and a part `[user]`; lines of `#` before them are remarks. `{events}`
and the like stand for what is known of a clip; which there are is said in each file. What is
filled in is never read as a placeholder itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ezaudio.errors import InputError

_FIELD = re.compile(r"\{(\w+)\}")
_PART = re.compile(r"^\[(system|user)\]\s*$", re.M)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt file.

    Attributes:
        name: of the packaged file, or the path.
        system: what the model is told about its task; may be empty.
        user: what is asked, with placeholders.
        hash: first 16 hexadecimal digits of the file's SHA-256.
    """

    name: str
    system: str
    user: str
    hash: str

    @staticmethod
    def read(name: str) -> Prompt:
        """Read a packaged prompt by name, or a file.

        Raises:
            InputError: there is no such prompt, or it has no `[user]` part.
        """
        text = text_of(name)
        parts = _PART.split(text)[1:]
        bodies = {key: body.strip() for key, body in zip(parts[::2], parts[1::2], strict=True)}
        if not bodies.get("user"):
            raise InputError("prompt", name, "a file with a part [user]")
        hashed = hashlib.sha256(text.encode()).hexdigest()[:16]
        return Prompt(name, bodies.get("system", ""), bodies["user"], hashed)

    def filled(self, fields: Mapping[str, str]) -> tuple[str, str]:
        """Fill the placeholders: system and user part.

        Raises:
            InputError: a placeholder is not among the fields.
        """

        def fill(placeholder: re.Match[str]) -> str:
            if placeholder[1] not in fields:
                allowed = ", ".join(f"{{{field}}}" for field in fields) or "none"
                raise InputError("prompt", placeholder[0], f"the placeholders {allowed}")
            return fields[placeholder[1]]

        return _FIELD.sub(fill, self.system), _FIELD.sub(fill, self.user)


def packaged() -> list[str]:
    """Names of the prompts that come with the package."""
    folder = files("ezaudio.captions") / "prompts"
    return sorted(f.name.removesuffix(".txt") for f in folder.iterdir() if f.name.endswith(".txt"))


def text_of(name: str) -> str:
    """Give the text of a packaged prompt, or of a file; errors as `Prompt.read`."""
    if name in packaged():
        packed = files("ezaudio.captions") / "prompts" / f"{name}.txt"
        return packed.read_text(encoding="utf-8")
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        allowed = f"a readable text file, or one of {', '.join(packaged())}"
        raise InputError("prompt", name, allowed) from None
