"""Lists of published collections, folders and shards, as rows of one manifest.

A list names recordings that its publisher does not hand out; whoever has them has them under some
name. `AudioFolder` finds them: by identifier, by identifier and start, with or without the "Y" that
keeps a name from beginning with a hyphen.
"""

from __future__ import annotations

import csv
import json
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ezaudio.data.manifest import SPLITS, ClipRow, Event, read_manifest, row_from
from ezaudio.errors import InputError

AUDIO_ENDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf",
                 ".w64")  # fmt: skip
"""What counts as a recording in a folder or a tar."""

_CLIP_S = 10.0


@dataclass(frozen=True)
class SourceOptions:
    """What a list does not say itself.

    Attributes:
        audio: Folder of the recordings; None where the list lies beside them.
        split: Of all rows; None takes what the list or its name says, or `train`.
        names: Identifier of a label to its name.
    """

    audio: Path | None = None
    split: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)


class AudioFolder:
    """Finds the recording of an identifier.

    Args:
        folder: Searched once, with its subfolders; None finds nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._files: dict[str, str] = {}
        for path in _sounds_below(folder) if folder is not None else ():
            self._files.setdefault(path.stem, path.as_posix())

    def find(self, name: str, start_s: float | None = None) -> str:
        """Path below the folder; `name_start.wav` where there is none, which `check` will miss."""
        whole = 0 if start_s is None else round(start_s)
        if not self._files:
            return f"{name}.wav" if start_s is None else f"{name}_{whole}.wav"
        stems = [name]
        if start_s is not None:
            stems = [f"{name}_{whole}", f"{name}_{whole:06d}", f"{name}_{whole * 1000}"]
            stems += [f"{name}_{whole}_{whole + 10}", f"{name}_{whole}.000", name]
        for stem in (*stems, *(f"Y{stem}" for stem in stems)):
            if stem in self._files:
                return self._files[stem]
        return f"{stems[0]}.wav"


def read_folder(path: Path, options: SourceOptions) -> Iterator[ClipRow]:
    """Every recording below a folder: its subfolder is the label, a `.txt` beside it the captions.

    A first subfolder named `train`, `valid` or `test` is the split. `dog_barking/1.wav` has the
    label "dog barking".
    """
    for relative in _sounds_below(path):
        folders = list(relative.parts[:-1])
        split = folders.pop(0) if folders and folders[0] in SPLITS else "train"
        label = folders[-1].replace("_", " ").replace("-", " ").strip() if folders else ""
        notes = (path / relative).with_suffix(".txt")
        lines = notes.read_text(encoding="utf-8").splitlines() if notes.is_file() else []
        captions = [line.strip() for line in lines if line.strip()] or [label]
        yield ClipRow(
            file=relative.as_posix(),
            split=options.split or split,
            label=label,
            caption=captions[0],
            captions=tuple(captions[1:]),
        )


def read_shards(path: Path, options: SourceOptions) -> Iterator[ClipRow]:
    """WebDataset tars: `key.flac` with `key.json` (the fields of a row) or `key.txt` (captions)."""
    tars = [path] if path.is_file() else sorted(path.glob("*.tar"))
    for tar in tars:
        inside = tar.name if path.is_dir() else path.name
        try:
            yield from _rows_of_tar(tar, inside, options)
        except tarfile.TarError as error:
            raise InputError("manifest", str(tar), f"a readable tar ({error})") from None


def read_audiocaps(path: Path, options: SourceOptions) -> Iterator[ClipRow]:
    """AudioCaps: `audiocap_id,youtube_id,start_time,caption`, several captions per recording."""
    found = AudioFolder(options.audio)
    grouped: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in _records(path, ","):
        grouped[row["youtube_id"], row["start_time"]].append(row["caption"].strip())
    for (name, start), captions in grouped.items():
        yield ClipRow(
            file=found.find(name, float(start)),
            split=options.split or _split_of(path),
            caption=captions[0],
            captions=tuple(captions[1:]),
            start=float(start),
            end=float(start) + _CLIP_S,
            source_repo="AudioCaps",
            source_path=name,
        )


def read_audioset_segments(path: Path, options: SourceOptions) -> Iterator[ClipRow]:
    """AudioSet's weak labels: `YTID, start_seconds, end_seconds, "mid,mid"` under comments."""
    found = AudioFolder(options.audio)
    with path.open(newline="", encoding="utf-8") as file:
        lines = (line for line in file if not line.startswith("#"))
        for line, cells in enumerate(csv.reader(lines, skipinitialspace=True), start=1):
            if len(cells) != 4:
                raise InputError(f"{path.name}:{line}", cells, "YTID, start, end, labels")
            name, start, end, mids = cells
            labels = [_named(options, mid) for mid in mids.split(",")]
            yield _audioset_row(found.find(name, float(start)), labels, path, options).model_copy(
                update={"start": float(start), "end": float(end), "source_path": name}
            )


