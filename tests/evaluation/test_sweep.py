import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from tests.evaluation.conftest import FAKE

from ezaudio.checkpoints import load_module, save_module
from ezaudio.errors import CheckpointError, InputError
from ezaudio.evaluation.clips import Item
from ezaudio.evaluation.results import Results, Score, show
from ezaudio.evaluation.results import Row as ScoredRow
from ezaudio.evaluation.sweep import (
    Cell,
    different,
    grid_cells,
    run_cells,
    size_plots,
    sweep_markdown,
    sweep_plots,
)
from ezaudio.evaluation.systems.base import GenerationPlan
from ezaudio.evaluation.systems.ezaudio_model import EzAudioConfig, EzAudioSystem
from ezaudio.evaluation.training_runs import model_of_run
from ezaudio.pipelines.catalogue import read_card
from ezaudio.pipelines.components import load_components
from ezaudio.reports.plots import DotPlot


def make_one(system: EzAudioSystem, folder: Path) -> None:
    plan = GenerationPlan(items=(Item("one", "a dog barking", duration_s=0.5),))
    system.make(plan, folder)
    assert system.sounds(plan, folder)[0].sources[0].is_file()


SHIFT, SCALE = [0.5, -0.25, 0.0, 1.0], [2.0, 0.5, 1.5, 1.0]


def leave_network(model: Path, run: Path) -> None:
    """What a finished run leaves, with statistics of its own."""
    run.mkdir(parents=True, exist_ok=True)
    network = load_module(model / read_card(model).dit, kind="dit")
    facts = {"step": 300, "latents": {"shift": SHIFT, "scale": SCALE}}
    path = run / "dit.safetensors"
    save_module(path, network.tensors, kind="dit", config=network.config, extra=facts)


def leave_checkpoint(model: Path, run: Path, step: int, **losses: float) -> None:
    """A checkpoint whose average `slow` is smaller than the weights by the share step / 2000."""
    network = load_module(model / read_card(model).dit, kind="dit").tensors
    folder = run / "checkpoints" / f"{step:09}"
    folder.mkdir(parents=True)
    shadow = {f"network.{name}": (1 - step / 2000) * x for name, x in network.items()}
    averages = {"updates": step, "shadows": {"slow": shadow}}
    state = {"network": dict(network), "averages": averages, "choice": losses}
    torch.save(state, folder / "state.pt")
    facts = {"step": step, "measured": {"valid_loss": min(losses.values())}}
    (folder / "facts.json").write_text(json.dumps(facts))


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
        leave_network(model, run)
        entry = {"label": "SOLA, skips", "model": str(tmp_path / named), "base": str(model)}
        (tmp_path / "runs.yaml").write_text(yaml.safe_dump({"runs": [entry]}))
        for _ in range(2):  # a second sweep finds what the first has made
            (cell,) = run_cells(tmp_path / "runs.yaml", {"steps": 1}, tmp_path / "out")
        assert cell.model == str(tmp_path / "out" / "models" / "SOLA-skips")
        own = EzAudioConfig(name="a", model=cell.model, settings=cell.settings).build()
        other = EzAudioConfig(name="b", model=str(model), settings=cell.settings).build()
        (_, mine), (_, theirs) = (each.facts()["files"].values() for each in (own, other))
        assert mine == theirs  # the autoencoder's file
        make_one(own, tmp_path / "sounds")

    def test_a_run_is_decoded_with_its_own_statistics_and_not_with_those_of_its_base(
        self, model, tmp_path
    ):
        run = tmp_path / "run"
        leave_network(model, run)
        leave_checkpoint(model, run, 100, present=0.5)
        base_vae = load_components(model, device="cpu").vae
        for place in (run, run / "checkpoints" / "000000100", run / "dit.safetensors"):
            made = model_of_run(str(place), str(model), tmp_path / "made" / place.name)
            vae = load_components(made, device="cpu").vae
            assert vae.latent_shift[:, 0].tolist() == SHIFT
            assert vae.latent_scale[:, 0].tolist() == SCALE
            latent = torch.randn(1, 4, 6)
            wanted = base_vae.decode(latent * vae.latent_scale + vae.latent_shift)
            torch.testing.assert_close(vae.decode(latent), wanted)

    def test_weights_that_do_not_say_what_they_learned_from_are_refused(self, model, tmp_path):
        (tmp_path / "run").mkdir()
        shutil.copy(model / read_card(model).dit, tmp_path / "run" / "dit.safetensors")
        with pytest.raises(CheckpointError, match="what latents it was trained on"):
            model_of_run(str(tmp_path / "run"), str(model), tmp_path / "made")

    def test_a_run_without_parts_of_its_own_needs_a_base(self, model, tmp_path):
        leave_network(model, tmp_path / "run")
        with pytest.raises(InputError, match="`base`"):
            model_of_run(str(tmp_path / "run"), None, tmp_path / "made")

    def test_the_checkpoints_of_a_run_become_a_curve_of_the_averages_that_measured_best(
        self, model, tmp_path
    ):
        network = load_module(model / read_card(model).dit, kind="dit")
        run = tmp_path / "runs" / "sola"
        leave_checkpoint(model, run, 100, present=0.5, slow=0.9)
        leave_checkpoint(model, run, 200, present=0.5, slow=0.4)
        entry = {"label": "SOLA", "model": f"{run}/checkpoints/*", "base": str(model)}
        (tmp_path / "runs.yaml").write_text(yaml.safe_dump({"runs": [entry]}))
        with pytest.raises(CheckpointError, match="has not ended"):
            run_cells(tmp_path / "runs.yaml", {}, tmp_path / "out")
        leave_network(model, run)
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


def results_of(cells) -> Results:
    rows = [
        ScoredRow(title=cell.name, kind="system", count=4, scores={"fake/fd": Score(value=1.0 + i)})
        for i, cell in enumerate(cells)
    ]
    return Results(protocol=FAKE, hash="0" * 12, weights={}, clip_set="0", rows=tuple(rows))


def cell(name: str, x: float | None, series: str = "run", **more) -> Cell:
    labels = {} if x is None else {"step": int(x)}
    return Cell(name=name, model="starter", series=series, x=x, labels=labels, **more)


class TestPlots:
    def test_a_model_without_a_step_is_a_level_line_among_curves(self):
        cells = [cell("a", 100.0), cell("b", 200.0), cell("base", None, "base")]
        (plot,) = sweep_plots(cells, results_of(cells))
        curve, level = plot.lines
        assert [x for x, _ in curve.points] == [x for x, _ in level.points] == [100.0, 200.0]
        assert len({y for _, y in level.points}) == 1

    def test_finished_runs_alone_are_dots(self):
        cells = [cell("a", 300.0, "a"), cell("b", 300.0, "b")]
        (plot,) = sweep_plots(cells, results_of(cells))
        assert isinstance(plot, DotPlot)

    def test_a_table_keeps_its_arrows_and_puts_the_papers_numbers_beside(self):
        cells = [cell("a", None, published={"fd": 15.46}), cell("b", None)]
        table = sweep_markdown(cells, results_of(cells), "grid")
        head, _, first, second = [line for line in table.splitlines() if line.startswith("|")]
        assert head.endswith("| FD ↓ | bias of FD | paper: FD |")
        assert first.endswith("| 15.46 |") and second.endswith("| – |")
        assert "not measured here" in table


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
