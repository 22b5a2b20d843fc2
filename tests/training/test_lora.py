"""Fitting an adapter to a folder of sounds, with a tiny model."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal

import numpy as np
import pytest
import soundfile
import torch
from tests.tiny_model import WIDTH as TEXT_WIDTH
from tests.tiny_model import FakeTextConfig, write_tiny_model
from tests.training.small import run_adapter
from tests.training.toys import on_two

from ezaudio.checkpoints import save_module
from ezaudio.config import load_config
from ezaudio.data.clips import ClipRow
from ezaudio.dit import DIT_PRESETS
from ezaudio.dit.lora_file import load_adapter
from ezaudio.errors import CheckpointError, EzAudioError, InputError
from ezaudio.pipelines import EzAudio
from ezaudio.text import TEXT_ENCODERS
from ezaudio.training.lora_run import RECIPE, LoRAJob, fit, prepare
from ezaudio.training.lora_sounds import caption_of, encode_sounds, find_sounds
from ezaudio.training.tasks.lora import LoRARecipe, LoRATask
from ezaudio.types import TextEmbedding

RATE = 24_000
QUICK = (
    "lora.rank=2", "batch.seconds=2", "batch.duration_s=[0.3, 0.6]", "optim.warmup_steps=1",
    "run.steps=6", "run.save_every=3", "run.log_every=1", "run.tensorboard=false",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def fake_text_encoder():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TEXT_ENCODERS, "fake", FakeTextConfig)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model"))


def write_tone(path, hz, seconds=0.5, level=0.4):
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * RATE)) / RATE
    soundfile.write(path, (level * np.sin(2 * np.pi * hz * time)).astype(np.float32), RATE)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    for i in range(6):
        write_tone(folder / "low" / f"Low_Tone-{i:02}.wav", 200 + 10 * i, 0.2 + 0.1 * i)
        write_tone(folder / f"highTone ({i}).flac", 2000 + 100 * i, 0.4)
    return folder


def recipe(*changes):
    return load_config(LoRARecipe, RECIPE, [*QUICK, *changes])


def job(model, sounds, tmp_path, **changes):
    values = {"sounds": sounds, "output": tmp_path / "tones.safetensors", "model": str(model)}
    return LoRAJob(**{**values, "device": "cpu", "dtype": "float32", **changes})


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(model, sounds, tmp_path_factory):
    wanted = job(model, sounds, tmp_path_factory.mktemp("out"))
    prepared = prepare(wanted, recipe())
    return wanted, fit(prepared, wanted)


def test_a_run_leaves_an_adapter_that_says_what_it_is(trained, model):
    wanted, made = trained
    adapter = load_adapter(made.path)
    assert (adapter.config.rank, adapter.base.name) == (2, "tiny")
    told = adapter.facts["training"]
    assert (told["sounds"], told["steps"]) == (12, 6)
    assert told["captions"] == ["high tone", "low tone"]
    assert told["base_loss"] > 0 and told["recipe"]["optim"]["rate"] == 4e-3
    assert any(x.abs().max() > 0 for name, x in adapter.tensors.items() if name.endswith(".up"))
    assert sorted(path.name for path in wanted.folder.iterdir()) == [
        "best",
        "done.json",
        "log.jsonl",
    ]
    best = load_adapter(wanted.folder / "best" / "tones.safetensors").facts["training"]
    measured = [x for x in lines(wanted.folder / "log.jsonl") if "valid_loss" in x]
    assert best["steps"] == min(measured, key=lambda line: line["valid_loss"])["step"]


def test_an_adapter_of_a_run_generates(trained, model):
    _, made = trained
    adapted = EzAudio.from_pretrained(model, lora=made.path, device="cpu", dtype="float32")
    sound = adapted.generate("low tone", seed=1, duration_s=0.3)[0]
    assert sound.metadata["loras"][0]["name"] == "tones"
    plain = EzAudio.from_pretrained(model, device="cpu", dtype="float32")
    other = plain.generate("low tone", seed=1, duration_s=0.3)[0]
    assert not np.array_equal(sound.clip.samples, other.clip.samples)


def test_fitting_brings_the_loss_below_the_base(model, sounds, tmp_path):
    wanted = job(model, sounds, tmp_path)
    changes = ("run.steps=60", "run.save_every=60", "lora.rank=8")
    made = fit(prepare(wanted, recipe(*changes)), wanted)
    assert made.measured["valid_loss"] < 0.9 * made.measured["base_loss"]


def test_the_base_is_frozen_and_a_checkpoint_holds_the_adapter_alone(model, sounds, tmp_path):
    task = prepare(job(model, sounds, tmp_path), recipe()).task
    before = {name: x.clone() for name, x in task.network.state_dict().items()}
    for index in range(2):
        task.step(index, 1.0)
    after = task.network.state_dict()
    moved = {name for name, x in after.items() if not torch.equal(x, before[name])}
    assert moved and all(".adapters.trained." in name for name in moved)
    kept = sum(x.numel() for x in task.parts()["network"].state_dict().values())
    trained = [p for p in task.network.parameters() if p.requires_grad]
    assert kept == task.plan().trainable == sum(p.numel() for p in trained)
    assert task.plan().parameters == sum(x.numel() for x in before.values()) - kept


def test_the_rate_goes_down_with_the_width(model, sounds, tmp_path):
    task = prepare(job(model, sounds, tmp_path), recipe("optim.rate=1.0e-3")).task
    task.step(0, 0.5)
    assert task.optimizer.param_groups[0]["lr"] == pytest.approx(0.5 * 1e-3 * 128 / 32)
    task = prepare(job(model, sounds, tmp_path), recipe("rate_width=null")).task
    assert task.stage.optim.rate == task.recipe.optim.rate


def test_a_step_is_a_function_of_its_number(model, sounds, tmp_path):
    found = []
    for order in ((0, 1, 2), (2, 1, 0)):
        task = prepare(job(model, sounds, tmp_path), recipe()).task
        with torch.no_grad():
            found.append({i: float(task.error(task.train.rows(i)).sum()) for i in order})
    assert found[0] == found[1]
    assert len(set(found[0].values())) == 3


def test_a_run_that_was_killed_goes_on_with_the_same_losses(model, sounds, tmp_path, monkeypatch):
    whole = job(model, sounds, tmp_path / "whole")
    cut = job(model, sounds, tmp_path / "cut")
    for wanted in (whole, cut):
        wanted.output.parent.mkdir()
    fit(prepare(whole, recipe()), whole)

    step = LoRATask.step

    def killed(self, index, rate):
        if index == 4:
            raise KeyboardInterrupt
        return step(self, index, rate)

    monkeypatch.setattr(LoRATask, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(prepare(cut, recipe()), cut)
    monkeypatch.undo()
    with pytest.raises(InputError, match="--resume"):
        prepare(cut, recipe())
    again = job(model, sounds, tmp_path / "cut", resume=True)
    with pytest.raises(InputError, match=r"`draws\.text_dropout`.*unfinished run had, 0\.1"):
        fit(prepare(again, recipe("draws.text_dropout=0.2")), again)
    fit(prepare(again, recipe()), again)
    losses = [
        {line["step"]: line["loss"] for line in lines(w.folder / "log.jsonl") if "loss" in line}
        for w in (whole, cut)
    ]
    assert losses[0] == losses[1] and set(losses[0]) == {1, 2, 3, 4, 5, 6}
    one, two = (load_adapter(w.output).tensors for w in (whole, cut))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_loss_that_is_not_finite_stops_with_the_sounds_of_the_step(
    model, sounds, tmp_path, monkeypatch
):
    wanted = job(model, sounds, tmp_path)
    prepared = prepare(wanted, recipe())
    monkeypatch.setattr(LoRATask, "step", lambda *a: {"loss": float("nan")})
    with pytest.raises(EzAudioError, match=r"step 0: the loss is nan; batch: .*Tone"):
        fit(prepared, wanted)
    assert not wanted.output.exists()


def test_sigterm_saves_and_the_rest_repeats_the_losses(model, sounds, tmp_path):
    wanted = job(model, sounds, tmp_path)
    changes = ("run.save_every=100", "run.keep_best=0")

    def at_step_two(progress):
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    stopped = fit(prepare(wanted, recipe(*changes)), wanted, at_step_two)
    assert (stopped.stopped_by, stopped.step) == (signal.SIGTERM, 2)
    assert not wanted.output.exists()
    again = job(model, sounds, tmp_path, resume=True)
    assert fit(prepare(again, recipe(*changes)), again).stopped_by is None
    found = {x["step"]: x["loss"] for x in lines(wanted.folder / "log.jsonl") if "loss" in x}
    whole = job(model, sounds, tmp_path, output=tmp_path / "whole.safetensors")
    fit(prepare(whole, recipe(*changes)), whole)
    expected = {x["step"]: x["loss"] for x in lines(whole.folder / "log.jsonl") if "loss" in x}
    assert found == expected and len(found) == 6


@pytest.mark.parametrize("size", ["l", "xl"])
def test_the_papers_networks_take_an_adapter_at_tiny_width(size, sounds, tmp_path):
    """The paper's depth, long skips, AdaLN and targets; only the width is small."""
    deep = DIT_PRESETS[size]
    config = deep.model_copy(
        update={
            "latent_channels": 4,
            "width": 32,
            "heads": 4,
            "text_width": TEXT_WIDTH,
            "adaln": deep.adaln.model_copy(update={"rank": 2}),
        }
    )
    network = config.build()
    assert len(network.blocks) == deep.depth + 1  # one in the middle
    folder = write_tiny_model(tmp_path / "model")
    save_module(folder / "dit.safetensors", network.state_dict(), kind="dit", config=config)
    wanted = job(folder, sounds, tmp_path)
    every = "lora.targets=[attention, cross-attention, feedforward, long-skips]"
    made = fit(prepare(wanted, recipe(every, "run.steps=2")), wanted)
    adapted = EzAudio.from_pretrained(folder, lora=f"{made.path}:0.5", device="cpu")
    assert adapted.generate("low tone", seed=1, duration_s=0.3)[0].clip.samples.any()


