"""What importing does: nothing that a person would notice."""

from __future__ import annotations

import importlib.util
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import ezaudio

SOURCE = Path(ezaudio.__file__).parent
HEAVY = ("torch", "transformers", "numpy", "scipy", "huggingface_hub", "matplotlib", "pydantic")
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(SOURCE)], "ezaudio.")
    if not module.name.endswith("__main__")
)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    path = f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r})\n"
    return subprocess.run(
        [sys.executable, "-c", path + code], capture_output=True, text=True, check=True
    )


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = run_python("import ezaudio, sys; print(' '.join(sys.modules))").stdout.split()
    assert not set(HEAVY) & set(loaded)


def test_importing_the_package_takes_less_than_three_tenths_of_a_second() -> None:
    code = """
import time
begin = time.process_time()
import ezaudio
print(time.process_time() - begin)
"""
    assert min(float(run_python(code).stdout) for _ in range(3)) < 0.3


def test_every_public_name_can_be_loaded_and_is_listed() -> None:
    for name in ezaudio.__all__:
        assert getattr(ezaudio, name) is not None
    assert set(ezaudio.__all__) <= set(dir(ezaudio))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ezaudio.nothing  # noqa: B018


def test_importing_every_module_prints_nothing_and_leaves_the_random_state_alone() -> None:
    code = f"""
import importlib, random
import torch
before = torch.get_rng_state(), random.getstate(), torch.get_default_dtype()
for name in {MODULES!r}:
    importlib.import_module(name)
assert torch.equal(torch.get_rng_state(), before[0])
assert (random.getstate(), torch.get_default_dtype()) == before[1:]
"""
    done = run_python(code)
    assert (done.stdout, done.stderr) == ("", "")


def test_importing_every_module_does_not_import_transformers() -> None:
    """It takes seconds, so that it waits for the first prompt that needs it."""
    code = f"""
import importlib, json, sys
for name in {MODULES!r}:
    importlib.import_module(name)
print(json.dumps([name for name in ("transformers", "matplotlib") if name in sys.modules]))
"""
    assert json.loads(run_python(code).stdout) == []


@pytest.mark.parametrize("name", ["torchaudio", "torchvision"])
def test_packages_that_break_the_others_are_absent(name: str) -> None:
    assert importlib.util.find_spec(name) is None


def test_the_version_is_the_one_of_the_package() -> None:
    project = (SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{ezaudio.__version__}"\n' in project
