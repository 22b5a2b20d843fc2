"""`NAME ACTION`: one function with an action as its first argument becomes a group of commands.

Each action has a page of help of its own, with the options that it understands.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import typer


@dataclass(frozen=True)
class Action:
    """What the help says of an action.

    Attributes:
        help: what it does.
        options: parameters of the function that it understands.
    """

    help: str
    options: tuple[str, ...]


def group_of(
    function: Callable[..., None], help: str, actions: Mapping[str, Action]
) -> typer.Typer:
    """Make a group with a command for each action.

    Args:
        function: takes the action first, and all options of all actions.
        help: of the group.
        actions: by name.
    """
    group = typer.Typer(
        add_completion=False, rich_markup_mode=None, no_args_is_help=True, help=help
    )
    for name, action in actions.items():
        group.command(name, help=action.help)(_bound(function, name, action))
    return group


def _bound(function: Callable[..., None], name: str, action: Action) -> Callable[..., None]:
    """The function with its action set, and a signature without what the action does not know."""
    signature = inspect.signature(function, eval_str=True)
    _, *rest = signature.parameters.values()
    known = {p.name for p in rest}
    assert set(action.options) <= known, set(action.options) - known
    parameters = [p for p in rest if p.name in action.options]
    defaults = {p.name: p.default for p in rest if p.name not in action.options}

    def command(**given: Any) -> None:
        function(name, **defaults, **given)

    command.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[p.replace(kind=p.KEYWORD_ONLY) for p in parameters]
    )
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command
