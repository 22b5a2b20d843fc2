"""The messages that a user may see.

Every error that a person can cause is an `EzAudioError` whose message is one line; a traceback is
for bugs. The command line prints the message and leaves with `exit_code`; the server turns it into
a 4xx answer.
"""

from __future__ import annotations

_SHOWN_CHARACTERS = 60


class EzAudioError(Exception):
    """An error whose one-line message is meant for the user."""

    exit_code: int = 1

    def __init__(self, message: str) -> None:
        super().__init__(_one_line(message))


class InputError(EzAudioError, ValueError):
    """A value that is not allowed.

    Args:
        field: the name of the option, as the user wrote it.
        got: what came; shown shortened.
        allowed: what would have been accepted, in words.
    """

    exit_code = 2

    def __init__(self, field: str, got: object, allowed: str) -> None:
        self.field = field
        self.got = got
        self.allowed = allowed
        super().__init__(f"`{field}`: got {_shortened(got)}; allowed: {allowed.rstrip('.')}.")

    def __reduce__(self) -> tuple[type[InputError], tuple[str, object, str]]:
        """Pickle through the three arguments, so that the error crosses process borders."""
        return type(self), (self.field, self.got, self.allowed)


class AudioFileError(EzAudioError):
    """A sound file that cannot be read, or holds no sound."""

    exit_code = 2


class CheckpointError(EzAudioError):
    """A model file that is truncated, damaged, or not of the expected kind."""

    exit_code = 2


class DownloadError(EzAudioError):
    """A file that could not be fetched; the message says what to do."""

    exit_code = 2


class OutputError(EzAudioError):
    """A result that could not be written."""

    exit_code = 2


class NameTaken(OutputError):  # noqa: N818 - answered by another name
    """A file of this name came to be while the result was made."""


class Cancelled(EzAudioError):  # noqa: N818 - an event, not a fault
    """The user stopped the work; 130 is what a shell reports after Ctrl-C."""

    exit_code = 130

    def __init__(self, message: str = "Cancelled.") -> None:
        super().__init__(message)


def _one_line(message: str) -> str:
    return " ".join(message.split())


def _shortened(got: object) -> str:
    text = _one_line(repr(got))
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    return f"{text[: _SHOWN_CHARACTERS - 1]}…"
