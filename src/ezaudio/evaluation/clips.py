"""Which clips are scored: folders of sounds, manifests, and lists of captions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ezaudio.data.clips import BadLine, ClipRow, split_of, without_ending
from ezaudio.data.collections import read_excluded
from ezaudio.data.collections.folder import sounds_below
from ezaudio.data.manifest import rows_of, table_of
from ezaudio.errors import InputError
from ezaudio.evaluation.features import listed
from ezaudio.evaluation.sources import Source

LISTS = Path(__file__).with_name("lists")


@dataclass(frozen=True)
class Item:
    """One clip that is asked for, or was recorded.

    Attributes:
        name: what its files are called, without ending.
        caption: what is heard; empty where it is not known.
        events: two kinds of sound in the order in which the caption has them, else empty.
        duration_s: length; None where it is not given.
        label: kind of sound, for pairing recordings with others of their kind.
        split: of the manifest that the row belongs to.
        file: the recording, where there is one.
        place: path of the recording as its list has it, without ending; the last parts of it may be
            what a folder of sounds calls the clip.
    """

    name: str
    caption: str = ""
    events: tuple[str, ...] = ()
    duration_s: float | None = None
    label: str = ""
    split: str = ""
    file: Path | None = None
    place: str = ""

    @classmethod
    def of(cls, row: ClipRow, folder: Path) -> Item:
        """Make an item of a row of a list in a folder.

        The order of two sounds can be measured: of other numbers of events nothing is asked.
        """
        kinds = tuple(dict.fromkeys(event.label for event in row.events))
        place = "" if row.name else without_ending(row.file)
        return cls(
            name=row.name or PurePosixPath(place).name,
            caption=row.caption,
            events=kinds if len(kinds) == 2 else (),
            duration_s=row.duration or None,
            label=row.label,
            split=row.split,
            file=folder / row.file if row.file else None,
            place=place,
        )


@dataclass(frozen=True)
class ClipSet:
    """Sounds with their items, in one order.

    Attributes:
        title: for tables.
        items: what the sounds are.
        sources: the sounds: files, clips in memory, or changes of them.
    """

    title: str
    items: tuple[Item, ...]
    sources: tuple[Source, ...]

    def __post_init__(self) -> None:
        """Raise InputError when a name occurs twice."""
        check_names(self.items)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the clips."""
        return tuple(item.name for item in self.items)


def check_names(items: Sequence[Item]) -> None:
    """Refuse names that occur twice.

    Raises:
        InputError: a name occurs twice.
    """
    names = [item.name for item in items]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError("names", listed(twice), "each clip once, whatever its file's ending")


def read_folder(folder: Path, title: str | None = None) -> ClipSet:
    """Every sound below a folder; a clip's name is its path without the ending.

    Hidden files are passed over.

    Raises:
        InputError: no such folder, no sound in it, or two sounds with one name.
    """
    if not folder.is_dir():
        raise InputError("folder", str(folder), "a folder of sounds")
    inside, others = sounds_below(folder)
    if not inside:
        more = f"; {others[0].where} has {others[0].reason}: {others[0].text}" if others else ""
        raise InputError("folder", str(folder), f"at least one sound that can be read{more}")
    files = [folder / file for file in inside]
    items = [Item(without_ending(name), file=folder / name) for name in inside]
    return ClipSet(title or folder.name, tuple(items), tuple(files))


def named_like(items: Sequence[Item], folders: Iterable[Sequence[str]] = ()) -> list[Item]:
    """Name items by the last parts of their paths, so that they meet the names in folders.

    A list names `ref/dog/0.wav`; the folder `ref` calls that clip `dog/0`, the folder `ref/dog`
    calls it `0`. As many parts are taken as name most clips of the folders, and else as few as tell
    the items apart. Items that have a name of their own keep it.

    Args:
        items: of a list.
        folders: names of the clips of each folder.
    """
    known = [set(names) for names in folders]
    most = max((item.place.count("/") + 1 for item in items if item.place), default=0)
    found = list(items)
    best = (-1, False)
    for depth in range(1, most + 1):
        named = [replace(i, name=_last(i.place, depth)) if i.place else i for i in items]
        names = [item.name for item in named]
        score = (sum(name in own for own in known for name in names), len(set(names)) == len(names))
        if score > best:
            found, best = named, score
    return found


def _last(place: str, parts: int) -> str:
    return "/".join(place.split("/")[-parts:])