def read_audioset_weak(path: Path, options: SourceOptions) -> Iterator[ClipRow]:
    """AudioSet's weak labels as TSV: `filename, event_label`, a label a line."""
    found = AudioFolder(options.audio)
    grouped: dict[str, list[str]] = defaultdict(list)
    for record in _records(path, "\t"):
        grouped[record["filename"]].append(_named(options, record["event_label"]))
    for name, labels in grouped.items():
        identifier, milliseconds = _identifier_and_number(name)
        start = milliseconds / 1000
        row = _audioset_row(found.find(identifier, start), labels, path, options)
        yield row.model_copy(update={"start": start, "end": start + _CLIP_S,
                                     "source_path": identifier})  # fmt: skip


def read_audioset_strong(path: Path, options: SourceOptions) -> Iterator[ClipRow]:
    """AudioSet's strong labels: `segment_id, start_time_seconds, end_time_seconds, label`."""
    found = AudioFolder(options.audio)
    grouped: dict[str, list[Event]] = defaultdict(list)
    for record in _records(path, "\t"):
        label = _named(options, record["label"])
        start, end = float(record["start_time_seconds"]), float(record["end_time_seconds"])
        grouped[record["segment_id"]].append(
            Event(label=label, caption=label, start=start, end=end)
        )
    for segment, events in grouped.items():
        name, milliseconds = _identifier_and_number(segment)
        start = milliseconds / 1000
        ordered = tuple(sorted(events, key=lambda event: (event.start, event.end)))
        labels = list(dict.fromkeys(event.label for event in ordered))
        row = _audioset_row(found.find(name, start), labels, path, options)
        yield row.model_copy(
            update={"start": start, "end": start + _CLIP_S, "source_path": name, "events": ordered}
        )


def read_vggsound(path: Path, options: SourceOptions) -> Iterator[ClipRow]:
    """VGGSound: `id_start.mp4,label`, or `id,start,label,split`; no header."""
    found = AudioFolder(options.audio)
    with path.open(newline="", encoding="utf-8") as file:
        for line, cells in enumerate(csv.reader(file), start=1):
            if len(cells) == 2:
                identifier, start = _identifier_and_number(PurePosixPath(cells[0]).stem)
                label, split = cells[1], _split_of(path)
            elif len(cells) == 4:
                identifier, start = cells[0], float(cells[1])
                label, split = cells[2], cells[3]
            else:
                raise InputError(f"{path.name}:{line}", cells, "id_start.mp4,label")
            yield ClipRow(
                file=found.find(identifier, start),
                split=options.split or split,
                label=label,
                caption=label,
                start=start,
                end=start + _CLIP_S,
                source_repo="VGGSound",
                source_path=identifier,
            )


def read_own(path: Path, options: SourceOptions) -> Iterator[ClipRow]:
    """A list with the fields of a row: CSV, JSON Lines or parquet."""
    for row in read_manifest(path):
        yield row if options.split is None else row.model_copy(update={"split": options.split})


SOURCES: dict[str, Callable[[Path, SourceOptions], Iterable[ClipRow]]] = {
    "list": read_own,
    "folder": read_folder,
    "webdataset": read_shards,
    "audiocaps": read_audiocaps,
    "audioset": read_audioset_segments,
    "audioset-weak": read_audioset_weak,
    "audioset-strong": read_audioset_strong,
    "vggsound": read_vggsound,
}
"""What can be read, by name."""


def kind_of(path: Path) -> str:
    """Tell what a list is by its name and first lines.

    Raises:
        InputError: There is nothing of the kind.
    """
    if path.is_dir():
        return "webdataset" if any(path.glob("*.tar")) else "folder"
    if path.suffix == ".tar":
        return "webdataset"
    if path.suffix not in (".csv", ".tsv"):
        return "list"
    try:
        with path.open(encoding="utf-8") as file:
            first = [line.strip() for _, line in zip(range(4), file, strict=False)]
    except (OSError, UnicodeDecodeError):
        return "list"
    text = "\n".join(first)
    columns = set(first[0].replace("\t", ",").split(",")) if first else set()
    if "YTID" in text:
        return "audioset"
    if {"youtube_id", "caption"} <= columns:
        return "audiocaps"
    if {"segment_id", "start_time_seconds"} <= columns:
        return "audioset-strong"
    if {"filename", "event_label"} <= columns:
        return "audioset-weak"
    if first and not {"file", "path"} & columns and len(next(csv.reader(first[:1]))) in (2, 4):
        return "vggsound"
    return "list"


