"""Adversarial training of an autoencoder, in small: who learns when, what stays, what is kept."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tests.training import autoencoder_processes
from tests.training.autoencoder_processes import OOBLECK, SAMPLES, SETTINGS
from tests.training.toys import on_two

import ezaudio
from ezaudio.checkpoints import load_module
from ezaudio.config import load_config
from ezaudio.data.checks import LENIENT
from ezaudio.data.clips import ClipRow
from ezaudio.data.pack import PackConfig, pack_clips
from ezaudio.errors import CheckpointError, InputError
from ezaudio.training.loop.distributed import Engine, EngineConfig
from ezaudio.training.loop.task import Audible
from ezaudio.training.loop.trainer import train
from ezaudio.training.recipe import read_recipe
from ezaudio.training.tasks.autoencoder import (
    AutoencoderConfig,
    AutoencoderRecipe,
    AutoencoderTask,
)
from ezaudio.training.tasks.discriminator_step import held
from ezaudio.training.tasks.reconstruction import forward_cost, row_noise
from ezaudio.vae import VAE_FAMILIES, VAE_PRESETS

RECIPES = Path(ezaudio.__file__).parent / "recipes"
TINY = (  # what makes a run small and leaves the rest of a recipe as it is
    "crops.rows=2",
    "crops.crop_s=0.1",
    "valid_batches=1",
    "start=null",
)

SPECTRAL = {
    "kind": "spectral", "cepstra": 3, "differences": 1, "mel_bands": 8, "width": 8, "depth": 1
}  # fmt: skip


class OneProcess(Engine):
    """The engine of a plain run, with a note of every bound that was put on gradients."""

    def __init__(self):
        super().__init__(EngineConfig(device="cpu"))
        self.norms = []

    def clip(self, parameters, norm):
        self.norms.append(norm)
        return super().clip(parameters, norm)


class Tones:
    """Two decaying tones a step, which follow from its number."""

    def batch(self, index):
        time = torch.arange(SAMPLES) / 24_000
        hz = torch.tensor([300.0, 900.0]) * (1 + index % 4)
        wave = 0.5 * torch.sin(2 * torch.pi * hz[:, None] * time) * torch.exp(-30 * time)
        return wave[:, None]

    def ids(self, index):
        return f"low-{index % 4}", f"high-{index % 4}"


def task_of(seed=0, validation=(), **changes):
    torch.manual_seed(seed)
    config = load_config(AutoencoderConfig, SETTINGS | changes)
    return AutoencoderTask(config, Tones(), engine=OneProcess(), seed=7, validation=validation)


def state_of(module):
    return copy.deepcopy(module.state_dict())


def same(before, module):
    after = module.state_dict()
    return all(torch.equal(before[name], after[name]) for name in before)


def test_the_adversary_comes_after_the_warm_up_and_then_every_other_step_is_its():
    task = task_of(adversary_from=3)
    turns = [task.turn(index) for index in range(7)]
    assert [turn.generator for turn in turns] == [True, True, True, True, False, True, False]
    assert [turn.discriminator for turn in turns] == [False] * 4 + [True, False, True]


def test_both_may_learn_in_every_step():
    task = task_of(adversary_from=1, turns="both")
    assert [tuple(task.turn(index)) for index in range(3)] == [(True, False)] + [(True, True)] * 2


def test_before_the_adversary_only_the_autoencoder_learns():
    task = task_of(adversary_from=5)
    vae, judge = state_of(task.vae), state_of(task.discriminator.network)
    measured = task.step(0, 1.0)
    assert same(judge, task.discriminator.network) and not same(vae, task.vae)
    assert "feature" not in measured and "discriminator" not in measured


def test_each_player_learns_in_its_own_turn_alone():
    task = task_of()
    judge = state_of(task.discriminator.network)
    measured = task.step(0, 1.0)
    assert same(judge, task.discriminator.network) and {"adversarial", "feature"} <= measured.keys()
    assert all(parameter.grad is None for parameter in task.discriminator.network.parameters())
    vae, average = state_of(task.vae), state_of(task.average.model)
    measured = task.step(1, 1.0)
    assert same(vae, task.vae) and same(average, task.average.model)
    assert not same(judge, task.discriminator.network) and "divergence" not in measured
    assert float(measured["loss"]) == float(measured["discriminator"])


def mean_of(log, name):
    return float(np.mean([float(line[name]) for line in log]))


def test_a_short_run_comes_closer_to_the_sounds_and_the_discriminator_tells_them_apart():
    task = task_of(model=SPECTRAL | {"width": 16, "corrections": 0}, turns="both")
    log = [task.step(index, 1.0) for index in range(40)]
    assert all(math.isfinite(float(value)) for line in log for value in line.values())
    first, last = log[:4], log[-4:]
    assert mean_of(last, "log_magnitude") < 0.9 * mean_of(first, "log_magnitude")
    assert mean_of(last, "convergence") < 0.97 * mean_of(first, "convergence")
    assert mean_of(first, "discriminator") == pytest.approx(4.0, abs=0.2)  # knows nothing
    assert mean_of(last, "discriminator") < 2.5
    assert mean_of(last, "logit_real") - mean_of(last, "logit_output") > 1.0


def test_both_ends_of_a_learned_autoencoder_come_closer_in_the_warm_up():
    optim = SETTINGS["generator_optim"] | {"rate": 1e-2}
    task = task_of(generator_optim=optim, adversary_from=99)
    log = [task.step(index, 1.0) for index in range(12)]
    assert mean_of(log[-2:], "log_magnitude") < 0.7 * float(log[0]["log_magnitude"])


@pytest.mark.parametrize("model", [OOBLECK, SPECTRAL])
def test_a_frozen_encoder_stays_what_it_was_to_the_bit(model):
    task = task_of(model=model, frozen_encoder=True, turns="both")
    wave = Tones().batch(0)
    before, posterior = state_of(task.vae), task.vae.encode(wave)
    sound = task.vae.decode(posterior.mean)
    for index in range(3):
        task.step(index, 1.0)
    after = task.vae.encode(wave)
    assert torch.equal(after.mean, posterior.mean) and torch.equal(after.std, posterior.std)
    assert all(torch.equal(v, task.vae.state_dict()[k]) for k, v in before.items() if "enc" in k)
    assert not torch.allclose(task.vae.decode(posterior.mean), sound)
    averaged = task.average.model.encode(wave)
    assert torch.equal(averaged.mean, posterior.mean)


def test_an_encoder_that_is_not_frozen_learns():
    task = task_of()
    before = state_of(task.vae)
    task.step(0, 1.0)
    after = task.vae.state_dict()
    assert any(not torch.equal(v, after[k]) for k, v in before.items() if k.startswith("encoder"))


@pytest.mark.parametrize("discriminator", [SETTINGS["discriminator"], None])
def test_a_run_that_continues_from_its_parts_repeats_the_losses_to_the_bit(discriminator):
    settings = {"turns": "both", "adversary_from": 2, "divergence_warmup_steps": 10}
    settings["discriminator"] = discriminator
    whole = task_of(**settings)
    losses = [float(whole.step(index, 0.5)["loss"]) for index in range(6)]
    first = task_of(**settings)
    for index in range(3):
        first.step(index, 0.5)
    kept = {name: copy.deepcopy(part.state_dict()) for name, part in first.parts().items()}
    second = task_of(seed=1, **settings)
    for name, part in second.parts().items():
        part.load_state_dict(kept[name])
    assert [float(second.step(index, 0.5)["loss"]) for index in range(3, 6)] == losses[3:]
    torch.testing.assert_close(
        second.average.model.state_dict(), whole.average.model.state_dict(), rtol=0, atol=0
    )


def test_without_a_discriminator_the_autoencoder_learns_in_every_step_and_nothing_else_is_kept():
    task = task_of(discriminator=None, discriminator_optim=None)
    assert [tuple(task.turn(index)) for index in range(3)] == [(True, False)] * 3
    before = state_of(task.vae)
    measured = task.step(0, 1.0)
    assert not same(before, task.vae)
    assert not {"adversarial", "feature", "discriminator", "logit_real"} & measured.keys()
    assert set(task.parts()) == {"autoencoder", "average", "autoencoder_optimizer"}
    plan = task.plan()
    weights = sum(p.numel() for p in task.vae.parameters())
    assert (plan.parameters, plan.state_bytes) == (weights, 4 * 5 * weights)


def test_a_discriminator_without_an_optimiser_is_refused():
    with pytest.raises(InputError, match="discriminator_optim"):
        load_config(AutoencoderConfig, SETTINGS | {"discriminator_optim": None})


def test_a_checkpoint_keeps_both_players_and_both_optimisers():
    task = task_of(turns="both")
    task.step(0, 1.0)
    parts = task.parts()
    assert set(parts) == {
        "autoencoder",
        "average",
        "discriminator",
        "autoencoder_optimizer",
        "discriminator_optimizer",
    }
    for name, module in (("autoencoder", task.vae), ("discriminator", task.discriminator.network)):
        trained = [p for p in module.parameters() if p.requires_grad]
        assert len(parts[f"{name}_optimizer"].state_dict()["state"]) == len(trained)


def test_two_processes_make_the_losses_of_one(tmp_path):
    """Floating-point differences of 1e-7 grow tenfold a step; an error in sharing would be 1e-2."""
    alone = autoencoder_processes.losses(OneProcess())
    output = tmp_path / "losses.json"
    assert on_two(autoencoder_processes.write_losses, output) == [0, 0]
    assert json.loads(output.read_text()) == pytest.approx(alone, rel=1e-3)


def test_the_noise_of_a_row_does_not_depend_on_how_a_batch_is_split():
    whole = row_noise((3, 5), range(4), seed=1, index=9)
    halves = [row_noise((3, 5), rows, seed=1, index=9) for rows in (range(2), range(2, 4))]
    assert torch.equal(whole, torch.cat(halves))
    others = [row_noise((3, 5), range(4), seed=seed, index=i) for seed, i in ((1, 10), (2, 9))]
    assert not any(torch.equal(whole, other) for other in others)
    assert abs(float(row_noise((64, 64), range(1), seed=0, index=0).std()) - 1) < 0.05


def test_the_global_random_state_does_not_count():
    losses = []
    for draws in (0, 5):
        task = task_of()
        torch.rand(draws)
        losses.append(float(task.step(0, 1.0)["loss"]))
    assert losses[0] == losses[1]


def test_the_rate_scales_both_learning_rates_and_each_has_its_own_bound_of_gradients():
    optims = {"rate": 1e-3, "clip_norm": 2.0}, {"rate": 2e-3, "clip_norm": 3.0}
    task = task_of(generator_optim=optims[0], discriminator_optim=optims[1], turns="both")
    task.step(0, 0.25)
    assert {group["lr"] for group in task.optimizer.param_groups} == {0.25e-3}
    assert {group["lr"] for group in task.discriminator.optimizer.param_groups} == {0.5e-3}
    assert task.engine.norms == [3.0, 2.0]


def test_a_rate_of_nothing_changes_no_weight():
    task = task_of(turns="both")
    vae, judge = state_of(task.vae), state_of(task.discriminator.network)
    task.step(0, 0.0)
    assert same(vae, task.vae) and same(judge, task.discriminator.network)


def test_the_weight_of_the_divergence_rises_from_nothing():
    losses = {"weights": {"divergence": 10.0}, **SETTINGS["losses"]}
    found = []
    for steps in (0, 10):
        task = task_of(losses=losses, divergence_warmup_steps=steps, adversary_from=99)
        measured = task.step(0, 0.0)
        found.append((float(measured["loss"]), float(measured["divergence"])))
    (full, price), (tenth, _) = found
    assert full - tenth == pytest.approx(9.0 * price, rel=1e-3)


def test_the_weights_of_the_losses_add_up_to_the_loss():
    weights = {"reconstruction": 2.0, "mel": 3.0, "adversarial": 0.5, "feature": 4.0}
    losses = SETTINGS["losses"] | {"weights": weights | {"divergence": 0.01}}
    losses["mel"] = {"n_ffts": (256,), "bands": (8,)}
    m = {k: float(v) for k, v in task_of(losses=losses).step(0, 1.0).items()}
    expected = 2 * (m["convergence"] + m["log_magnitude"]) + 3 * m["mel"]
    expected += 0.5 * m["adversarial"] + 4 * m["feature"] + 0.01 * m["divergence"]
    assert m["loss"] == pytest.approx(expected, rel=1e-4)


def test_validation_measures_the_average_and_leaves_everything_as_it_was():
    wave = torch.cat([Tones().batch(0), torch.zeros(1, 1, SAMPLES)])  # one row is silent
    task = task_of(validation=[wave])
    task.step(0, 1.0)
    before = state_of(task.vae)
    found = task.validate()
    assert found == task.validate() and same(before, task.vae)
    names = {"loss", "convergence", "log_mel_l1", "multi_resolution_stft", "si_sdr_db"}
    assert {f"valid_{name}" for name in names} <= found.keys() and all(
        math.isfinite(value) for value in found.values()
    )
    assert task_of().validate() == {}


def test_the_validation_can_be_heard_before_and_after_the_autoencoder():
    task = task_of(validation=[Tones().batch(0)])
    assert isinstance(task, Audible)
    heard = task.listen()
    names = ["recording-0", "decoded-0", "recording-1", "decoded-1"]
    assert [sound.name for sound in heard] == names
    assert all(sound.samples.shape == (SAMPLES,) for sound in heard)
    np.testing.assert_array_equal(heard[2].samples, Tones().batch(0)[1, 0].numpy())
    assert task_of().listen() == []


def test_the_plan_counts_weights_states_and_operations():
    task = task_of(turns="both")
    plan = task.plan()
    vae, judge = (
        sum(p.numel() for p in n.parameters()) for n in (task.vae, task.discriminator.network)
    )
    assert plan.parameters == plan.trainable == vae + judge
    task.step(0, 1.0)
    moments = [
        value.numel()
        for optimizer in (task.optimizer, task.discriminator.optimizer)
        for state in optimizer.state_dict()["state"].values()
        for name, value in state.items()
        if name != "step"
    ]
    # weights, gradients, moments, average
    assert plan.state_bytes == 4 * (2 * (vae + judge) + sum(moments) + vae)
    assert task_of(frozen_encoder=True).plan().trainable < plan.trainable
    assert task_of(turns="alternate").plan().step_flops < plan.step_flops


def test_the_cost_of_a_convolution_is_known():
    module = torch.nn.Conv1d(3, 5, 7, padding=3)
    flops, kept = forward_cost(module, (2, 3, 100))
    assert flops == 2 * 2 * 100 * 3 * 5 * 7
    assert kept == 4 * 2 * 3 * 100  # its input
    assert next(module.parameters()).device.type == "cpu"


@pytest.mark.parametrize("player", ["autoencoder", "discriminator"])
def test_a_gradient_that_is_not_finite_changes_no_weight(player):
    task = task_of(turns="both")
    task.step(0, 1.0)
    module = task.parts()[player]
    before = state_of(module), state_of(task.average.model)
    last = [p for p in module.parameters() if p.requires_grad][-1]
    hook = last.register_hook(lambda gradient: gradient * math.nan)
    measured = task.step(1, 1.0)
    hook.remove()
    prefix = "" if player == "autoencoder" else "discriminator_"
    assert math.isnan(float(measured[f"{prefix}gradient_norm"]))
    assert same(before[0], module)
    assert same(before[1], task.average.model) == (player == "autoencoder")
    task.step(2, 1.0)
    assert not same(before[0], module)


def test_what_is_exported_is_the_average_and_builds_itself(tmp_path):
    task = task_of()
    for index in range(2):
        task.step(index, 1.0)
    (path,) = task.export(tmp_path, step=2)
    loaded = load_module(path, kind="vae")
    assert loaded.extra["step"] == 2 and loaded.extra["recipe"]["losses"]["adversary"] == "hinge"
    vae = load_config(VAE_FAMILIES[loaded.config["kind"]], loaded.config).build()
    vae.load_state_dict(loaded.tensors)
    assert same(state_of(task.average.model), vae) and not same(state_of(task.vae), vae)


def test_a_step_names_its_clips():
    assert task_of().describe(5) == "low-1, high-1"


def test_a_module_that_is_held_lets_gradients_through_and_keeps_none():
    module, x = torch.nn.Linear(2, 2), torch.ones(1, 2, requires_grad=True)
    module.bias.requires_grad_(False)
    with held(module):
        module(x).sum().backward()
    assert x.grad is not None and module.weight.grad is None
    assert module.weight.requires_grad and not module.bias.requires_grad


@pytest.mark.parametrize("changes", [{"turns": "never"}, {"losses": {"adversary": "chess"}}])
def test_unknown_games_and_turns_are_refused(changes):
    with pytest.raises(InputError):
        load_config(AutoencoderConfig, SETTINGS | changes)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Three tones to train on and two to measure on, 0.4 s each."""
    folder = tmp_path_factory.mktemp("sounds")
    rows = []
    for i in range(5):
        time = np.arange(9600) / 24_000
        wave = 0.4 * np.sin(2 * np.pi * 220 * (i + 1) * time)
        soundfile.write(folder / f"{i}.wav", wave.astype(np.float32), 24_000)
        split = "valid" if i >= 3 else "train"
        facts = {"split": split, "label": "tone", "caption": "A tone.", "duration": 0.4}
        rows.append(ClipRow(file=f"{i}.wav", **facts))
    pack_clips(rows, folder, folder / "packed", PackConfig(audio="wav", check=LENIENT))
    return folder / "packed"


