import shutil
from pathlib import Path

import pytest
import torch
import yaml

from ezaudio.checkpoints import load_module
from ezaudio.errors import CheckpointError, InputError
from ezaudio.evaluation.clips import Item
from ezaudio.evaluation.results import Score, show
from ezaudio.evaluation.sweep import different, grid_cells, run_cells, size_plots
from ezaudio.evaluation.systems.base import GenerationPlan
from ezaudio.evaluation.systems.ezaudio_model import EzAudioConfig, EzAudioSystem
from ezaudio.pipelines.catalogue import read_card


def make_one(system: EzAudioSystem, folder: Path) -> None:
    plan = GenerationPlan(items=(Item("one", "a dog barking", duration_s=0.5),))
    system.make(plan, folder)
    assert system.sounds(plan, folder)[0].sources[0].is_file()


class TestGrid:
    def test_every_combination_is_a_cell_and_the_first_axis_runs_along_the_curves(self):
        cells = grid_cells(
            "starter",
            {"steps": 10},
            {"guidance_scale": [2, 3, 5], "guidance_rescale": [0, 0.75], "sampler": []},
        )
        assert len({cell.name for cell in cells}) == 6
        assert {cell.series for cell in cells} == {"guidance_rescale 0", "guidance_rescale 0.75"}
        assert sorted({cell.x for cell in cells}) == [2, 3, 5]
        assert cells[-1].settings == {"steps": 10, "guidance_scale": 5, "guidance_rescale": 0.75}

    def test_without_guidance_nothing_is_rescaled_and_one_cell_is_made_for_all_curves(self):
        axes = {"guidance_scale": [1, 3], "guidance_rescale": [0, 0.75]}
        cells = grid_cells("starter", {}, axes)
        alone = [cell for cell in cells if cell.x == 1]
        assert [cell.series for cell in alone] == ["guidance_rescale 0", "guidance_rescale 0.75"]
        assert len({cell.name for cell in alone}) == 1
        assert alone[0].made_with == alone[1].made_with
        assert alone[0].labels["guidance_rescale"] == "any"
        assert len(different(cells)) == 3

    def test_names_may_run_along_a_table_that_has_no_curve(self):
        assert {cell.x for cell in grid_cells("m", {}, {"sampler": ["ddim", "heun"]})} == {None}

    def test_a_grid_needs_an_axis(self):
        with pytest.raises(InputError, match="at least one setting"):
            grid_cells("starter", {}, {"steps": []})


