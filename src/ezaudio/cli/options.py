"""Command-line options from settings classes: their fields, limits, defaults and help texts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from ezaudio.config import Config
from ezaudio.errors import CheckpointError

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
        "-o",
        "--output",
        show_default=False,
        help="A file such as dog.wav, a folder (dogs/), or - for the standard output.",
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
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        show_default=False,
        help="Any other setting, such as run.steps=800; repeatable.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Results as JSON, an object a line.")]
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

    An option that the user does not give arrives as None. The help names the default, and that of
    the default model where a model's own goes before it.

    Args:
        classes: where the fields come from.
        without: fields that are left out.
    """
    preset = _model_defaults(classes)
    made = {
        name: _parameter(name, field, preset.get(name))
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


def _model_defaults(classes: tuple[type[Config], ...]) -> Mapping[str, Any]:
    """What the model that is taken by default sets itself, where a command has a choice of model.

    Nothing for other commands, or where the model is not in this installation.
    """
    from ezaudio.pipelines.catalogue import find_model
    from ezaudio.pipelines.options import ModelOptions

    if ModelOptions not in classes:
        return {}
    try:
        return find_model(ModelOptions().model).card.defaults
    except CheckpointError:
        return {}


def _default_of(field: FieldInfo, preset: Any) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    shown = [] if default in (None, "") or field.is_required() else [_plainly(default)]
    if preset is not None and preset != default:
        shown.append(f"of the starter: {_plainly(preset)}")
    return f"  [default: {'; '.join(shown)}]" if shown else ""


def _types_in(annotation: Any) -> Iterator[Any]:
    """A type, and those that it allows."""
    yield annotation
    if get_origin(annotation) in (Annotated, Union, UnionType):
        for part in get_args(annotation):
            yield from _types_in(part)


def _plainly(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _parameter(name: str, field: FieldInfo, preset: Any) -> inspect.Parameter:
    kind = next((kind for kind in _types_in(field.annotation) if kind in (int, float)), str)
    help_text = f"{field.description}{_default_of(field, preset)}"
    option = typer.Option(flag_of(name), help=help_text, show_default=False)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )
