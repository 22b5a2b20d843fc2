"""`ezaudio`: finds the command, and says in one line what went wrong.

A command's module is imported when the command is used, so that `ezaudio --help` stays fast; what
computes is imported by the functions, so that the help of a command needs no torch. To add a
command: write `cli/NAME.py` with a function NAME, and add a line to `COMMANDS`. A command of
several actions is called as NAME ACTION: a `typer.Typer` of that name, or a function whose first
argument is the action, with `ACTIONS_HELP` beside it (see `actions`).
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from types import MappingProxyType
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from ezaudio import __version__
from ezaudio.cli.actions import group_of
from ezaudio.errors import EzAudioError, InputError

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "generate": "Make sounds from prompts.",
        "edit": "Make a span of a sound anew, or go on past its end.",
        "reconstruct": "Pass sounds through the autoencoder and measure how far they come back.",
        "models": "List what is bundled, cached or can be fetched, with licence and size.",
        "convert": "Turn the authors' checkpoints into safetensors with the configuration inside.",
        "data": "Prepare recordings for training: check, pack, encode, stats.",
        "lora": "Fit an adapter to your own sounds (also: train lora), or merge adapters.",
        "caption": "Caption recordings that nobody has labelled; filter and clean captions.",
        "train": "Train a model from a recipe: all stages, resumable, on one process or many.",
        "bundle": "Put a finished run together as a model folder that can be shipped.",
        "evaluate": "Score sounds, or a model, under a named protocol.",
        "compare": "Score several systems under one protocol, side by side.",
        "sweep": "Score a model over settings, or finished training runs; the paper's figures.",
        "paper": "Reproduce a figure or a table of the paper, at full size or in minutes.",
        "listen": "Build, serve and report a listening test.",
        "info": "Show what made a sound file, or what is in a checkpoint.",
    }
)
"""Every command, with its help."""

PHRASES: Mapping[str, tuple[str, str]] = MappingProxyType({"train lora": ("lora", "train")})
"""Two words that stand for a command in a group."""

_INTERRUPTED = 130


class Commands(dict[str, Any]):
    """The commands by name; each is imported when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        command = super().__getitem__(name)
        if command is None:
            module = import_module(f"ezaudio.cli.{name}")
            part = getattr(module, name)
            actions = getattr(module, "ACTIONS_HELP", None)
            if actions is not None:
                part = group_of(part, COMMANDS[name], actions)
            elif not isinstance(part, typer.Typer):
                single = typer.Typer(add_completion=False, rich_markup_mode=None)
                single.command(name, help=COMMANDS[name])(part)
                part = single
            command = self[name] = typer.main.get_command(part)
        return command

    def get(self, name: str, default: Any = None) -> Any:
        """Import a command that exists."""
        if name not in self:
            return default
        return self[name]

    def values(self) -> Any:
        """Import all commands."""
        return [self[name] for name in self]

    def items(self) -> Any:
        """Import all commands."""
        return [(name, self[name]) for name in self]


class LazyGroup(TyperGroup):
    """A group whose help does not import its commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = Commands(dict.fromkeys(COMMANDS))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command of the arguments; two words may stand for one in a group."""
        words = " ".join(args[:2])
        if words in PHRASES:
            group, name = PHRASES[words]
            found: Any = self.commands[group]
            return words, found.commands[name], args[2:]
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """Names, in the order of `COMMANDS`."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


_WITH_SETTINGS = ("train", "lora", "data")
_FLAGS = ("-q", "--quiet", "--resume", "--dry-run", "--json")
_SETTING = re.compile(r"[a-z_]+(\.[a-z_0-9]+)*=")

app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ezaudio {__version__}")
        raise typer.Exit


@app.callback()
def ezaudio(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version)
    ] = False,
) -> None:
    """Sound effects from sentences. `ezaudio COMMAND --help` explains a command."""


def main() -> None:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A name of a file that the terminal's encoding lacks (Windows) is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def with_settings(arguments: Sequence[str]) -> list[str]:
    """Put --set before words such as `run.steps=800`, which mean the same beside a recipe.

    A word after an option that takes a value is left alone.
    """
    words: list[str] = []
    for word in arguments:
        before = words[-1] if words else ""
        is_value = before.startswith("-") and before not in _FLAGS and "=" not in before
        if arguments[0] in _WITH_SETTINGS and _SETTING.match(word) and not is_value:
            words.append("--set")
        words.append(word)
    return words


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Returns:
        0; 2 for bad input or a place that cannot be written; 130 after Ctrl-C; 1 for the rest.
    """
    try:
        code = typer.main.get_command(app).main(
            with_settings(arguments), prog_name="ezaudio", standalone_mode=False
        )
        if code == _INTERRUPTED:  # newer versions of typer turn Ctrl-C into this
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except EzAudioError as error:
        return _fail(_as_written(error, arguments), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        print("stopped.", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # who read the results has left, as `head` does
        _discard(sys.stdout)
        return 0
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(getattr(error, "ctx").get_help())  # noqa: B009 - not in typer's public names
            return 0
        for line, code in _known(error):
            return _fail(line, code)
        raise


def _known(error: Exception) -> Iterator[tuple[str, int]]:
    """Say what a foreign error means, if it is not a bug."""
    explain = getattr(error, "format_message", None)  # typer's own complaints about the arguments
    if explain is not None:
        yield explain(), int(getattr(error, "exit_code", 2))
    memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if memory or "can't allocate memory" in str(error):
        yield "out of memory; try `--batch-size 1` or a shorter duration.", 1


def _as_written(error: EzAudioError, arguments: Sequence[str]) -> str:
    """Name the option or argument as it is written on the command line."""
    if not isinstance(error, InputError):
        return str(error)
    from ezaudio.cli.options import FLAGS

    command = _called(arguments)
    names = {p.name: _written(p) for p in getattr(command, "params", ())}
    field = names.get(error.field) or FLAGS.get(error.field) or error.field
    return str(InputError(field, error.got, error.allowed))


def _called(arguments: Sequence[str]) -> Any:
    """The command that the arguments name, inside of its group if it has one."""
    command: Any = typer.main.get_command(app)
    words = list(arguments)
    phrase = PHRASES.get(" ".join(words[:2]))
    for word in [*phrase] if phrase else words[:2]:
        command = getattr(command, "commands", {}).get(word) or command
    return command


def _written(parameter: Any) -> str:
    """`--flag` for an option, upper case for an argument."""
    flags = [flag for flag in parameter.opts if flag.startswith("--")]
    return max(flags, key=len) if flags else str(parameter.name).upper()


def _discard(stream: TextIO) -> None:
    """Let what is still to be flushed go nowhere, so that the end of the process is silent."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _fail(message: str, code: int) -> int:
    with suppress(OSError):
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
