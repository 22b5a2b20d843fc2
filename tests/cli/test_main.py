"""The surface: help, choices, exit codes, one line for what went wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ezaudio as package
from ezaudio.cli import main
from ezaudio.cli.main import COMMANDS, run
from ezaudio.diffusion import SAMPLERS, TIME_GRIDS
from ezaudio.errors import Cancelled, EzAudioError, InputError
from ezaudio.pipelines import EditOptions, GenerateOptions, ModelOptions

SOURCE = Path(package.__file__).parents[1]


def in_a_new_process(code):
    code = f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_help_names_every_command_and_imports_nothing_heavy():
    code = """
from ezaudio.cli.main import run
assert run(["--help"]) == 0
heavy = {"torch", "numpy", "transformers", "huggingface_hub", "rich", "pydantic"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    result = in_a_new_process(code)
    assert result.returncode == 0, result.stderr
    for name in COMMANDS:
        assert f"  {name} " in result.stdout


def test_listing_models_needs_no_torch():
    code = """
from ezaudio.cli.main import run
assert run(["models"]) == 0
assert "torch" not in sys.modules
"""
    result = in_a_new_process(code)
    assert result.returncode == 0, result.stderr
    assert "OpenSound" not in result.stdout
    assert "downloadable" in result.stdout or "cached" in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_every_option(ezaudio, name):
    code, out, err = ezaudio(name, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: ezaudio {name} ")
    command = main.app
    group = main.typer.main.get_command(command)
    for parameter in group.commands[name].params:
        assert getattr(parameter, "help", None), parameter.name


@pytest.mark.parametrize("name", ["generate", "edit"])
def test_the_choices_in_the_help_come_from_the_registries(ezaudio, name):
    out = " ".join(ezaudio(name, "--help")[1].split()).replace("log- snr", "log-snr")
    for choice in [*SAMPLERS, *TIME_GRIDS]:
        assert choice in out


@pytest.mark.parametrize(
    ("name", "cls"),
    [("generate", GenerateOptions), ("edit", EditOptions), ("generate", ModelOptions)],
)
def test_every_option_of_the_settings_is_an_option_of_the_command(name, cls):
    group = main.typer.main.get_command(main.app)
    flags = {flag for parameter in group.commands[name].params for flag in parameter.opts}
    for field in cls.model_fields:
        assert f"--{field.removesuffix('_s').replace('_', '-')}" in flags


def test_without_a_command_the_help_is_shown(ezaudio):
    code, out, err = ezaudio()
    assert (code, err) == (0, "")
    assert "generate" in out
    for group in ("data", "listen", "caption", "lora"):
        code, out, err = ezaudio(group)
        assert (code, err) == (0, "")
        assert out.startswith(f"Usage: ezaudio {group} ")


@pytest.mark.parametrize(
    "words",
    [
        (group, action)
        for group, actions in {
            "data": ("check", "pack", "encode", "stats"),
            "listen": ("build", "serve", "report"),
            "lora": ("train", "merge"),
            "caption": ("run", "filter"),
        }.items()
        for action in actions
    ],
)
def test_each_action_has_a_page_of_help_of_its_own(ezaudio, words):  # fmt: skip
    code, out, err = ezaudio(*words, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: ezaudio {' '.join(words)} ")
    assert ("--quarantine" in out) == (words == ("data", "pack"))
    assert ("--port" in out) == (words == ("listen", "serve"))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_imports_no_torch(name):
    code = f"""
from ezaudio.cli.main import run
assert run([{name!r}, "--help"]) == 0
assert not {{"torch", "transformers", "matplotlib"}} & set(sys.modules)
"""
    result = in_a_new_process(code)
    assert result.returncode == 0, result.stderr


def test_help_names_the_defaults_and_those_of_the_starter(ezaudio):
    out = " ".join(ezaudio("generate", "--help")[1].split())
    assert "[default: 50; of the starter: 20]" in out
    assert "[default: 0.75]" in out
    assert "[default: starter]" in out


def test_the_module_is_a_command_too():
    done = subprocess.run([sys.executable, "-m", "ezaudio", "--version"], capture_output=True,
                          text=True, env={**os.environ, "PYTHONPATH": str(SOURCE)})  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"ezaudio {package.__version__}\n")


def test_a_shell_can_complete_commands_and_options():
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "_EZAUDIO_COMPLETE": "complete_bash",
                   "COMP_CWORD": "1"}  # fmt: skip
    for words, index, expected in (("ezaudio rec", 1, "reconstruct"),
                                   ("ezaudio generate --neg", 2, "--negative-prompt")):  # fmt: skip
        environment |= {"COMP_WORDS": words, "COMP_CWORD": str(index)}
        code = "import sys; sys.argv = ['ezaudio']; from ezaudio.cli.main import main; main()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                              env=environment)  # fmt: skip
        assert expected in done.stdout.split(), done.stderr


def test_a_reader_that_leaves_early_is_no_error(ezaudio, monkeypatch):
    def gone(file):
        raise BrokenPipeError

    monkeypatch.setattr("ezaudio.cli.info.facts_of", gone)
    monkeypatch.setattr("ezaudio.cli.main._discard", lambda stream: None)
    assert ezaudio("info", "x") == (0, "", "")


def test_the_version_is_shown(ezaudio):
    assert ezaudio("--version") == (0, f"ezaudio {package.__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["genrate", "x"],
        ["generate", "x", "--stepz", "3"],
        ["generate", "x", "--steps", "three"],
        ["generate", "x", "--steps"],
        ["info"],
        ["edit", "x.wav"],
        ["convert", "x.pt"],
    ],
)
def test_a_mistyped_command_is_one_line_and_exit_code_2(ezaudio, arguments):
    code, out, err = ezaudio(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.fixture
def broken_info(monkeypatch):
    """Let `ezaudio info` raise what a test wants."""

    def install(error):
        def facts_of(file):
            raise error

        monkeypatch.setattr("ezaudio.cli.info.facts_of", facts_of)

    return install


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("duration_s", -1, "more than 0"), 2, "`duration_s`: got -1;"),
        (InputError("p.csv:3: seed", "x", "numbers"), 2, "`p.csv:3: seed`: got 'x';"),
        (EzAudioError("so it is"), 1, "so it is"),
        (Cancelled(), 130, "Cancelled."),
        (MemoryError(), 1, "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), 1, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "out of memory"),
    ],
)
def test_an_error_is_one_line_on_stderr(ezaudio, broken_info, error, code, line):
    broken_info(error)
    got, out, err = ezaudio("info", "x")
    assert (got, out) == (code, "")
    assert err.startswith("error: " + line)
    assert err.count("\n") == 1