def read_source(
    path: Path, kind: str | None = None, options: SourceOptions | None = None
) -> list[ClipRow]:
    """Read a list of clips, a folder of recordings, or shards.

    Args:
        path: A file or folder.
        kind: One of `SOURCES`; None looks.
        options: What the list does not say.

    Raises:
        InputError: It cannot be read, holds no clip, or a row is malformed.
    """
    if not path.exists():
        raise InputError("manifest", str(path), "a file or folder that exists")
    name = kind or kind_of(path)
    if name not in SOURCES:
        raise InputError("kind", name, ", ".join(SOURCES))
    try:
        rows = list(SOURCES[name](path, options or SourceOptions()))
    except InputError:
        raise
    except KeyError as error:
        raise InputError("manifest", str(path), f"a list of {name} with {error}") from None
    except OSError as error:
        raise InputError("manifest", str(path), f"readable ({error.strerror})") from None
    except (ValueError, csv.Error) as error:
        raise InputError("manifest", str(path), f"a well-formed list of {name} ({error})") from None
    if not rows:
        raise InputError("manifest", str(path), f"a {name} with at least one clip")
    return rows


def read_label_names(path: Path) -> dict[str, str]:
    """Names of AudioSet's identifiers: `index,mid,display_name` as CSV, or `mid<tab>name` as TSV.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            cells = list(csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
        return {row[-2]: row[-1] for row in cells if row[-2].startswith("/")}
    except (OSError, IndexError, UnicodeDecodeError):
        raise InputError("labels", str(path), "a list of identifiers and names") from None


def root_of(path: Path, options: SourceOptions) -> Path:
    """The folder that the files of a list are relative to."""
    if options.audio is not None:
        return options.audio
    return path if path.is_dir() else path.parent


def _named(options: SourceOptions, label: str) -> str:
    return options.names.get(label, label)


def _audioset_row(file: str, labels: list[str], path: Path, options: SourceOptions) -> ClipRow:
    return ClipRow(
        file=file,
        split=options.split or _split_of(path),
        label=labels[0],
        caption=", ".join(labels),
        tags=tuple(labels),
        source_repo="AudioSet",
    )


def _rows_of_tar(tar: Path, inside: str, options: SourceOptions) -> Iterator[ClipRow]:
    """Rows of a tar; members of one key follow each other."""
    key = ""
    members: dict[str, tuple[str, bytes]] = {}
    with tarfile.open(tar) as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            stem, _, ending = name.name.partition(".")
            if not member.isfile() or not ending:
                continue
            this = str(name.with_name(stem))
            if this != key:
                yield from _row_of_members(inside, members, options)
                key, members = this, {}
            audio = f".{ending}" in AUDIO_ENDINGS
            content = b"" if audio else _content(archive, member)
            members[ending] = (member.name, content)
        yield from _row_of_members(inside, members, options)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return b"" if file is None else file.read()


def _row_of_members(
    inside: str, members: Mapping[str, tuple[str, bytes]], options: SourceOptions
) -> Iterator[ClipRow]:
    sound = next((m for ending, m in members.items() if f".{ending}" in AUDIO_ENDINGS), None)
    if sound is None:
        return
    values = json.loads(members["json"][1]) if "json" in members else {}
    lines = members["txt"][1].decode("utf-8").splitlines() if "txt" in members else []
    captions = [line.strip() for line in lines if line.strip()]
    if captions:
        values = {"caption": captions[0], "captions": captions[1:], **values}
    values["file"] = f"{inside}/{sound[0]}"
    if options.split is not None:
        values["split"] = options.split
    yield row_from(values, values["file"])


def _records(path: Path, delimiter: str) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file, delimiter=delimiter)


def _sounds_below(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_ENDINGS)
    return sorted(path.relative_to(folder) for path in files if path.is_file())


def _identifier_and_number(name: str) -> tuple[str, float]:
    """Take "id_000300" apart; the start is in seconds (VGGSound) or milliseconds (AudioSet)."""
    identifier, _, number = name.rpartition("_")
    return identifier, float(number)


def _split_of(path: Path) -> str:
    """What the name of a list says: `val`, `eval`, `test`; otherwise `train`."""
    name = path.stem.lower()
    if "test" in name or "eval" in name:
        return "test"
    return "valid" if "val" in name else "train"
