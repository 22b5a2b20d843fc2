"""What the README and the pages in docs/ say is so: links, files, commands, options, Python."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("benchmarks/*.md")])


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> Iterator[str]:
    text = page.read_text(encoding="utf-8")
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.M | re.S):
        if language in languages:
            yield block


def shell_lines(page: Path) -> Iterator[list[str]]:
    for block in blocks(page, "bash", "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def commands(program: str) -> list[Any]:
    return [
        pytest.param(words[1:], id=f"{name_of(page)}: {' '.join(words)[:60]}")
        for page in PAGES
        for words in shell_lines(page)
        if words[0] == program
    ]


@cache
def cli() -> Any:
    typer_main = importlib.import_module("typer.main")
    return typer_main.get_command(importlib.import_module("ezaudio.cli.main").app)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_path_of_the_project_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|tests|docs|benchmarks|\.ci)/[\w./*-]*)`", text)
    assert not [path for path in named if not list(ROOT.glob(path.rstrip("/")))]


@pytest.mark.parametrize("words", commands("ezaudio"))
def test_every_command_of_the_pages_is_understood(words: list[str]) -> None:
    """The command line takes it apart; nothing is run."""
    name, command, rest = cli().resolve_command(None, words)
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(None, rest)
    command.make_context(name, rest, resilient_parsing=True)
    options = {name for parameter in command.params for name in parameter.opts}
    given = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    assert given <= options


def test_the_readme_shows_every_command() -> None:
    shown = {words[1] for words in shell_lines(ROOT / "README.md") if words[0] == "ezaudio"}
    assert shown == set(cli().commands)


def test_every_option_that_the_readme_lists_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(--?[a-z][a-z-]*)`", text))
    options = {name for parameter in cli().commands["generate"].params for name in parameter.opts}
    assert listed - {"--model"} <= options


@pytest.mark.parametrize("words", commands("make"))
def test_every_target_of_make_exists(words: list[str]) -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
    assert words[0] in targets


@pytest.mark.parametrize("words", commands("python"))
def test_every_python_command_names_a_module_and_files_that_exist(words: list[str]) -> None:
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]) is not None
    else:
        assert (ROOT / words[0]).is_file()
    recipes = [word for word in words if word.startswith("src/")]
    assert not [path for path in recipes if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_python_of_a_page_compiles_and_imports_what_exists(page: Path) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ezaudio"):
                module = importlib.import_module(node.module or "")
                assert all(hasattr(module, alias.name) for alias in node.names)


def test_the_grids_and_samplers_that_exist_are_the_ones_described() -> None:
    from ezaudio.diffusion import SAMPLERS, TIME_GRIDS

    text = (ROOT / "docs/samplers.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w[\w-]*)` \|", text, flags=re.M)) == {*SAMPLERS, *TIME_GRIDS}


def test_nothing_waits_to_be_measured() -> None:
    """A number that is still to be measured stands in a page as a comment."""
    waiting = re.compile(r"<!-- (measured|log): ")
    assert not [name_of(page) for page in PAGES if waiting.search(page.read_text(encoding="utf-8"))]
