"""The rules of the house that a machine can check: see CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "ezaudio"
FILES = sorted(SOURCE.rglob("*.py"))
TEST_FILES = sorted((ROOT / "tests").rglob("test_*.py"))

MOST_LINES_OF_FILE = 400
MOST_LINES_OF_CLASS = 140  # the aim is 100
MOST_LINES_OF_FUNCTION = 50
MOST_ARGUMENTS = 8

PRINTING_ROOMS = ("cli",)
DRAWING_FUNCTIONS = {
    "rand", "randn", "randint", "randperm", "normal", "multinomial", "bernoulli", "normal_",
    "uniform_", "bernoulli_", "random_", "exponential_",
}  # fmt: skip
Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def lines_of(node: Function | ast.ClassDef) -> int:
    """Lines from `def` or `class` to the end, without the docstrings inside."""
    assert node.end_lineno is not None
    lines = node.end_lineno - node.lineno + 1
    for inner in ast.walk(node):
        if isinstance(inner, Function | ast.ClassDef) and ast.get_docstring(inner) is not None:
            text = inner.body[0]
            assert text.end_lineno is not None
            lines -= text.end_lineno - text.lineno + 1
    return lines


def functions_of(path: Path) -> Iterator[Function]:
    yield from (node for node in ast.walk(tree_of(path)) if isinstance(node, Function))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_its_classes_and_its_functions_are_short(path: Path) -> None:
    found = []
    if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES_OF_FILE:
        found.append(f"the file has {lines} lines")
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ClassDef) and lines_of(node) > MOST_LINES_OF_CLASS:
            found.append(f"class {node.name} has {lines_of(node)} lines")
        if isinstance(node, Function):
            lines = lines_of(node)
            if name_of(path).startswith("cli/"):  # the arguments of a command are its options
                lines -= node.body[0].lineno - node.lineno
            if lines > MOST_LINES_OF_FUNCTION:
                found.append(f"{node.name} has {lines} lines")
    assert not found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_function_has_few_arguments(path: Path) -> None:
    """A command of the CLI is the exception: its arguments are its options."""
    if name_of(path).startswith("cli/"):
        pytest.skip("the arguments of a command are its options")
    found = {}
    for node in functions_of(path):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = [argument.arg for argument in arguments if argument.arg not in ("self", "cls")]
        if len(names) > MOST_ARGUMENTS:
            found[node.name] = len(names)
    assert not found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_command_line_prints(path: Path) -> None:
    if name_of(path).startswith(PRINTING_ROOMS):
        pytest.skip("it speaks to a person")
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    printed = [
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in ("print", "input", "breakpoint")
    ]
    assert not printed


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_randomness_enters_only_as_a_generator(path: Path) -> None:
    """Weights before training are the exception: they follow the global generator, as in torch."""
    tree = tree_of(path)
    constructors = [
        node for node in ast.walk(tree) if isinstance(node, Function) and node.name == "__init__"
    ]
    weights = {node for function in constructors for node in ast.walk(function)}
    drawn = []
    for node in ast.walk(tree):
        if node in weights or not isinstance(node, ast.Call):
            continue
        owner, _, name = ast.unparse(node.func).rpartition(".")
        of_torch = owner in ("torch", "random", "np.random", "numpy.random")
        in_place = name.endswith("_") and not owner.endswith("init")
        given = {keyword.arg for keyword in node.keywords}
        if name in DRAWING_FUNCTIONS and (of_torch or in_place) and "generator" not in given:
            drawn.append(f"line {node.lineno}: {owner}.{name}")
    assert not drawn


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_module_and_its_public_parts_say_what_they_are(path: Path) -> None:
    tree = tree_of(path)
    missing = [] if ast.get_docstring(tree) or not tree.body else ["module"]
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            missing += [] if ast.get_docstring(node) else [node.name]
    assert not missing


def test_nothing_is_called_utils_wrapper_or_by_a_version() -> None:
    bad = re.compile(r"(^|_)(utils?|helpers?|misc|common|wrapper|v\d+)(_|$)")
    assert not [name_of(path) for path in FILES if bad.search(path.stem)]


def test_no_default_argument_can_be_changed_by_a_call() -> None:
    found = []
    for path in FILES:
        for node in functions_of(path):
            defaults = [*node.args.defaults, *node.args.kw_defaults]
            if any(isinstance(default, ast.List | ast.Dict | ast.Set) for default in defaults):
                found.append(f"{name_of(path)}: {node.name}")
    assert not found


def test_every_test_file_lies_where_its_room_lies() -> None:
    """A tests/ROOM/test_x.py needs a ROOM; the files of tests/ itself are free."""
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir()} | {"benchmarks"}
    folders = {path.relative_to(ROOT / "tests").parts[0] for path in TEST_FILES}
    assert {name for name in folders if not name.endswith(".py")} <= rooms


def test_every_test_is_named_with_words_and_no_name_appears_twice_in_a_file() -> None:
    for path in TEST_FILES:
        names = [
            node.name
            for node in tree_of(path).body
            if isinstance(node, Function) and node.name.startswith("test_")
        ]
        assert len(names) == len(set(names)), path
        assert not [name for name in names if name.count("_") < 2], path


@pytest.mark.parametrize("name", ["LICENSE", "NOTICE", "README.md", "LOG.md", "CONTRIBUTING.md"])
def test_the_papers_of_the_house_are_there(name: str) -> None:
    assert (ROOT / name).stat().st_size > 200