def recipe_of(name, packed, folder, *overrides):
    places = (f"waveforms={packed}", f"output={folder}")
    return load_config(AutoencoderRecipe, RECIPES / name, [*TINY, *places, *overrides])


SMALL_MODELS = {
    "paper-vae.yaml": ["model.base_width=2", "model.latent_channels=4", "discriminator.width=2"],
    "starter-vae.yaml": [
        "model.width=8",
        "model.depth=1",
        "discriminator.widths=[2, 2, 2, 2, 2]",
        "adversary_from=0",
    ],
}


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_a_recipe_runs_on_packed_sounds(name, packed, tmp_path):
    task = recipe_of(name, packed, tmp_path, *SMALL_MODELS[name]).build(OneProcess())
    log = [task.step(index, 1.0) for index in range(2)]
    assert all(math.isfinite(float(value)) for line in log for value in line.values())
    assert {"adversarial", "discriminator"} <= {name for line in log for name in line}
    assert math.isfinite(task.validate()["valid_log_mel_l1"])
    assert {Path(clip).stem for clip in task.describe(0).split(", ")} <= {"0", "1", "2"}
    (path,) = task.export(tmp_path, step=2)
    recipe = load_module(path).extra["recipe"]
    assert not {"waveforms", "output", "start", "run"} & recipe.keys()