class TestRuns:
    def test_a_pattern_finds_the_steps_of_a_run(self, model, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for step in (15, 40):
            target = tmp_path / "runs" / "sola" / f"step-{step}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(model)
        (tmp_path / "runs.yaml").write_text(
            "runs:\n"
            "  - {label: SOLA, model: 'runs/sola/step-*', columns: {long_skips: yes}}\n"
            f"  - {{label: base, model: '{model}'}}\n"
        )
        cells = run_cells(Path("runs.yaml"), {"steps": 2}, tmp_path / "out")
        assert [(cell.name, cell.x) for cell in cells] == [
            ("SOLA-@-15", 15),
            ("SOLA-@-40", 40),
            ("base", None),
        ]
        assert cells[0].labels["long_skips"] is True
        assert cells[0].labels["parameters (M)"] > 0

    @pytest.mark.parametrize("named", ["runs/sola", "runs/sola/dit.safetensors"])
    def test_a_training_run_becomes_a_model_with_the_other_parts_of_its_base(
        self, model, tmp_path, named
    ):
        run = tmp_path / "runs" / "sola"
        run.mkdir(parents=True)
        shutil.copy(model / read_card(model).dit, run / "dit.safetensors")
        entry = {"label": "SOLA, skips", "model": str(tmp_path / named), "base": str(model)}
        (tmp_path / "runs.yaml").write_text(yaml.safe_dump({"runs": [entry]}))
        for _ in range(2):  # a second sweep finds what the first has made
            (cell,) = run_cells(tmp_path / "runs.yaml", {"steps": 1}, tmp_path / "out")
        assert cell.model == str(tmp_path / "out" / "models" / "SOLA-skips")
        own = EzAudioConfig(name="a", model=cell.model, settings=cell.settings).build()
        other = EzAudioConfig(name="b", model=str(model), settings=cell.settings).build()
        assert [*own.facts()["files"].values()] == [*other.facts()["files"].values()]
        make_one(own, tmp_path / "sounds")

    def test_the_checkpoints_of_a_run_become_a_curve_of_the_averages_that_measured_best(
        self, model, tmp_path
    ):
        network = load_module(model / read_card(model).dit, kind="dit")
        run = tmp_path / "runs" / "sola"
        for step, best in ((100, "present"), (200, "slow")):
            folder = run / "checkpoints" / f"{step:09}"
            folder.mkdir(parents=True)
            shadow = {
                f"network.{name}": (1 - step / 2000) * x for name, x in network.tensors.items()
            }
            state = {
                "network": dict(network.tensors),
                "averages": {"updates": step, "shadows": {"slow": shadow}},
                "choice": {"present": 0.5, "slow": 0.9 if best == "present" else 0.4},
            }
            torch.save(state, folder / "state.pt")
        entry = {"label": "SOLA", "model": f"{run}/checkpoints/*", "base": str(model)}
        (tmp_path / "runs.yaml").write_text(yaml.safe_dump({"runs": [entry]}))
        with pytest.raises(CheckpointError, match="has not ended"):
            run_cells(tmp_path / "runs.yaml", {}, tmp_path / "out")
        shutil.copy(model / read_card(model).dit, run / "dit.safetensors")
        log = '{"step": 1, "memory_gib": 0.5}\nhalf a li\n{"step": 2, "memory_gib": 0.75}\n'
        (run / "log.jsonl").write_text(log)
        cells = run_cells(tmp_path / "runs.yaml", {"steps": 1}, tmp_path / "out")
        assert [cell.x for cell in cells] == [100, 200]
        first, second = (load_module(Path(c.model) / "dit.safetensors", kind="dit") for c in cells)
        for name, value in network.tensors.items():
            torch.testing.assert_close(first.tensors[name], value)
            torch.testing.assert_close(second.tensors[name], 0.9 * value)
        assert [cell.labels["memory (GiB)"] for cell in cells] == [0.75, 0.75]
        assert [plot.title for plot in size_plots(cells)] == ["parameters (M)", "memory (GiB)"]
        system = EzAudioConfig(name="a", model=cells[1].model, settings={"steps": 1}).build()
        make_one(system, tmp_path / "sounds")

    @pytest.mark.parametrize(
        ("entry", "field"),
        [
            ("{label: a}", r"runs\[0\].model"),
            ("{label: a, model: b, x: 1}", r"runs\[0\].x"),
            ("", r"runs\[0\].entry"),
        ],
    )
    def test_an_entry_that_is_wrong_is_named(self, tmp_path, entry, field):
        (tmp_path / "runs.yaml").write_text(f"runs: [{entry or 3}]\n")
        with pytest.raises(InputError, match=field):
            run_cells(tmp_path / "runs.yaml", {}, tmp_path / "out")

    def test_a_pattern_that_finds_nothing_is_refused(self, tmp_path):
        (tmp_path / "runs.yaml").write_text("runs: [{label: x, model: 'nowhere/*'}]\n")
        with pytest.raises(InputError, match="nowhere"):
            run_cells(tmp_path / "runs.yaml", {}, tmp_path / "out")

    def test_a_file_without_runs_is_refused(self, tmp_path):
        (tmp_path / "runs.yaml").write_text("models: []\n")
        with pytest.raises(InputError, match="list `runs`"):
            run_cells(tmp_path / "runs.yaml", {}, tmp_path / "out")


@pytest.mark.parametrize(
    ("score", "metric", "expected"),
    [
        (None, "fd", "–"),
        (Score(reason="none"), "fd", "–"),
        (Score(value=12.345, low=11.0, high=13.5), "fd", "12.35 [11.00, 13.50]"),
        (Score(value=0.25, low=0.2, high=0.3), "order", "25.0 % [20.0 %, 30.0 %]"),
        (Score(value=123.456), "fd", "123.5"),
        (Score(value=0.01234), "clap", "0.012"),
    ],
)
def test_a_score_is_shown_with_its_interval_and_never_as_a_made_up_number(score, metric, expected):
    assert show(score, metric) == expected