def step_losses(folder):
    return {line["step"]: line["loss"] for line in lines(folder / "log.jsonl") if "loss" in line}


def test_two_processes_give_the_losses_and_the_adapter_of_one(model, sounds, trained, tmp_path):
    output = tmp_path / "tones.safetensors"
    assert on_two(run_adapter, model, sounds, output, *QUICK) == [0, 0]
    alone, _ = trained
    expected = step_losses(alone.folder)
    assert step_losses(output.with_suffix(".run")) == pytest.approx(expected, rel=2e-5)
    ours, theirs = (load_adapter(path).tensors for path in (output, alone.output))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    assert not (output.with_suffix(".run") / "checkpoints").exists()


@pytest.mark.parametrize(
    "change",
    [
        "compute.prefetch=2",
        pytest.param(
            "compute.compile=eager",
            marks=pytest.mark.filterwarnings("ignore:The .grad attribute"),  # torch's tracing
        ),
    ],
)
def test_trades_of_time_for_memory_keep_the_losses(model, sounds, trained, tmp_path, change):
    wanted = job(model, sounds, tmp_path)
    fit(prepare(wanted, recipe(change)), wanted)
    assert step_losses(wanted.folder) == step_losses(trained[0].folder)


def test_averages_of_an_adapter_are_measured_and_the_best_gets_the_plain_name(
    model, sounds, tmp_path
):
    wanted = job(model, sounds, tmp_path)
    made = fit(prepare(wanted, recipe("averages.half_lives=[3]")), wanted)
    losses = {name: made.measured[f"valid_loss_{name}"] for name in ("half-life-3", "present")}
    best = min(losses, key=losses.get)
    assert made.measured["valid_loss"] == losses[best]
    assert load_adapter(made.path).facts["training"]["average"] == best
    (other,) = set(losses) - {best}
    beside = load_adapter(wanted.folder / f"tones-{other}.safetensors")
    assert beside.facts["training"]["average"] == other
    apart = [not torch.equal(x, load_adapter(made.path).tensors[n])
             for n, x in beside.tensors.items()]  # fmt: skip
    assert any(apart)


