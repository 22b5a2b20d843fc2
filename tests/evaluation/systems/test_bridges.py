"""The scripts that let other projects make sounds, with those projects played by small modules."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ezaudio.evaluation.clips import Item
from ezaudio.evaluation.systems import GenerationPlan, read_system
from ezaudio.evaluation.systems.base import generations_of
from ezaudio.evaluation.systems.command import CommandConfig, list_of
from ezaudio.evaluation.systems.peers import peer_entries

ITEMS = (Item("a b", 'a "dog"', duration_s=2.0), Item("c", "rain", duration_s=3.0))
PROJECTS = {
    "tango": """
import numpy, torch
class Tango:
    def __init__(self, checkpoint):
        assert checkpoint.startswith("declare-lab/")
    def generate(self, prompt, steps, guidance):
        assert (steps, guidance) == (200, 3)
        return (torch.rand(16_000 * 10).numpy() * 0.1 + len(prompt) / 100).astype("float32")
""",
    "tangoflux": """
import torch
class TangoFluxInference:
    def __init__(self, name):
        assert name == "declare-lab/TangoFlux"
    def generate(self, prompt, steps, duration):
        assert steps == 50 and isinstance(duration, int)
        return torch.rand(2, 44_100 * duration) * 0.1 + len(prompt) / 100
""",
    "audiocraft/models": """
import torch
class AudioGen:
    sample_rate = 16_000
    @classmethod
    def get_pretrained(cls, name):
        assert name == "facebook/audiogen-medium"
        return cls()
    def set_generation_params(self, duration):
        self.duration = duration
    def generate(self, prompts):
        return torch.rand(1, 1, int(self.sample_rate * self.duration)) * 0.1 + len(prompts[0]) / 100
""",
}
"""What each project offers, as its own instructions call it."""

EXPECTED = {  # sample rate, channels, seconds of both clips
    "Tango": (16_000, 1, (10, 10)),
    "Tango-AF": (16_000, 1, (10, 10)),
    "Tango-2": (16_000, 1, (10, 10)),
    "TangoFlux": (44_100, 2, (2, 3)),
    "AudioGen": (16_000, 1, (2, 3)),
}


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projects")
    for name, text in PROJECTS.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (folder / "audiocraft" / "__init__.py").write_text("")
    return folder


def entry_of(name: str) -> CommandConfig:
    config = read_system(next(e for e in peer_entries() if e["name"] == name))
    assert isinstance(config, CommandConfig)
    return config


def check(name: str, paths: list[Path]) -> None:
    rate, channels, seconds = EXPECTED[name]
    for path, item, wanted in zip(paths, ITEMS, seconds, strict=True):
        samples, found = soundfile.read(path, always_2d=True)
        assert (found, samples.shape) == (rate, (rate * wanted, channels))
        assert samples.mean() == pytest.approx(len(item.caption) / 100 + 0.05, abs=2e-3)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_bridge_makes_every_sound_of_the_list_from_its_own_seed(
    name, projects, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(projects)
    for module in ("tango", "tangoflux", "audiocraft", "audiocraft.models"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    jobs = generations_of(GenerationPlan(ITEMS), tmp_path / "x", {}, 10.0)
    made = {}
    for order, chosen in (("both", jobs), ("second", jobs[1:])):
        folder = tmp_path / order
        folder.mkdir()
        (tmp_path / "list.jsonl").write_text(list_of(chosen, "jsonl"))
        script, _, _, *more = entry_of(name).build().words[1:]
        words = [script, str(tmp_path / "list.jsonl"), str(folder), *more]
        monkeypatch.setattr(sys, "argv", words)
        runpy.run_path(script, run_name="__main__")
        made[order] = soundfile.read(folder / "c.wav")[0]
    check(name, [tmp_path / "both" / f"{item.name}.wav" for item in ITEMS])
    np.testing.assert_array_equal(made["both"], made["second"])


def test_an_entry_runs_as_it_is_printed_with_python_and_repository_put_in(projects, tmp_path):
    entry = entry_of("AudioGen").model_dump()
    entry["command"] = entry["command"].replace("PYTHON", sys.executable, 1)
    entry["environment"] = {"PYTHONPATH": str(projects)}
    system = CommandConfig(**entry).build()
    system.make(GenerationPlan(ITEMS), tmp_path / "out")
    check("AudioGen", list(system.sounds(GenerationPlan(ITEMS), tmp_path / "out")[0].sources))
