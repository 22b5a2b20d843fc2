"""Finding and loading models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.tiny_model import write_tiny_model

from ezaudio import hub
from ezaudio.checkpoints import load_module, save_module
from ezaudio.diffusion import derived_seed
from ezaudio.errors import CheckpointError, DownloadError, InputError
from ezaudio.files import sha256_file
from ezaudio.pipelines import CATALOGUE, EzAudio, find_model, load_components
from ezaudio.pipelines.catalogue import availability
from ezaudio.pipelines.components import file_hash, resolve_device, resolve_dtype
from ezaudio.pipelines.options import GenerateOptions, resolve_options


@pytest.fixture
def copy(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def change_card(folder, **values):
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


def test_a_folder_is_a_model(folder):
    model = find_model(folder)
    assert (model.card.name, model.folder, model.remote_files) == ("tiny", folder, ())
    parts = load_components(folder, device="cpu", dtype="float32")
    assert parts.vae.latent_channels == parts.dit.config.latent_channels == 4
    assert parts.facts["dit_sha256"] == sha256_file(folder / "dit.safetensors")
    assert not any(p.requires_grad for p in [*parts.dit.parameters(), *parts.vae.parameters()])


@pytest.mark.parametrize(
    ("name", "said"),
    [("startr", "did you mean starter"), ("", "one of"), ("/no/where", "model.json"), ("a\0", "l")],
)
def test_an_unknown_model_is_answered_with_the_names(name, said):
    with pytest.raises(InputError, match=said) as error:
        find_model(name)
    assert error.value.field == "model"
    assert all(known in str(error.value) for known in CATALOGUE)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "not valid JSON"),
        ('{"format": 2}', "format"),
        ('{"name": "x", "licence": "x", "text": {}, "max_duration_s": -1}', "duration"),
        ('{"name": "x", "licence": "x", "text": {}, "max_duration_s": 1, "x": 1}', "`x`"),
    ],
)  # fmt: skip
def test_a_damaged_card_is_one_line(copy, content, said):
    (copy / "model.json").write_text(content)
    with pytest.raises(CheckpointError, match=said):
        find_model(copy)


def test_a_folder_without_a_card_is_one_line(tmp_path):
    with pytest.raises(CheckpointError, match="a model is a folder with it"):
        find_model(tmp_path)


@pytest.mark.parametrize("part", ["dit", "vae"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "other kind", "misfit"])
def test_a_damaged_file_is_one_line_that_names_it(copy, part, damage):
    path = copy / f"{part}.safetensors"
    if damage == "missing":
        path.unlink()
    elif damage in ("truncated", "empty"):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"")
    else:
        loaded = load_module(path)
        tensors = {name: tensor.clone() for name, tensor in loaded.tensors.items()}
        kind = "listener" if damage == "other kind" else loaded.kind
        if damage == "misfit":
            tensors.popitem()
        save_module(path, tensors, kind=kind, config=loaded.config)
    with pytest.raises(CheckpointError) as error:
        load_components(copy, device="cpu")
    assert path.name in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"text": {"kind": "bert"}}, "text encoder 'bert' is not one of"),
        ({"text": {}}, "text encoder"),
        ({"text": {"kind": "fake", "layers": 3}}, "layers"),
        ({"defaults": {"steps": 0}}, "defaults"),
        ({"defaults": {"sampler": "dimm"}}, "did you mean ddim"),
    ],
)
def test_a_card_that_asks_for_what_is_not_there_is_one_line(copy, values, said):
    with pytest.raises(CheckpointError, match=said):
        load_components(change_card(copy, **values), device="cpu")


def test_parts_that_do_not_fit_together_are_refused(copy):
    loaded = load_module(copy / "vae.safetensors")
    save_module(copy / "vae.safetensors", loaded.tensors, kind="vae",
                config={**loaded.config, "kind": "wavelet"})  # fmt: skip
    with pytest.raises(CheckpointError, match="'wavelet' is unknown"):
        load_components(copy, device="cpu")
    from ezaudio.vae import OobleckConfig

    config = OobleckConfig(latent_channels=5, base_width=2)
    save_module(copy / "vae.safetensors", config.build().state_dict(), kind="vae", config=config)
    with pytest.raises(CheckpointError, match="latent channels of network and autoencoder differ"):
        load_components(copy, device="cpu")


def test_half_precision_weights_are_computed_in_float32(copy):
    for name in ("dit", "vae"):
        path = copy / f"{name}.safetensors"
        loaded = load_module(path)
        halves = {key: x.half() if x.ndim > 1 else x for key, x in loaded.tensors.items()}
        save_module(path, halves, kind=loaded.kind, config=loaded.config)
    parts = load_components(copy, device="cpu", dtype="float32")
    assert {p.dtype for p in [*parts.dit.parameters(), *parts.vae.parameters()]} == {torch.float32}
    assert EzAudio(parts).generate("rain", seed=0).audios.isfinite().all()


def test_in_bfloat16_a_sound_comes_out_and_the_seed_decides(folder):
    model = EzAudio.from_pretrained(folder, device="cpu", dtype="bfloat16")
    assert model.parts.dit.output.linear.weight.dtype == torch.bfloat16
    together = model.generate(["rain", "a dog"], seed=2, num=2, steps=3).audios
    assert together.dtype == torch.float32
    alone = model.generate("a dog", seed=derived_seed(2, 1, takes=2) + 1, steps=3).audios
    scale = float(alone.abs().max())
    assert float((together[3] - alone[0]).abs().max()) < 0.1 * scale
    assert model.edit(model.generate("rain", seed=0)[0].clip, "a dog", [(0.1, 0.3)], seed=0)


def test_the_precision_follows_what_the_processor_is_fast_with(monkeypatch):
    cpu = torch.device("cpu")
    for amx, avx, wanted in [(0, 0, "float32"), (1, 0, "bfloat16"), (0, 1, "bfloat16")]:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda x=amx: bool(x))
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda x=avx: bool(x))
        assert resolve_dtype(None, cpu) == resolve_dtype("auto", cpu) == getattr(torch, wanted)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert resolve_dtype(None, cpu) == torch.float32
    assert resolve_dtype("float16", cpu) == torch.float16
    assert resolve_dtype(None, torch.device("cuda")) == torch.bfloat16
    assert resolve_dtype(None, torch.device("mps")) == torch.float32
    with pytest.raises(InputError, match="did you mean bfloat16"):
        resolve_dtype("bfloat", cpu)


def test_the_device_is_the_best_of_the_machine_or_the_one_that_is_named(monkeypatch):
    assert resolve_device("cpu").type == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device(None).type == "cpu"
    for name in ("cuda", "cuda:0", "mps", "tpu", "cpu:9", ""):
        with pytest.raises(InputError, match="on this machine one of cpu"):
            resolve_device(name)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda:1")


def test_a_file_of_the_hubs_cache_has_its_hash_for_a_name(tmp_path):
    blob = tmp_path / ("ab" * 32)
    blob.write_bytes(b"anything")
    (tmp_path / "l.pt").symlink_to(blob)
    assert file_hash(tmp_path / "l.pt") == "ab" * 32
    plain = tmp_path / "x.pt"
    plain.write_bytes(b"anything")
    assert file_hash(plain) == sha256_file(plain)


def test_without_network_and_cache_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="--model PATH") as error:
        load_components("l", device="cpu")
    assert "\n" not in str(error.value)


def test_the_authors_models_are_made_of_the_hubs_files(monkeypatch):
    remote = [(file.repo_id, file.filename) for file in find_model("xl").remote_files]
    assert ("OpenSound/EzAudio", "ckpts/s3/ezaudio_s3_xl.pt") in remote
    assert ("OpenSound/EzAudio", "ckpts/vae/1m.pt") in remote
    assert any(repo == "google/flan-t5-xl" for repo, _ in remote)
    monkeypatch.setattr("ezaudio.pipelines.catalogue.find_cached", lambda *file: None)
    state = availability("l")
    assert state.state == "downloadable"
    assert state.size_bytes > hub.OFFICIAL_FILES["l"].size_bytes
    monkeypatch.setattr("ezaudio.pipelines.catalogue.find_cached", lambda *file: Path(__file__))
    assert availability("l").state == "cached"


def test_a_text_encoder_in_the_folder_is_found_there(tmp_path):
    folder = write_tiny_model(tmp_path / "m", text={"kind": "minilm", "path": "text"})
    with pytest.raises(CheckpointError, match=str(folder / "text")):
        load_components(folder, device="cpu")


def test_the_authors_models_have_their_headline_settings():
    for name in ("l", "xl"):
        card = find_model(name).card
        options = resolve_options(GenerateOptions, card.defaults, {})
        assert (options.steps, options.guidance_scale) == (100, 5.0)
        assert (options.guidance_rescale, options.eta, card.dtype) == (0.75, 1.0, "float32")
        assert resolve_options(GenerateOptions, card.defaults, {"sampler": "heun"}).eta == 0.0


def test_a_network_brings_its_statistics_to_whatever_autoencoder(tmp_path):
    folder = write_tiny_model(tmp_path / "m")
    dit = load_module(folder / "dit.safetensors")
    shift, scale = [1.0, 2.0, 3.0, 4.0], [0.5, 1.0, 1.5, 2.0]
    facts = {"latents": {"shift": shift, "scale": scale}}
    save_module(dit.path, dit.tensors, kind="dit", config=dit.config, extra=facts)
    vae = load_components(folder, device="cpu").vae
    assert vae.latent_shift[:, 0].tolist() == shift and vae.latent_scale[:, 0].tolist() == scale
    for damaged in ({"shift": shift}, {"shift": [1.0], "scale": [1.0]}, {"shift": 1, "scale": []}):
        save_module(
            dit.path, dit.tensors, kind="dit", config=dit.config, extra={"latents": damaged}
        )
        with pytest.raises(CheckpointError, match="latents"):
            load_components(folder, device="cpu")


@pytest.mark.parametrize("text", [{"kind": "none"}, {"kind": "fake"}])
def test_a_network_without_text_makes_and_edits_sounds_of_the_empty_prompt(tmp_path, text):
    """The network after the first training stage has no text input."""
    model = EzAudio(write_tiny_model(tmp_path / "m", reads_text=False, text=text))
    [made] = model.generate("", seed=1)
    again = model.generate(["", ""], seed=1)
    np.testing.assert_allclose(again[0].clip.samples, made.clip.samples, atol=1e-5)
    assert not np.allclose(again[1].clip.samples, made.clip.samples, atol=1e-3)
    assert made.metadata["text_encoder"] == "none"
    edited = model.edit(made, "", [(0.1, 0.3)], seed=2)[0]
    assert np.array_equal(edited.clip.samples[:2400], made.clip.samples[:2400])
    for call in (lambda: model.generate("rain"), lambda: model.edit(made, "rain", [(0.1, 0.3)])):
        with pytest.raises(InputError, match="trained without text"):
            call()


def test_a_network_with_text_needs_a_text_encoder(tmp_path):
    with pytest.raises(CheckpointError, match="text encoder 'none'"):
        EzAudio(write_tiny_model(tmp_path / "m", text={"kind": "none"}))


def test_a_model_is_made_from_its_folder_too_and_says_what_it_is(folder):
    model = EzAudio(folder)
    assert model.generate("rain", seed=1).sample_rate == 24_000
    assert repr(model).startswith("EzAudio('tiny', 24000 Hz, c")
    for wrong in (None, 5, "no such model"):
        with pytest.raises(InputError) as error:
            EzAudio(wrong)
        assert error.value.field == "model"
    with pytest.raises(InputError):
        EzAudio.from_pretrained(folder, lora=5)