def test_captions_of_the_sounds_are_played_with_the_present_adapter(model, sounds, tmp_path):
    wanted = job(model, sounds, tmp_path)
    played = ("listen.duration_s=0.3", "listen.steps=2", "run.listen_every=6")
    prepared = prepare(wanted, recipe(*played))
    before = prepared.task.listen()
    fit(prepared, wanted)
    after = prepared.task.listen()
    assert [sound.name for sound in after] == ["high tone", "low tone"]
    assert after[0].samples.shape == (7200,)
    assert not np.array_equal(before[0].samples, after[0].samples)
    folder = wanted.folder / "samples" / "000000006"
    names = ["00-high-tone.wav", "01-low-tone.wav"]
    assert sorted(p.name for p in folder.glob("*.wav")) == names


def test_a_step_of_an_adapter_is_a_step_of_plain_pytorch(model, sounds, tmp_path):
    changes = ("optim.clip_norm=1.0e9", "optim.rate=1.0e-2", "rate_width=null")
    task = prepare(job(model, sounds, tmp_path), recipe(*changes)).task
    plain = prepare(job(model, sounds, tmp_path), recipe(*changes)).task
    network, rows = plain.network, plain.train.rows(0)
    scale = plain.error.channel_weights[:, 0]
    text = TextEmbedding(rows.tokens, rows.attend)
    x_t = rows.alpha * rows.x0 + rows.sigma * rows.noise
    v = network(x_t, rows.steps, network.prepare(text), known=rows.x0, regenerate=rows.regenerate)
    error = (v - (rows.alpha * rows.noise - rows.sigma * rows.x0)).square() * scale[:, None]
    loss = (error.mean(1, keepdim=True) * rows.weight).sum() / rows.weight.sum()
    loss.backward()
    optim = plain.recipe.optim
    trained = [p for p in network.parameters() if p.requires_grad]
    torch.optim.AdamW(trained, lr=1e-2, betas=optim.betas, weight_decay=0.0).step()
    found = task.step(0, 1.0)["loss"]
    torch.testing.assert_close(found, loss.detach(), rtol=1e-6, atol=0)
    ours, theirs = task.weights(), plain.weights()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)  # of a step of 1e-2


