"""`ezaudio evaluate`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from ezaudio.cli.options import Quiet, options_from, part_of
from ezaudio.cli.progress import counting_bar, note
from ezaudio.config import load_config
from ezaudio.errors import InputError
from ezaudio.evaluation.options import EvaluationOptions

if TYPE_CHECKING:
    from ezaudio.evaluation.feature_store import Progress
    from ezaudio.evaluation.run import Setup
    from ezaudio.evaluation.systems import AnyConfig

Folder = Annotated[Path, typer.Option("-o", "--output", help="Folder of sounds and reports.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the model, as NAME=VALUE; repeatable."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N, mps or auto.")]
Processes = Annotated[int, typer.Option(help="Make sounds in so many processes.", min=1)]
Copies = Annotated[
    bool, typer.Option("--copies", help="Look for copies of the manifest's `train` recordings.")
]
Unpaired = Annotated[
    bool, typer.Option("--unpaired", help="Sounds and recordings have names of their own.")
]
Partial = Annotated[
    bool,
    typer.Option("--partial", help="Score the clips that are there, and list the others."),
]
Paper = Annotated[
    bool, typer.Option("--paper", help="Put the paper's numbers into a column of their own.")
]


@options_from(EvaluationOptions)
def evaluate(
    sounds: Annotated[
        Path | None, typer.Argument(help="A folder of sounds to score.", show_default=False)
    ] = None,
    *,
    model: Annotated[
        str | None, typer.Option(help="A model that makes the sounds of the manifest.")
    ] = None,
    output: Folder,
    settings: Settings = None,
    device: Device = "auto",
    processes: Processes = 1,
    copies: Copies = False,
    unpaired: Unpaired = False,
    partial: Partial = False,
    paper: Paper = False,
    quiet: Quiet = False,
    **given: Any,
) -> None:
    """Score sounds, or a model, under a protocol; reports as JSON, Markdown and HTML."""
    from ezaudio.evaluation.partial import keep_what_is_there
    from ezaudio.evaluation.prepare import prepare
    from ezaudio.evaluation.report import write_reports
    from ezaudio.evaluation.run import evaluate as score
    from ezaudio.evaluation.run import make_all, require_extractors

    config = _system(sounds, model, settings or [], device)
    options = load_config(EvaluationOptions, part_of(given, EvaluationOptions))
    system = config.build()
    with progress_lines(quiet=quiet) as progress:
        plan, setup = prepare(
            options,
            output,
            sounds=sounds,
            copies=copies,
            unpaired=unpaired,
            partial=partial,
            progress=progress,
        )
        note_cache(setup, quiet=quiet)
        if partial:
            plan, setup = keep_what_is_there([system], plan, setup)
        scored = plan.shard[1] == 1
        if scored and model is not None:
            require_extractors(setup)
        make_all([(config, system)], plan, setup, processes=processes)
        if not scored:
            note(f"share {options.shard} is made; score without --shard", quiet=quiet)
            return
        results = score([system], plan, setup)
    for path in write_reports(results, output, paper=paper):
        print(path)


def _system(sounds: Path | None, model: str | None, settings: list[str], device: str) -> AnyConfig:
    from ezaudio.evaluation.systems.ezaudio_model import EzAudioConfig
    from ezaudio.evaluation.systems.folder import FolderConfig

    if (sounds is None) == (model is None):
        raise InputError("sounds", sounds and str(sounds), "a folder of sounds, or --model")
    if sounds is not None:
        return FolderConfig(name=sounds.name or "sounds", folder=sounds)
    assert model is not None
    name = re.sub(r"[^\w.-]+", "-", Path(model).name) or "model"
    return EzAudioConfig(name=name, model=model, settings=read_settings(settings), device=device)


def note_cache(setup: Setup, *, quiet: bool) -> None:
    """Say that nothing is kept for the next run, where the cache cannot be written."""
    if setup.cache is None:
        note(
            "nothing that is heard is kept for another run: the user's cache cannot be written; "
            "--cache or EZAUDIO_CACHE names another place",
            quiet=quiet,
        )


def read_settings(given: list[str]) -> dict[str, Any]:
    """Read `NAME=VALUE`, the values being YAML.

    Raises:
        InputError: not of that form.
    """
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InputError("settings", text, "NAME=VALUE")
        try:
            found[name.strip().replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError("settings", text, "NAME=VALUE with a plain value") from None
    return found


@contextmanager
def progress_lines(*, quiet: bool) -> Iterator[Progress | None]:
    """Give a callback that moves a bar on stderr; None when it is to be quiet."""
    with counting_bar("starting", quiet=quiet) as move:
        yield move
