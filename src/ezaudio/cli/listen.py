"""`ezaudio listen build|serve|report`."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ezaudio.cli.actions import Action
from ezaudio.cli.options import options_from, part_of
from ezaudio.cli.progress import note
from ezaudio.config import load_config
from ezaudio.errors import InputError
from ezaudio.evaluation.listening.options import StudyOptions

if TYPE_CHECKING:
    from ezaudio.evaluation.clips import ClipSet
    from ezaudio.evaluation.listening.report import Screening

ACTIONS_HELP = {
    "build": Action(
        "Build a test from the sounds of systems.",
        (
            "study",
            "sounds",
            "manifest",
            "split",
            "audiocaps",
            "reference",
            *StudyOptions.model_fields,
        ),
    ),
    "serve": Action("Serve a test to listeners.", ("study", "host", "port")),
    "report": Action(
        "Report what listeners said.", ("study", "output", "failed_checks", "least_answers")
    ),
}
"""What each action is called with."""


@options_from(StudyOptions)
def listen(
    action: str,
    study: Annotated[Path, typer.Argument(help="The study's folder.", show_default=False)],
    *,
    sounds: Annotated[
        list[str] | None,
        typer.Option(help="A system, as NAME=FOLDER of its sounds; repeatable."),
    ] = None,
    manifest: Annotated[
        str | None, typer.Option(help="The captions; see `ezaudio evaluate`.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Rows of this split only.")] = None,
    audiocaps: Annotated[
        Path | None, typer.Option(help="AudioCaps' own test.csv, for its lists.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Folder of recordings, else the manifest's.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address; 0.0.0.0 lets others in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8010,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder, else the study's.")
    ] = None,
    failed_checks: Annotated[
        int, typer.Option(help="Leave listeners out who fail more checks.")
    ] = 1,
    least_answers: Annotated[
        int, typer.Option(help="Leave listeners out who rated fewer sounds.")
    ] = 1,
    **given: Any,
) -> None:
    """Build a listening test, serve it to listeners, or report what they said."""
    from ezaudio.evaluation.clips import read_items, recordings
    from ezaudio.evaluation.listening.report import Screening
    from ezaudio.evaluation.listening.study import build_study

    if action == "serve":
        _serve(study, host, port)
        return
    if action == "report":
        _report(study, output or study, Screening(failed_checks, least_answers))
        return
    if manifest is None or not sounds:
        raise InputError("manifest", manifest, "--manifest, and --sounds NAME=FOLDER for a system")
    places = [folder for _, folder in map(_named, sounds)] + ([reference] if reference else [])
    names = [_takes_of(folder).names for folder in places]
    items = read_items(manifest, split=split, audiocaps=audiocaps, folders=names)
    systems = {name: _with_known_captions(folder, items) for name, folder in map(_named, sounds)}
    chosen = next(iter(systems.values())).names
    own = [item for item in items if item.name in set(chosen)]
    real: ClipSet | None = None
    if reference is not None:
        real = _with_known_captions(reference, own)
    elif all(item.file is not None for item in own):
        real = recordings(own)
    options = load_config(StudyOptions, part_of(given, StudyOptions))
    made = build_study(systems, real, options, study)
    rated = sum(trial.expected is None for trial in made.trials)
    note(f"{rated} sounds of {len(made.systems)} systems, {options.checks} checks")
    print(study)


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals or not name.strip():
        raise InputError("sounds", text, "NAME=FOLDER")
    return name.strip(), Path(folder)


def _takes_of(folder: Path) -> ClipSet:
    """The sounds of a folder, or of its first seed."""
    from ezaudio.evaluation.clips import read_folder

    return read_folder(folder / "seed-0" if (folder / "seed-0").is_dir() else folder)


def _with_known_captions(folder: Path, items: Any) -> ClipSet:
    """The sounds of a folder that the manifest knows."""
    from ezaudio.evaluation.clips import ClipSet, with_captions

    found = _takes_of(folder)
    known = {item.name: item for item in items}
    rows = [index for index, name in enumerate(found.names) if name in known]
    if not rows:
        raise InputError("sounds", str(folder), "sounds named as rows of the manifest")
    kept = ClipSet(
        found.title,
        tuple(found.items[i] for i in rows),
        tuple(found.sources[i] for i in rows),
    )
    return with_captions(kept, [known[item.name] for item in kept.items])


def _serve(study: Path, host: str, port: int) -> None:
    from ezaudio.evaluation.listening.server import open_server

    server = open_server(study, host=host, port=port)
    print(f"http://{host}:{server.server_address[1]}/", flush=True)
    note(f"serving {study} (process {os.getpid()}); Ctrl-C stops it, answers are kept")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.serve_forever()
    finally:
        server.server_close()


def _report(folder: Path, output: Path, screening: Screening) -> None:
    from ezaudio.evaluation.listening.answers import ANSWERS_FILE, Answers
    from ezaudio.evaluation.listening.report import (
        listening_markdown,
        listening_report,
        write_listening_report,
    )
    from ezaudio.evaluation.listening.study import Study

    study = Study.load(folder)
    answers = Answers(folder / ANSWERS_FILE).all()
    found = listening_report(study, answers, screening)
    note(listening_markdown(found))
    for path in write_listening_report(found, study, answers, output):
        print(path)
