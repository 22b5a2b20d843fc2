"""Command-line options from settings classes: their fields, limits, defaults and help texts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import typer
from pydantic.fields import FieldInfo

from ezaudio.config import Config

Command = TypeVar("Command", bound=Callable[..., None])

FLAGS: dict[str, str] = {
    "batch_size": "--batch-size",
    "spans": "--start",
    "span": "--span",
    "loras": "--lora",
    "prompts_file": "--prompts-file",
}
"""Field of a setting to the flag that sets it, where no parameter of the command has its name."""

Output = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", show_default=False, help="A file such as dog.wav, or a folder (dogs/)."
    ),
]
BatchSize = Annotated[
    int, typer.Option(help="Most sounds that are made at once; bounds the memory.")
]
Spectrogram = Annotated[
    bool, typer.Option("--spectrogram", help="Draw each sound beside its file, as PNG.")
]
Loras = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        show_default=False,
        help="An adapter as PATH or PATH:STRENGTH (1 when left out); repeatable.",
    ),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress on stderr.")]


def format_option() -> Any:
    """The option `--format`, with the formats that can be written."""
    from ezaudio.formats import AUDIO_FORMATS

    help_text = f"{', '.join(AUDIO_FORMATS)}; the output's ending decides when left out, or wav."
    return Annotated[str | None, typer.Option("--format", show_default=False, help=help_text)]


def flag_of(field: str) -> str:
    """Write a field as a flag: hyphens, and no unit at the end."""
    return f"--{field.removesuffix('_s').replace('_', '-')}"


def options_from(
    *classes: type[Config], without: tuple[str, ...] = ()
) -> Callable[[Command], Command]:
    """Give a command an option for every field of settings classes, in place of its `**settings`.

    An option that the user does not give arrives as None.

    Args:
        classes: where the fields come from.
        without: fields that are left out.
    """
    made = {
        name: _parameter(name, field)
        for cls in classes
        for name, field in cls.model_fields.items()
        if name not in without
    }

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        parameters = [*own, *made.values()]
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def part_of(settings: Mapping[str, Any], cls: type[Config]) -> dict[str, Any]:
    """Pick the fields of a settings class that were given."""
    return {k: v for k, v in settings.items() if k in cls.model_fields and v is not None}


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,))]
    kind = next((kind for kind in kinds if kind in (int, float)), str)
    option = typer.Option(flag_of(name), help=field.description, show_default=False)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )
