"""`ezaudio reconstruct`."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ezaudio.cli.generate import Format
from ezaudio.cli.options import AsJson, Output, options_from, part_of
from ezaudio.cli.progress import note
from ezaudio.cli.streams import DASH, check_stdout, sound_file, write_stdout
from ezaudio.config import load_config
from ezaudio.errors import AudioFileError, InputError
from ezaudio.pipelines.options import ModelOptions

if TYPE_CHECKING:
    from ezaudio.audio_distance import Distances
    from ezaudio.pipelines.outputs import Files

SUFFIXES = {
    ".wav",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".aif",
    ".aiff",
    ".au",
    ".caf",
    ".w64",
}
"""What is taken from a folder."""


@options_from(ModelOptions, without=("dtype",))
def reconstruct(
    sounds: Annotated[
        list[Path],
        typer.Argument(
            help="Sound files, or folders of them; - is the standard input.", show_default=False
        ),
    ],
    *,
    output: Output = None,
    format: Format = None,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Pass sounds through the autoencoder and back, and print the distances.

    Without an output, the sounds are measured and not kept.
    """
    from ezaudio.pipelines.reconstruct import load_autoencoder
    from ezaudio.pipelines.reconstruct import reconstruct as through

    where = load_config(ModelOptions, part_of(settings, ModelOptions))
    inputs = _inputs(sounds)
    to_stdout = str(output) == DASH
    if to_stdout:
        check_stdout(len(inputs))
    files = None if to_stdout else _plan(sounds, inputs, output, format)
    failed: list[AudioFileError] = []
    with files.prepared() if files is not None else nullcontext():
        vae, facts = load_autoencoder(where.model, device=where.device)
        table = None if to_stdout else _Table([str(path) for path, _ in inputs], as_json=as_json)
        for index, (path, _) in enumerate(inputs):
            try:
                with sound_file(path) as source:
                    result = through(vae, source, facts=facts)
            except AudioFileError as error:
                note(f"error: {error}")
                failed.append(error)
                continue
            if table is None:
                write_stdout(result.sound, format)
                continue
            if files is not None:
                result.sound.save(files.paths[index])
            table.add(str(path), result.distances)
        if table is not None:
            table.finish()
    if failed:
        raise typer.Exit(AudioFileError.exit_code)


def _inputs(sounds: list[Path]) -> list[tuple[Path, Path]]:
    """Every file, with the name that its reconstruction gets inside a folder."""
    found: list[tuple[Path, Path]] = []
    for place in sounds:
        if place.is_dir():
            inside = sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise InputError("sounds", str(place), "a folder with sound files")
            found += [(path, path.relative_to(place).with_suffix("")) for path in inside]
        else:
            found.append((place, Path(place.stem)))
    return found


def _plan(
    sounds: list[Path], inputs: list[tuple[Path, Path]], output: Path | None, format: str | None
) -> Files | None:
    from ezaudio.pipelines.outputs import Wanted, plan_files

    if output is None:
        return None
    names, taken = [], set()
    for _, name in inputs:
        chosen, number = name, 1
        while str(chosen).casefold() in taken:
            number += 1
            chosen = name.with_name(f"{name.name}-{number}")
        taken.add(str(chosen).casefold())
        names.append(Wanted("", output=f"{chosen}.{format or 'wav'}"))
    several = len(inputs) > 1 or sounds[0].is_dir()
    files = plan_files(output, names, format=format, folder=several)
    originals = {path.resolve() for path, _ in inputs}
    if clash := [path for path in files.paths if path.resolve() in originals]:
        raise InputError("output", str(clash[0]), "a place other than the original's")
    return files


class _Table:
    """Distances on stdout, a line per sound as soon as it is known, and their mean."""

    def __init__(self, names: list[str], *, as_json: bool) -> None:
        self.width = max(len("sound"), *map(len, names))
        self.as_json = as_json
        self.rows: list[Distances] = []
        if not as_json:
            print(f"{'sound':<{self.width}}  log-mel L1  multi-res. STFT  SI-SDR (dB)")

    def add(self, name: str, distances: Distances) -> None:
        self.rows.append(distances)
        self._print(name, distances)

    def finish(self) -> None:
        if len(self.rows) > 1 and not self.as_json:
            self._print("mean", type(self.rows[0]).mean(self.rows))

    def _print(self, name: str, distances: Distances) -> None:
        if self.as_json:
            print(json.dumps({"file": name, **asdict(distances)}, ensure_ascii=False), flush=True)
            return
        mel, stft, sdr = distances.log_mel_l1, distances.multi_resolution_stft, distances.si_sdr_db
        print(f"{name:<{self.width}}  {mel:10.3f}  {stft:15.3f}  {sdr:11.2f}", flush=True)