def test_the_recipe_of_the_paper_has_the_authors_settings():
    recipe = load_config(AutoencoderRecipe, RECIPES / "paper-vae.yaml")
    assert recipe.model == VAE_PRESETS["official"]
    assert recipe.discriminator.n_ffts == (1280, 640, 320, 160, 80)
    assert recipe.discriminator.width == 64
    loss, weights = recipe.losses.reconstruction, recipe.losses.weights
    assert loss.n_ffts == (1280, 640, 320, 160, 80, 40, 20) and loss.a_weighting
    assert (weights.reconstruction, weights.adversarial, weights.feature) == (1.0, 0.1, 5.0)
    assert (weights.divergence, recipe.losses.adversary) == (1e-4, "hinge")
    optims = recipe.generator_optim, recipe.discriminator_optim
    assert [optim.rate for optim in optims] == [1.5e-4, 3e-4]
    assert all(o.betas == (0.8, 0.99) and o.weight_decay == 1e-3 for o in optims)
    assert (recipe.crops.crop_s, recipe.run.steps) == (0.5, 1_000_000)


def test_the_starter_has_a_fixed_encoder_and_no_divergence_to_weigh():
    recipe = load_config(AutoencoderRecipe, RECIPES / "starter-vae.yaml")
    assert recipe.frozen_encoder and recipe.losses.weights.divergence == 0


