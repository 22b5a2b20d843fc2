"""Clips to be kept out, such as those that a model will be measured on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from ezaudio.data.clips import BadLine, ClipRow, without_ending
from ezaudio.data.collections.youtube import is_youtube_id, place_of
from ezaudio.data.text_files import opened
from ezaudio.errors import InputError

_OF_YOUTUBE = ("AudioCaps", "AudioSet", "Auto-ACD", "VGGSound", "WavCaps")


class Excluded:
    """Clips that are kept out of a list.

    A clip from YouTube is kept out by its video, whatever the start: another part of a recording
    that is measured on is no fresh sound. Other clips are kept out by their name, or by their file.

    Args:
        rows: The clips.
        root: Folder of their files.
        names: Further names, of clips or files.
    """

    def __init__(
        self, rows: Iterable[ClipRow] = (), root: Path | None = None, names: Iterable[str] = ()
    ) -> None:
        self._keys = {key for row in rows for key in _keys_of(row, root)}
        self._keys |= {key for name in names for key in _keys_of_name(name)}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __or__(self, other: Excluded) -> Excluded:
        both = Excluded()
        both._keys = self._keys | other._keys
        return both

    def has(self, row: ClipRow, root: Path | None = None) -> bool:
        """Whether a clip is kept out.

        Args:
            row: The clip.
            root: Folder of its file.
        """
        if not self._keys:
            return False
        keys = {*_keys_of(row, root), f"name {without_ending(row.file)}"}
        # A name that may be an identifier by chance counts where the other side surely is one.
        crossed = {key.replace("maybe ", "video ", 1) for key in keys if key.startswith("maybe ")}
        crossed |= {key.replace("video ", "maybe ", 1) for key in keys if key.startswith("video ")}
        return not self._keys.isdisjoint({k for k in keys if not k.startswith("maybe ")} | crossed)

    def keep(self, rows: Sequence[ClipRow], root: Path | None = None) -> list[ClipRow]:
        """The other clips of a list."""
        return [row for row in rows if not self.has(row, root)]


def _keys_of(row: ClipRow, root: Path | None) -> Iterator[str]:
    """What a clip may be known by in another list."""
    if row.source_repo in _OF_YOUTUBE and is_youtube_id(row.source_path):
        yield f"video {row.source_path}"
    else:
        for name in {row.name, PurePosixPath(row.file).stem, row.source_path} - {""}:
            yield from _key_of_video(name)
    if row.name:
        yield f"name {row.name}"
    if row.file and root is not None:
        file = root / row.file
        yield f"file {file.absolute().as_posix()}"
        if not file.exists():  # the other list may have it elsewhere
            yield f"name {without_ending(row.file)}"


def _keys_of_name(name: str) -> Iterator[str]:
    yield from _key_of_video(PurePosixPath(without_ending(name)).name)
    yield from (f"name {name}", f"name {without_ending(name)}")


def _key_of_video(name: str) -> Iterator[str]:
    """A name that is an identifier of YouTube; `dog_barking` may be one by chance."""
    if (place := place_of(name, unit_s=None)) is not None:
        mixed = place.id != place.id.lower() and place.id != place.id.upper()
        yield f"{'video' if mixed else 'maybe'} {place.id}"


def read_names(path: Path) -> list[str]:
    """Names, a line each, of a plain text file.

    Raises:
        InputError: It cannot be read, or holds none.
    """
    with opened(path, field="exclude") as file:
        names = [line.strip() for line in file if line.strip() and not line.startswith("#")]
    if not names:
        raise InputError("exclude", str(path), "a list with at least one clip")
    return names


def described(skipped: Sequence[BadLine]) -> str:
    """Skipped lines in a few words: how many, and why."""
    counts: dict[str, int] = {}
    for line in skipped:
        counts[line.reason] = counts.get(line.reason, 0) + 1
    return ", ".join(f"{reason} {count}" for reason, count in counts.items())