def with_captions(clips: ClipSet, items: Sequence[Item]) -> ClipSet:
    """Give the clips of a folder what a manifest says about them.

    Raises:
        InputError: a clip of one is missing from the other; the message names it.
    """
    known = {item.name: item for item in items}
    missing = sorted(set(known).symmetric_difference(clips.names))
    if missing:
        raise InputError("names", listed(missing), "clips that are in the folder and the manifest")
    told = tuple(replace(known[own.name], file=own.file) for own in clips.items)
    return replace(clips, items=told)


def recordings(items: Sequence[Item], title: str = "recordings") -> ClipSet:
    """The recordings of a manifest.

    Raises:
        InputError: an item has no recording, or the file is not there.
    """
    lacking = [i.name for i in items if i.file is None or not i.file.is_file()]
    if lacking:
        raise InputError("file", listed(lacking), "a recording that exists, for each row")
    return ClipSet(title, tuple(items), tuple(i.file for i in items if i.file is not None))


def read_items(
    source: str | Path,
    *,
    split: str | None = None,
    audiocaps: Path | None = None,
    exclude: Sequence[Path] = (),
    folders: Iterable[Sequence[str]] = (),
) -> list[Item]:
    """Read a manifest, or one of the lists that have a name.

    A manifest is any list that `ezaudio.data.manifest` reads, with a row per clip. `file` (relative
    to the manifest) or `name` says which clip; further columns that are read: `caption`, `label`,
    `split`, `duration`, `events` (two labels separated by `;`). A line that gives no clip is an
    error here: a score over fewer clips than were asked for would be another score.

    Args:
        source: path, or one of `NAMED_LISTS`.
        split: rows of this split only.
        audiocaps: AudioCaps' own `test.csv`, for the lists that name its captions.
        exclude: lists of clips that are kept out.
        folders: names of the clips in folders that the items are to meet (`named_like`).

    Raises:
        InputError: the file cannot be read, a row lacks a name, or nothing is left.
    """
    if str(source) in AUDIOCAPS_LISTS:
        return read_audiocaps(str(source), audiocaps)
    path = LISTS / f"{source}.csv" if str(source) in NAMED_LISTS else Path(source)
    wanted = None if split is None else split_of(split)
    if split is not None and wanted is None:
        raise InputError("split", split, "train, valid or test")
    out = read_excluded(exclude)
    items: list[Item] = []
    for row in rows_of(path, needs=("file", "name")):
        if isinstance(row, BadLine):
            raise row.as_error()
        if wanted in (None, row.split) and not out.has(row, path.parent):
            items.append(Item.of(row, path.parent))
    if not items:
        of_split = "" if split is None else f" of the split {split!r}"
        raise InputError("manifest", str(source), f"a file with at least one row{of_split}")
    items = named_like(items, folders)
    check_names(items)
    return items


AUDIOCAPS_LISTS = ("audiocaps-886", "audiocaps-964")
NAMED_LISTS = ("starter-order", *AUDIOCAPS_LISTS)
"""Lists of captions that have a name."""


def read_audiocaps(name: str, test_csv: Path | None) -> list[Item]:
    """AudioCaps test clips with one fixed caption each; clips are called `YOUTUBEID_START`.

    The lists hold caption numbers; the captions are read from AudioCaps' own file. The two public
    lists agree on all 886 clips of the shorter one. The paper scores 882 clips; which four it lacks
    is not published.

    Raises:
        InputError: `test_csv` is not given or lacks a caption of the list.
    """
    if test_csv is None:
        where = "its `test.csv` (github.com/cdjkim/audiocaps, MIT)"
        raise InputError("audiocaps", None, f"the path of {where}, for the list {name}")
    known = _records(test_csv)
    listed_ids = [
        number
        for number, row in _records(LISTS / "audiocaps.csv").items()
        if name == "audiocaps-964" or row["in_886"] == "1"
    ]
    lacking = [number for number in listed_ids if number not in known]
    if lacking:
        raise InputError("audiocaps", str(test_csv), f"captions such as {listed(lacking)}")
    rows = [known[number] for number in listed_ids]
    return [
        Item(f"{row['youtube_id']}_{row['start_time']}", row["caption"], duration_s=10.0)
        for row in rows
    ]


def _records(path: Path) -> dict[str, dict[str, str]]:
    """Rows of a list of AudioCaps by the numbers of their captions."""
    found = table_of(path, ("audiocap_id",), field="audiocaps")
    return {row[1]["audiocap_id"]: row[1] for row in found if not isinstance(row, BadLine)}


def captions_of(items: Iterable[Item]) -> tuple[str, ...]:
    """Captions in order."""
    return tuple(item.caption for item in items)