def test_a_run_begins_from_an_autoencoder_and_refuses_other_files(packed, tmp_path):
    small = SMALL_MODELS["starter-vae.yaml"]
    first = recipe_of("starter-vae.yaml", packed, tmp_path, *small).build(OneProcess())
    (path,) = first.export(tmp_path, step=0)
    again = [*small, f"start={path}", "run.seed=5"]
    second = recipe_of("starter-vae.yaml", packed, tmp_path, *again).build(OneProcess())
    assert same(state_of(first.average.model), second.vae)
    assert same(state_of(first.average.model), second.average.model)
    nothing, wider = f"start={tmp_path / 'nothing.safetensors'}", "model.width=16"
    for wrong in ([nothing], [f"start={path}", wider]):
        with pytest.raises(CheckpointError):
            recipe_of("starter-vae.yaml", packed, tmp_path, *small, *wrong).build(OneProcess())


@pytest.mark.parametrize(
    ("override", "field"), [("crops.crop_s=0.01", "crops"), ("model.sample_rate=16000", "16000 Hz")]
)
def test_sounds_that_do_not_fit_the_networks_are_refused(override, field, packed, tmp_path):
    small = SMALL_MODELS["paper-vae.yaml"]
    with pytest.raises(InputError, match=field):
        recipe_of("paper-vae.yaml", packed, tmp_path, *small, override).build(OneProcess())