def test_sharding_the_network_of_an_adapter_is_refused(model, sounds, tmp_path):
    with pytest.raises(InputError, match="whole"):
        prepare(job(model, sounds, tmp_path), recipe("engine.sharding=fsdp2"))


def test_what_cannot_be_fitted_is_refused(model, sounds, tmp_path):
    with pytest.raises(InputError, match="safetensors"):
        prepare(job(model, sounds, tmp_path, output=tmp_path / "x.bin"), recipe())
    with pytest.raises(InputError, match="at most"):
        prepare(job(model, sounds, tmp_path), recipe("lora.rank=500"))
    with pytest.raises(CheckpointError):
        prepare(job(sounds / "..", sounds, tmp_path), recipe())


@pytest.mark.parametrize(
    ("file", "caption"),
    [
        ("Door_Slam-03.wav", "door slam"),
        ("doorSlam (2).wav", "door slam"),
        ("door.slam.take.4.wav", "door slam take"),
        ("12345__somebody__creaky-door-2.wav", "creaky door"),
        ("UFO_landing.wav", "UFO landing"),
        ("a dog's bark.wav", "a dog's bark"),
        ("dog/001.wav", "dog"),
        ("001.wav", "my sounds"),
        ("Gewitter_über_See.wav", "gewitter über see"),
        ("Cafe\u0301_Terrace.wav", "caf\u00e9 terrace"),
        ("雨.wav", "雨"),
        ("बारिश_3.wav", "बारिश"),
    ],
)
def test_a_caption_is_made_from_the_name(file, caption):
    from pathlib import Path

    assert caption_of(Path(file), "My_Sounds") == caption


