"""Names of the files to come: decided, and tried, before the work begins.

A name that the user wrote is taken literally and replaces a file that exists. A name that is made
here, from a prompt, is one that no other sound of the run and no existing file has; where another
run was faster and took it, the sound gets the next number.
"""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ezaudio.errors import InputError, NameTaken, OutputError
from ezaudio.files import atomic_write, make_folder
from ezaudio.formats import AUDIO_FORMATS, format_of

if TYPE_CHECKING:
    from ezaudio.pipelines.results import Sound

_STEM_CHARACTERS = 48
_LEAST_BYTES = {".wav": 2.0, ".flac": 0.2}
"""Per sample; what a sound takes at least."""

_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(10))}


@dataclass(frozen=True)
class Wanted:
    """Files that one request needs.

    Attributes:
        prompt: what a name is made from.
        output: name inside the folder, where the user wrote one.
        takes: number of files.
    """

    prompt: str
    output: str | None = None
    takes: int = 1


@dataclass(frozen=True)
class Files:
    """Files to come.

    Attributes:
        paths: one per sound, in order.
        made: whether each name was made here, so that it replaces nothing; False when left out.
    """

    paths: tuple[Path, ...]
    made: tuple[bool, ...] = ()

    def save(self, index: int, sound: Sound, *, spectrogram: bool = False) -> Path:
        """Write a sound under its name, or the next free one where its name was made and is taken.

        Returns:
            The file.

        Raises:
            OutputError: it cannot be written.
        """
        path = self.paths[index]
        if not (self.made and self.made[index]):
            return sound.save(path, spectrogram=spectrogram)
        while True:
            try:
                return sound.save(path, spectrogram=spectrogram, replace=False)
            except NameTaken:
                path = _next_name(path)
                while path in self.paths or (spectrogram and _exists(picture_of(path))):
                    path = _next_name(path)

    def check_space(self, samples: int) -> None:
        """Refuse a disk that cannot hold so many samples in all; a full one fails at writing.

        Raises:
            OutputError: there is less room than even the smallest files of this kind take.
        """
        needed = int(samples * _LEAST_BYTES.get(self.paths[0].suffix.lower(), 0.0))
        free = shutil.disk_usage(self.paths[0].parent).free
        if free < needed:
            raise OutputError(
                f"cannot write {self.paths[0]}: {needed / 1e6:.1f} MB are needed, "
                f"{free / 1e6:.1f} MB are free"
            )

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Make the folders and try every name; leave no empty folder behind after an error.

        Raises:
            OutputError: a file could not be written.
        """
        made: list[Path] = []
        try:
            for folder in dict.fromkeys(path.parent for path in self.paths):
                made += _make_folders(folder)
            for path in self.paths:
                try_to_write(path)
            yield
        except BaseException:
            for folder in reversed(made):
                with suppress(OSError):
                    folder.rmdir()
            raise


def plan_files(
    target: str | Path | None,
    wanted: Sequence[Wanted | str],
    *,
    format: str | None = None,
    pictures: bool = False,
    folder: bool = False,
) -> Files:
    """Decide on a name for every sound.

    Args:
        target: a file with a known ending, or a folder; None is the current folder.
        wanted: the requests, or their prompts.
        format: `wav`, `flac`, ...; None takes the ending of a name, or WAV.
        pictures: keep the name of each sound's picture free too.
        folder: `target` has to be a folder.

    Raises:
        InputError: unknown format; a file where a folder is needed; a name outside the folder; two
            sounds with one name.
    """
    rows = [row if isinstance(row, Wanted) else Wanted(row) for row in wanted]
    ending = f".{format_of('', format)}" if format is not None else None
    names = _Names(pictures)
    if not _is_folder(target, folder):
        file = Path(str(target))
        _check_ending(file, ending)
        return Files(tuple(names.written(file, sum(row.takes for row in rows))))
    place = Path(target) if target is not None else Path()
    paths: list[Path] = []
    made: list[bool] = []
    for row in rows:
        if row.output is not None:
            paths += names.written(_inside(place, row.output, ending), row.takes)
        else:
            paths += names.made(place, stem_of(row.prompt), ending or ".wav", row.takes)
        made += [row.output is None] * row.takes
    return Files(tuple(paths), tuple(made))


def picture_of(path: Path) -> Path:
    """Name of the picture beside a sound."""
    return path.with_suffix(".png")


def stem_of(prompt: str) -> str:
    """Make a file name, without an ending, from a prompt.

    Letters and digits of any script stay; the rest becomes single hyphens.
    """
    plain = unicodedata.normalize("NFKC", prompt).casefold()
    # Marks belong to the letters of many scripts: without them "बारिश" falls into pieces.
    kept = (c if unicodedata.category(c)[0] in "LMN" else "-" for c in plain)
    words = re.sub("-+", "-", "".join(kept)).strip("-")
    if len(words) > _STEM_CHARACTERS:
        words = words[:_STEM_CHARACTERS].rpartition("-")[0] or words[:_STEM_CHARACTERS]
    words = words.strip("-") or "sound"
    return f"sound-{words}" if words in _RESERVED else words


def _next_name(path: Path) -> Path:
    """`rain.wav` to `rain-2.wav`, and that to `rain-3.wav`."""
    stem, dash, number = path.stem.rpartition("-")
    if dash and number.isdecimal():
        return path.with_stem(f"{stem}-{int(number) + 1}")
    return path.with_stem(f"{path.stem}-2")


def try_to_write(path: Path) -> None:
    """See whether a file could be written, and change nothing.

    Raises:
        OutputError: it could not.
    """

    class Tried(Exception):  # noqa: N818 - ends the block without a result
        pass

    with suppress(Tried), atomic_write(path):
        raise Tried


class _Names:
    """Hands out names, none twice."""

    def __init__(self, pictures: bool) -> None:
        self.pictures = pictures
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def written(self, file: Path, takes: int) -> list[Path]:
        """The name that the user wrote, numbered where there are several takes."""
        paths = [file]
        if takes > 1:
            paths = [file.with_stem(f"{file.stem}-{take}") for take in range(1, takes + 1)]
        for path in paths:
            if not self._free(path):
                raise InputError("output", str(path), "a name that no other sound of this run has")
            self._take(path)
        return paths

    def made(self, folder: Path, stem: str, ending: str, takes: int) -> list[Path]:
        """New names after a stem."""
        paths: list[Path] = []
        key = f"{folder}/{stem}{ending}"
        while len(paths) < takes:
            number = self._next.get(key, 1)
            self._next[key] = number + 1
            plain = number == 1 and takes == 1
            path = folder / f"{stem}{'' if plain else f'-{number}'}{ending}"
            if self._free(path) and not any(_exists(p) for p in self._all(path)):
                self._take(path)
                paths.append(path)
        return paths

    def _all(self, path: Path) -> list[Path]:
        return [path, picture_of(path)] if self.pictures else [path]

    def _free(self, path: Path) -> bool:
        return not any(str(p).casefold() in self._taken for p in self._all(path))

    def _take(self, path: Path) -> None:
        self._taken.update(str(p).casefold() for p in self._all(path))


def _is_folder(target: str | Path | None, needed: bool) -> bool:
    if target is None:
        return True
    text = str(target)
    if not text or "\0" in text:
        raise InputError("output", text, "the name of a file or a folder")
    path = Path(text)
    known = path.suffix.lower().lstrip(".") in AUDIO_FORMATS
    if text.endswith(("/", os.sep)) or _is_dir(path):
        return True
    if needed and path.suffix:
        raise InputError("output", text, "a folder, as there may be several sounds; end it with /")
    if path.suffix and not known:
        names = ", ".join(f".{name}" for name in AUDIO_FORMATS)
        raise InputError(
            "output", text, f"a file that ends in {names}, or a folder (end it with /)"
        )
    return not known


def _check_ending(file: Path, ending: str | None) -> None:
    if ending is not None and file.suffix.lower() != ending:
        raise InputError(
            "format", ending[1:], f"{file.suffix[1:].lower()}, as the output's name says"
        )


def _inside(folder: Path, output: str, ending: str | None) -> Path:
    """The place of a name that a row asks for, which must stay inside the folder."""
    allowed = "a name inside the output folder"
    odd = not output.strip() or "\\" in output or any(ord(c) < 32 for c in output)
    if odd or output.endswith("/") or Path(output).name in ("", ".", ".."):
        raise InputError("output", output, allowed)
    path = folder / output
    try:
        outside = not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        outside = True
    if outside or Path(output).is_absolute() or ".." in Path(output).parts:
        raise InputError("output", output, allowed)
    if path.suffix.lower().lstrip(".") in AUDIO_FORMATS:
        return path
    return path.with_name(path.name + (ending or ".wav"))


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it; give those that were not there."""
    missing = [place for place in (folder, *folder.parents) if not _exists(place)]
    make_folder(folder)
    return missing[::-1]


def _exists(path: Path) -> bool:
    try:
        return path.exists() or path.is_symlink()
    except (OSError, ValueError):
        return False


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