def test_a_field_is_named_as_the_command_writes_it_whatever_others_call_it():
    from ezaudio.cli.main import _as_written

    def field(name, *arguments):
        return _as_written(InputError(name, 1, "2"), arguments).split("`")[1]

    assert field("duration_s", "generate", "rain") == "--duration"
    assert field("loras", "generate", "rain") == "--lora"
    assert field("sounds", "lora", "train", "x") == "SOUNDS"
    assert field("sounds", "train", "lora", "x") == "SOUNDS"
    assert field("recipe", "lora", "train", "x") == "--recipe"
    assert field("duration_s", "lora", "train", "x") == "duration_s"
    assert field("x.csv:3", "generate") == "x.csv:3"


def test_ctrl_c_ends_with_130(ezaudio, broken_info):
    broken_info(KeyboardInterrupt())
    assert ezaudio("info", "x")[0] == 130


def test_a_bug_is_a_traceback(broken_info):
    broken_info(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        run(["info", "x"])


def test_a_setting_needs_no_option_where_recipes_and_lists_are_read():
    from ezaudio.cli.main import with_settings

    plain = ["train", "lora", "zaps", "--resume", "run.steps=1", "-o", "a=b.safetensors"]
    assert with_settings(plain) == [
        "train", "lora", "zaps", "--resume", "--set", "run.steps=1", "-o", "a=b.safetensors"
    ]  # fmt: skip
    already = ["data", "pack", "x.csv", "--set", "check.duplicates=false"]
    assert with_settings(already) == already
    assert with_settings(["generate", "a=b"]) == ["generate", "a=b"]
    assert with_settings([]) == []