def test_the_loop_runs_a_recipe_and_goes_on_where_it_was(packed, tmp_path):
    run = ["run.steps=4", "run.save_every=2", "run.log_every=1", "run.tensorboard=false"]
    settings = [*SMALL_MODELS["starter-vae.yaml"], *run]
    recipe = recipe_of("starter-vae.yaml", packed, tmp_path / "run", *settings)
    (job,) = recipe.jobs()
    engine = OneProcess()
    half = job.run.model_copy(update={"steps": 2})
    for bounds, resume in ((half, False), (job.run, True)):
        outcome = train(
            job.make(engine),
            bounds,
            engine,
            folder=job.folder,
            schedule=job.schedule,
            resume=resume,
        )
    assert outcome.step == 4 and outcome.measured["valid_loss"] > 0
    assert load_module(job.folder / "vae.safetensors").extra["step"] == 4


JUDGED = {
    "losses": {**SETTINGS["losses"], "weights": {"divergence": 0.01}},
    "adversary_from": 2,
    "divergence_warmup_steps": 4,
}
RECORDED = {  # by the two tasks that this one was made of; "none" with this one's random keys
    "both": (JUDGED | {"turns": "both"}, [7.2277317, 6.59985209, 7.98473072, 7.10354853]),
    "alternate": (JUDGED | {"turns": "alternate"}, [7.2277317, 6.59985209, 7.98490524, 4.0]),
    "none": (
        {
            "discriminator": None,
            "losses": {"reconstruction": {"kind": "spectral"}, "weights": {"divergence": 0.005}},
        },
        [5.08555603, 4.55488205, 5.45196295, 4.42983675],
    ),
}


