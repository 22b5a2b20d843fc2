"""Adapters at generation."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from ezaudio.checkpoints import load_module, save_module
from ezaudio.dit import DiTConfig
from ezaudio.dit.lora import LoRAConfig, adapted_layers, adapter_state, add_adapter
from ezaudio.dit.lora_file import Adapter, Base, load_adapter, save_adapter
from ezaudio.errors import CheckpointError, InputError
from ezaudio.files import sha256_file
from ezaudio.pipelines import EzAudio
from ezaudio.pipelines.lora import AdapterChoice, choose_adapters, parse_adapter
from ezaudio.pipelines.merge import merge_model

CPU = {"device": "cpu", "dtype": "float32"}


def write_adapter(folder, path, *, seed=1, name="tiny", config=None):
    """Write an adapter that does something to a model folder's network."""
    loaded = load_module(folder / "dit.safetensors")
    config = config or LoRAConfig(rank=2)
    network = DiTConfig.model_validate(loaded.config).build()
    add_adapter(network, config)
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        key: 0.3 * torch.randn(x.shape, generator=generator)
        for key, x in adapter_state(network).items()
    }
    base = Base(name, sha256_file(folder / "dit.safetensors"), loaded.extra.get("source_sha256"))
    save_adapter(path, Adapter(config, tensors, base))
    return path


@pytest.fixture(scope="module")
def one(folder, tmp_path_factory):
    return write_adapter(folder, tmp_path_factory.mktemp("one") / "growls.safetensors")


@pytest.fixture(scope="module")
def two(folder, tmp_path_factory):
    config = LoRAConfig(rank=1, targets=("feedforward",))
    path = tmp_path_factory.mktemp("two") / "hums.safetensors"
    return write_adapter(folder, path, seed=2, config=config)


def wave(model, **settings):
    return model.generate("a dog", seed=3, duration_s=0.3, **settings)[0].clip.samples


def test_an_adapter_changes_the_sound_and_strength_0_does_not(folder, model, one):
    plain = wave(model)
    adapted = EzAudio.from_pretrained(folder, lora=one, **CPU)
    assert not adapted_layers(adapted.parts.dit)
    assert np.abs(wave(adapted) - plain).max() > 1e-3
    off = EzAudio.from_pretrained(folder, lora=f"{one}:0", **CPU)
    np.testing.assert_allclose(wave(off), plain, atol=1e-6)


def test_the_same_seed_gives_the_same_sound_with_an_adapter(folder, one):
    first, second = (EzAudio.from_pretrained(folder, lora=one, **CPU) for _ in range(2))
    np.testing.assert_allclose(wave(first), wave(second), atol=1e-6)
    takes = first.generate("a dog", seed=1, num=3, duration_s=0.3)
    np.testing.assert_allclose(takes[2].clip.samples, wave(first), atol=1e-5)


def test_a_sound_names_its_adapters_and_their_strengths(folder, model, one, two):
    adapted = EzAudio.from_pretrained(folder, lora=f"{one}:0.8", loras=[(two, -0.5)], **CPU)
    told = adapted.generate("a dog", seed=1, duration_s=0.2)[0].metadata
    assert told["loras"] == [
        {"name": "growls", "sha256": sha256_file(one), "strength": 0.8},
        {"name": "hums", "sha256": sha256_file(two), "strength": -0.5},
    ]
    assert "loras" not in model.generate("a dog", seed=1, duration_s=0.2)[0].metadata


def test_several_adapters_in_any_order_give_one_sound(folder, one, two):
    waves = [
        wave(EzAudio.from_pretrained(folder, loras=loras, **CPU))
        for loras in ([one, f"{two}:0.5"], [f"{two}:0.5", one])
    ]
    np.testing.assert_allclose(*waves, atol=1e-4)


def test_an_edit_uses_the_adapter_and_keeps_the_rest(folder, model, one):
    adapted = EzAudio.from_pretrained(folder, lora=one, **CPU)
    sound = model.generate("rain", seed=2, duration_s=0.5)[0].clip
    (edited,) = adapted.edit(sound, "a bell", [(0.1, 0.3)], seed=1)
    (plain,) = model.edit(sound, "a bell", [(0.1, 0.3)], seed=1)
    assert np.abs(edited.clip.samples - plain.clip.samples).max() > 1e-3
    np.testing.assert_array_equal(edited.clip.samples[7200:], sound.samples[7200:])
    assert edited.metadata["loras"][0]["name"] == "growls"


def test_another_model_is_refused_with_both_names_before_its_weights_are_read(
    folder, one, tmp_path, monkeypatch
):
    shutil.copytree(folder, tmp_path / "other")
    loaded = load_module(folder / "dit.safetensors")
    tensors = {name: x * 1.01 for name, x in loaded.tensors.items()}
    path = tmp_path / "other" / "dit.safetensors"
    save_module(path, tensors, kind="dit", config=loaded.config)
    card = json.loads((folder / "model.json").read_text())
    (tmp_path / "other" / "model.json").write_text(json.dumps({**card, "name": "other"}))
    monkeypatch.setattr(
        "ezaudio.pipelines.components._load_dit", lambda *a: pytest.fail("weights were read")
    )
    with pytest.raises(CheckpointError, match=r"growls.*fitted to tiny \(.*here is other \("):
        EzAudio.from_pretrained(tmp_path / "other", lora=one, **CPU)