def test_a_text_beside_a_sound_or_a_list_gives_the_captions(tmp_path):
    write_tone(tmp_path / "a.wav", 300)
    (tmp_path / "a.txt").write_text("a soft hum\n\na drone\n", encoding="utf-8")
    write_tone(tmp_path / ".hidden" / "b.wav", 300)
    (root, rows, _) = find_sounds(tmp_path)
    assert root == tmp_path
    assert [(r.file, r.caption, r.captions, r.label) for r in rows] == [
        ("a.wav", "a soft hum", ("a drone",), "")
    ]
    with (tmp_path / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["file", "caption", "split"], ["a.wav", "a low hum", "train"],
             ["Big_Bell.wav", "", "valid"]]
        )  # fmt: skip
    _, rows, _ = find_sounds(tmp_path, valid_share=0.9)
    assert [(r.caption, r.split) for r in rows] == [("a low hum", "train"), ("big bell", "valid")]
    assert find_sounds(tmp_path / "captions.csv")[1] == rows


def test_some_sounds_are_held_out_and_always_the_same(sounds):
    splits = [[r.split for r in find_sounds(sounds, valid_share=0.25)[1]] for _ in range(2)]
    assert splits[0] == splits[1]
    assert splits[0].count("valid") == 3


@pytest.mark.parametrize("make", ["none", "empty", "file", "hidden"])
def test_a_place_without_sounds_is_refused(tmp_path, make):
    place = tmp_path / "place"
    if make == "empty":
        place.mkdir()
    elif make == "file":
        place.write_text("no folder")
    elif make == "hidden":
        write_tone(place / "._a.wav", 300)
    with pytest.raises(InputError) as error:
        find_sounds(place)
    assert error.value.field == "sounds"


def test_sounds_that_cannot_be_used_are_left_out_and_named(model, sounds, tmp_path):
    shutil.copytree(sounds / "low", tmp_path / "s")
    (tmp_path / "s" / "broken.wav").write_bytes(b"RIFF")
    write_tone(tmp_path / "s" / "silent.wav", 300, level=0.0)
    write_tone(tmp_path / "s" / "short.wav", 300, seconds=0.02)
    prepared = prepare(job(model, tmp_path / "s", tmp_path), recipe())
    assert len(prepared.task.store.rows) == 6
    assert [line.split(": ")[0].rsplit("/")[-1] for line in prepared.skipped] == [
        "broken.wav", "short.wav", "silent.wav"
    ]  # fmt: skip
    for path in (tmp_path / "s").glob("Low*"):
        path.unlink()
    with pytest.raises(InputError, match="broken"):
        prepare(job(model, tmp_path / "s", tmp_path), recipe())


def test_encoded_sounds_are_in_the_units_of_the_model(model, sounds):
    parts = EzAudio.from_pretrained(model, device="cpu", dtype="float32").parts
    root, rows, _ = find_sounds(sounds)
    told = []
    store, skipped = encode_sounds(root, rows, parts.vae, callback=lambda *a: told.append(a))
    assert skipped == [] and told[-1] == (12, 12)
    assert store.seconds == pytest.approx(sum(row.duration for row in store.rows), abs=0.25)
    generator = torch.Generator().manual_seed(0)
    drawn = store.sample(0, generator, 2, 5)
    assert drawn.shape == (5, 4) and not torch.equal(drawn, store.encoded[0].mean[2:7])
    assert store.silence(400, generator).shape == (400, 4)
    assert {len(v) for v in store.takes("train").values()} == {6}
    assert isinstance(store.rows[0], ClipRow)