@pytest.mark.parametrize("turns", RECORDED)
def test_seeded_losses_are_those_that_were_recorded(turns, packed, tmp_path):
    """Rounding differs between processors, and differences grow from step to step."""
    changes, expected = RECORDED[turns]
    optim = {"rate": 1e-3, "warmup_steps": 1}
    values = SETTINGS | {"generator_optim": optim, "discriminator_optim": optim} | changes
    values |= {"waveforms": packed, "output": tmp_path, "run": {"steps": 6}}
    recipe = load_config(AutoencoderRecipe, values | {"crops": {"rows": 2, "crop_s": 0.1}})
    task = recipe.build(OneProcess())
    rates = [recipe.generator_optim.factor_at(index / 6, index) for index in range(4)]
    found = [float(task.step(index, rate)["loss"]) for index, rate in enumerate(rates)]
    assert found == pytest.approx(expected, rel=1e-3)


def test_a_recipe_says_what_it_takes_before_anything_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = load_config(AutoencoderRecipe, RECIPES / "paper-vae.yaml")
    (job,) = recipe.jobs()
    one, two = job.plan(1), job.plan(2)
    assert one.steps == recipe.run.steps and "not there yet" in one.notes["waveforms"]
    assert two.step_flops == one.step_flops and two.state_bytes == 2 * one.state_bytes
    assert two.activation_bytes < one.activation_bytes
    assert one.step_flops == pytest.approx(13.6e12, rel=0.01)


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_a_recipe_is_found_by_its_name_and_kind(name):
    recipe = read_recipe(name.removesuffix(".yaml"), ["crops.rows=4", "start=null"])
    assert isinstance(recipe, AutoencoderRecipe) and recipe.crops.rows == 4
    assert [job.name for job in recipe.jobs()] == ["autoencoder"]