def test_a_converted_copy_of_the_base_is_the_base(folder, one, tmp_path):
    """What was fitted to the authors' file serves the folder that it was converted to."""
    shutil.copytree(folder, tmp_path / "converted")
    loaded = load_module(folder / "dit.safetensors")
    extra = {"source_sha256": sha256_file(folder / "dit.safetensors")}
    path = tmp_path / "converted" / "dit.safetensors"
    save_module(path, loaded.tensors, kind="dit", config=loaded.config, extra=extra)
    adapted = [EzAudio.from_pretrained(f, lora=one, **CPU) for f in (folder, path.parent)]
    np.testing.assert_allclose(*map(wave, adapted), atol=1e-5)


@pytest.mark.parametrize(
    ("choice", "path", "strength"),
    [
        ("a.safetensors", "a.safetensors", 1.0),
        ("a.safetensors:0.8", "a.safetensors", 0.8),
        ("dir/a.safetensors:-2", "dir/a.safetensors", -2.0),
        ("C:/a.safetensors", "C:/a.safetensors", 1.0),
        ("C:/a.safetensors:1e-1", "C:/a.safetensors", 0.1),
        (("a", 3), "a", 3.0),
    ],
)
def test_a_choice_is_a_path_and_perhaps_a_strength(choice, path, strength):
    found = parse_adapter(choice)
    assert (str(found.path), found.strength) == (path, strength)
    assert parse_adapter(found) == found


def test_a_file_that_ends_like_a_strength_is_taken_by_its_name(one, tmp_path):
    path = shutil.copy(one, tmp_path / "take:2")
    assert parse_adapter(str(path)) == AdapterChoice(tmp_path / "take:2", 1.0)
    assert parse_adapter(f"{path}:0.5") == AdapterChoice(tmp_path / "take:2", 0.5)


@pytest.mark.parametrize(
    "choice", ["", " :1", "a:nan", "a:inf", "a:11", ("a", "1"), ("a", True), "a\0"]
)
def test_a_choice_that_makes_no_sense_is_refused(choice):
    with pytest.raises(InputError, match="PATH:STRENGTH") as error:
        parse_adapter(choice)
    assert error.value.field == "lora"


def test_files_that_are_no_adapters_are_refused(folder, one, tmp_path):
    with pytest.raises(InputError, match="once"):
        choose_adapters(one, [f"{one}:2"])
    with pytest.raises(InputError, match="list"):
        choose_adapters(loras=str(one))
    with pytest.raises(CheckpointError, match="expected a `lora`"):
        choose_adapters(folder / "dit.safetensors")
    with pytest.raises(CheckpointError, match="no such file"):
        choose_adapters(tmp_path / "none.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(one.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="truncated"):
        EzAudio.from_pretrained(folder, lora=cut, **CPU)


def test_a_merged_model_sounds_like_the_model_with_its_adapters(folder, one, two, tmp_path):
    choices = choose_adapters(loras=[f"{one}:0.8", f"{two}:-1"])
    paths = merge_model(folder, choices, tmp_path / "merged")
    assert [path.name for path in paths] == ["dit.safetensors", "vae.safetensors", "model.json"]
    merged = EzAudio.from_pretrained(tmp_path / "merged", **CPU)
    beside = EzAudio.from_pretrained(folder, loras=choices, **CPU)
    np.testing.assert_allclose(wave(merged), wave(beside), atol=1e-5)
    assert merged.parts.card.name == "tiny+growls+hums"
    told = load_module(paths[0]).extra["merged"]
    assert (told["base"], told["sha256"]) == ("tiny", sha256_file(folder / "dit.safetensors"))
    assert [entry["strength"] for entry in told["loras"]] == [0.8, -1.0]


def test_a_merged_model_is_another_base(folder, one, tmp_path):
    """Else an adapter could be merged twice without a word."""
    merge_model(folder, choose_adapters(one), tmp_path / "merged", name="growler")
    with pytest.raises(CheckpointError, match="here is growler"):
        EzAudio.from_pretrained(tmp_path / "merged", lora=one, **CPU)


def test_merging_keeps_the_precision_of_what_does_not_change(folder, tmp_path):
    half = tmp_path / "half"
    shutil.copytree(folder, half)
    loaded = load_module(folder / "dit.safetensors")
    tensors = {name: x.half() for name, x in loaded.tensors.items()}
    save_module(half / "dit.safetensors", tensors, kind="dit", config=loaded.config)
    one = write_adapter(half, tmp_path / "a.safetensors")
    merge_model(half, choose_adapters(one), tmp_path / "merged")
    merged = load_module(tmp_path / "merged" / "dit.safetensors").tensors
    assert merged["blocks.0.attention.qkv.weight"].dtype == torch.float32
    assert merged["patches.weight"].dtype == torch.float16
    waves = [
        wave(EzAudio.from_pretrained(half, lora=one, **CPU)),
        wave(EzAudio.from_pretrained(tmp_path / "merged", **CPU)),
    ]
    np.testing.assert_allclose(*waves, atol=1e-5)


def test_merging_that_cannot_be_leaves_nothing(folder, one, tmp_path):
    with pytest.raises(InputError, match="at least one"):
        merge_model(folder, [], tmp_path / "merged")
    with pytest.raises(InputError, match="own"):
        merge_model(folder, choose_adapters(one), folder / ".." / folder.name)
    bad = tmp_path / "bad.safetensors"
    found = load_adapter(one)
    save_adapter(bad, Adapter(found.config, found.tensors, Base("dogs", "b" * 64)))
    with pytest.raises(CheckpointError, match="dogs"):
        merge_model(folder, choose_adapters(bad), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
