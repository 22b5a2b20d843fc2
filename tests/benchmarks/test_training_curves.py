"""Finished runs side by side: what is read from their folders, and what the table says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import training_curves as curves

RECIPE = """
kind: diffusion
output: x
model: {latent_channels: 4, width: 16, depth: 2, heads: 2, text_width: 24}
text: {kind: minilm}
stages:
  align: {data: {latents: nowhere}, optim: {rate: 1.0e-3}, run: {steps: 20}}
"""


def write(folder: Path, losses: dict[int, float]) -> None:
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    lines = [
        {"step": step, "valid_loss": loss, "valid_loss_t050": 0.5, "valid_loss_present": 9.0}
        for step, loss in losses.items()
    ]
    times = [{"step": step, "loss": 1.0, "step_s": 0.1 * step} for step in losses]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in times + lines))


def test_runs_are_told_apart_by_name_and_compared_by_seed(tmp_path, capsys):
    write(tmp_path / "a-s0", {10: 0.9, 20: 0.8})
    write(tmp_path / "a-s1", {10: 0.9, 20: 0.6})
    write(tmp_path / "b-s1", {10: 0.9, 20: 0.5})
    names = [str(tmp_path / name) for name in ("a-s0", "a-s1", "b-s1")]
    report, picture = tmp_path / "report.json", tmp_path / "picture.png"
    assert curves.main([*names, "--report", str(report), "--picture", str(picture)]) == 0
    a, b = json.loads(report.read_text())
    assert (a["name"], a["seeds"], a["loss"], a["loss_range"]) == ("a", 2, 0.7, [0.6, 0.8])
    assert b["above_reference"] == [-0.1] and b["step_s"] == pytest.approx(1.5)
    assert a["parameters"] == b["parameters"] > 0
    assert "| a | " in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_stages_before_the_last_are_counted_in_its_steps(tmp_path):
    write(tmp_path / "a-s0" / "1-mask", {30: 0.3})
    write(tmp_path / "a-s0" / "2-align", {10: 0.9, 20: 0.8})
    run = curves.read_run(tmp_path / "a-s0")
    assert run.steps == (40, 50) and run.losses == (0.9, 0.8) and run.by_level == {50: 0.5}


@pytest.mark.parametrize("name", ["a", "a-s0"])
def test_what_is_no_run_is_one_line(tmp_path, capsys, name):
    (tmp_path / name).mkdir()
    with pytest.raises(SystemExit):
        curves.main([str(tmp_path / name)])
    assert str(tmp_path / name) in capsys.readouterr().err
