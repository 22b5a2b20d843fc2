"""`ezaudio compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from ezaudio.cli.evaluate import Copies, Paper, Partial, Processes, note_cache, progress_lines
from ezaudio.cli.options import Quiet, options_from, part_of
from ezaudio.cli.progress import note
from ezaudio.config import load_config
from ezaudio.errors import InputError
from ezaudio.evaluation.options import EvaluationOptions

if TYPE_CHECKING:
    from ezaudio.evaluation.results import Results


@options_from(EvaluationOptions)
def compare(
    systems: Annotated[
        list[Path] | None,
        typer.Argument(
            help="A YAML file of systems; or several scores.json, to put into one table.",
            show_default=False,
        ),
    ] = None,
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of sounds and reports.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Name of a system; the others wait. Repeatable.")
    ] = None,
    processes: Processes = 1,
    copies: Copies = False,
    partial: Partial = False,
    paper: Paper = False,
    show_peers: Annotated[
        bool, typer.Option("--show-peers", help="Print entries for other projects' systems.")
    ] = False,
    quiet: Quiet = False,
    **given: Any,
) -> None:
    """Score several systems under one protocol, side by side, pair by pair."""
    from ezaudio.evaluation.compare import differences
    from ezaudio.evaluation.report import write_reports
    from ezaudio.evaluation.results import Results, joined
    from ezaudio.evaluation.systems.peers import known_entries, peer_entries
    from ezaudio.files import make_folder

    if show_peers:
        entries = {"systems": [*known_entries(), *peer_entries()]}
        print(yaml.safe_dump(entries, sort_keys=False, width=100).rstrip())
        return
    if not systems or output is None:
        raise InputError("systems", None, "a YAML file of systems, and --output FOLDER")
    if all(path.suffix == ".json" for path in systems):
        results = joined([Results.load(path) for path in systems])
        make_folder(output)
    elif len(systems) > 1:
        raise InputError("systems", [str(path) for path in systems], "one YAML file")
    else:
        found = _measured(systems[0], output, only or [], processes, copies, partial, quiet, given)
        if found is None:
            return
        results = found
    for path in [*write_reports(results, output, paper=paper), *differences(results, output)]:
        print(path)


def _measured(
    file: Path,
    output: Path,
    only: list[str],
    processes: int,
    copies: bool,
    partial: bool,
    quiet: bool,
    given: dict[str, Any],
) -> Results | None:
    from ezaudio.evaluation.clips import check_names
    from ezaudio.evaluation.compare import read_systems
    from ezaudio.evaluation.partial import keep_what_is_there
    from ezaudio.evaluation.prepare import prepare
    from ezaudio.evaluation.run import evaluate as score
    from ezaudio.evaluation.run import make_all, require_extractors

    configs = read_systems(file)
    unknown = sorted(set(only) - {config.name for config in configs})
    if unknown:
        raise InputError("only", unknown[0], f"one of {', '.join(c.name for c in configs)}")
    options = load_config(EvaluationOptions, part_of(given, EvaluationOptions))
    built = [config.build() for config in configs]
    with progress_lines(quiet=quiet) as progress:
        plan, setup = prepare(options, output, copies=copies, partial=partial, progress=progress)
        note_cache(setup, quiet=quiet)
        if partial:
            plan, setup = keep_what_is_there(built, plan, setup)
        check_names(plan.items)
        scored = not only and plan.shard[1] == 1
        if scored:
            require_extractors(setup)
        pairs = zip(configs, built, strict=True)
        wanted = [pair for pair in pairs if not only or pair[1].name in only]
        make_all(wanted, plan, setup, processes=processes)
        if not scored:
            note("made; run again without --only and --shard to score", quiet=quiet)
            return None
        return score(built, plan, setup)
