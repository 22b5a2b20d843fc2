"""Sources that read the lists of published collections, through the readers of `ezaudio.data`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from ezaudio.captions.base import Source
from ezaudio.captions.grouped import Grouped
from ezaudio.captions.record import Item
from ezaudio.data.clips import BadLine, ClipRow, join_rows
from ezaudio.data.collections import COLLECTIONS, ListOptions, segments_for
from ezaudio.data.collections.audioset import label_list_beside, read_label_names
from ezaudio.data.collections.youtube import Segments
from ezaudio.errors import InputError


def checked_pattern(pattern: str) -> str:
    """Refuse a pattern of file names that cannot be filled, or is the same for every clip.

    Raises:
        ValueError: it has other placeholders than `{clip}` and `{id}`, or none of them.
    """
    try:
        varies = pattern.format(clip="a_0", id="a") != pattern.format(clip="b_0", id="b")
    except (LookupError, ValueError, AttributeError):
        varies = False
    if pattern and not varies:
        raise ValueError("a file name with the placeholder {clip} or {id}, such as {clip}.flac")
    return pattern


AudioPattern = Annotated[str, AfterValidator(checked_pattern)]
"""File of a clip in the audio folder: `{clip}` is the clip's name, `{id}` what it was cut from."""


class Collection(Source):
    """A published collection.

    Attributes:
        audio_pattern: file of a clip in the audio folder; `{clip}` is `ID_STARTMS`, `{id}` the id.
    """

    audio_pattern: AudioPattern = ""

    def rows(self, path: Path, collection: str, **options: Any) -> Iterator[ClipRow | BadLine]:
        """Read a list of a collection, a line at a time.

        Args:
            path: the list.
            collection: a name of `COLLECTIONS`.
            options: further fields of `ListOptions`.

        Raises:
            InputError: it cannot be read, or has another format.
        """

        def file_of(clip: str, video: str) -> str:
            pattern = self.audio_pattern
            return pattern.format(clip=clip, id=video) if pattern else ""

        try:
            yield from COLLECTIONS[collection](path, ListOptions(file_of=file_of, **options))
        except InputError as error:
            field = "input" if error.field == "manifest" else error.field
            raise InputError(field, error.got, error.allowed) from None

    def items_from(self, rows: Iterable[ClipRow | BadLine]) -> Iterator[Item | BadLine]:
        """The rows as clips to be captioned."""
        for row in rows:
            yield row if isinstance(row, BadLine) else Item.of(row, self.licence)


def together(rows: Iterable[ClipRow | BadLine]) -> Iterator[ClipRow | BadLine]:
    """Bring the rows of each clip together, however far apart they lie; few are in memory."""
    with Grouped() as clips:
        for row in rows:
            if isinstance(row, BadLine):
                yield row
            else:
                clips.add(row.id, row.model_dump(mode="json", exclude_defaults=True))
        for _, values in clips.groups():
            yield join_rows([ClipRow.model_validate(value) for value in values])


def labels_for(path: Path, names: str | None) -> Mapping[str, str]:
    """Names of AudioSet's labels: of the file that is given, or of a published one beside a list.

    Raises:
        InputError: the file cannot be read, or holds no names.
    """
    found = Path(names) if names else label_list_beside(path)
    try:
        return {} if found is None else read_label_names(found)
    except InputError as error:
        raise InputError("names", error.got, error.allowed) from None


def segments_of(path: Path, given: str | None) -> Segments:
    """Where AudioSet cut its videos: of the file or folder that is given, or beside a list."""
    return segments_for(path, Path(given) if given else None)
