"""The whole way of the starter model in small: pack, autoencoder, latents, diffusion, bundle."""

import csv
import json

import numpy as np
import pytest
import soundfile
import torch
import yaml

from ezaudio.checkpoints import load_module
from ezaudio.cli.main import run
from ezaudio.training.__main__ import main

COLUMNS = ["file", "split", "label", "caption", "duration", "license", "author", "source_repo"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six short tones of two kinds, packed."""
    folder = tmp_path_factory.mktemp("starter")
    rows = []
    for i in range(6):
        label, hz = (("low tone", 220), ("high tone", 1760))[i % 2]
        time = np.arange(9600 + 4800 * i) / 24_000
        wave = 0.4 * np.sin(2 * np.pi * hz * time)
        soundfile.write(folder / f"{i}.wav", wave.astype(np.float32), 24_000)
        split = "valid" if i >= 4 else "train"
        rows.append(
            [f"{i}.wav", split, label, f"A {label}.", 1, "CC BY 4.0", f"author {i}", "here"]
        )
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    assert run(["data", "pack", str(folder / "clips.csv"), "-o", str(folder / "packed")]) == 0
    return folder


RUN = {"steps": 3, "save_every": 2, "log_every": 1, "tensorboard": False}
OPTIM = {"rate": 1e-3, "warmup_steps": 1}


def trained(step, folder, values):
    """Write a recipe and run it."""
    values |= {"output": str(folder / step), "engine": {"device": "cpu"}}
    path = folder / f"{step}.yaml"
    path.write_text(yaml.safe_dump(values))
    assert run(["train", str(path)]) == 0


@pytest.fixture(scope="module")
def vae(folder):
    model = {"kind": "spectral", "cepstra": 3, "differences": 1, "mel_bands": 8}
    model |= {"width": 8, "depth": 1}
    crops = {"rows": 2, "crop_s": 0.2}
    values = {"kind": "autoencoder", "model": model, "crops": crops, "run": RUN}
    values |= {"generator_optim": OPTIM, "losses": {"reconstruction": {"kind": "spectral"}}}
    trained("vae", folder, values | {"waveforms": str(folder / "packed"), "valid_batches": 1})
    return folder / "vae" / "vae.safetensors"


@pytest.fixture(scope="module")
def latents(folder, vae):
    target = ["-o", str(folder / "latents"), "--vae", str(vae)]
    assert run(["data", "encode", str(folder / "packed"), *target]) == 0
    return folder / "latents"


@pytest.fixture(scope="module")
def dit(folder, latents):
    model = {"latent_channels": 4, "width": 16, "depth": 2, "heads": 2, "text_width": 384}
    batch = {"seconds": 4.0, "duration_s": [0.3, 0.6]}
    stage = {
        "data": {"latents": str(latents), "spread": 0.0, "batch": batch},
        "run": RUN,
        "optim": OPTIM,
    }
    values = {
        "model": model | {"patch_size": 2, "adaln": {"kind": "sola", "rank": 2}},
        "text": {"kind": "minilm"},
        "stages": {"align": stage},
    }
    trained("dit", folder, values)
    return folder / "dit" / "dit.safetensors"


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_log_of_an_autoencoder_names_its_losses(folder, vae):
    log = lines(folder / "vae" / "log.jsonl")
    assert {"log_mel", "divergence", "gradient_norm", "latent_std"} <= set(log[0])
    assert not {"discriminator", "adversarial"} & set(log[0])
    assert any({"valid_loss", "valid_log_mel"} <= set(line) for line in log)
    assert all(np.isfinite(value) for line in log for value in line.values())


def test_latents_of_the_training_split_are_normalised_per_channel(latents):
    from ezaudio.data.latents import LatentStore

    store = LatentStore(latents, spread=0.0)
    generator = torch.Generator().manual_seed(0)
    train = [i for i, row in enumerate(store.rows) if row.split == "train"]
    values = torch.cat([store.sample(i, generator) for i in train])
    torch.testing.assert_close(values.mean(0), torch.zeros(4), atol=0.01, rtol=0)
    torch.testing.assert_close(values.std(0), torch.ones(4), atol=0.02, rtol=0)


def test_a_diffusion_run_saves_its_average_and_validation_loss(folder, dit):
    loaded = load_module(dit)
    assert loaded.kind == "dit" and loaded.extra["step"] == 3
    log = lines(folder / "dit" / "log.jsonl")
    assert any("valid_loss" in line for line in log)
    assert 0.3 < log[0]["loss"] < 3


def test_a_bundle_has_weights_settings_list_and_attributions(folder, vae, latents, dit):
    settings = folder / "settings.json"
    settings.write_text(json.dumps({"format": 1, "name": "small", "licence": "CC-BY-4.0"}))
    target = folder / "bundle"
    parts = [folder / "clips.csv", vae, latents, dit, settings, target]
    main(["bundle", *map(str, parts)])
    model = json.loads((target / "model.json").read_text())
    assert model["dit"] == "dit.safetensors" and model["name"] == "small"
    with (target / "clips.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert len(listed) == 6 and all(len(row["sha256"]) == 64 for row in listed)
    attributions = (target / "ATTRIBUTIONS.md").read_text()
    assert "author 0" in attributions and "author 5" not in attributions  # 5 is validation only
    statistics = json.loads((latents / "index.json").read_text())
    shift = load_module(target / "vae.safetensors").tensors["latent_shift"]
    assert shift[:, 0].tolist() == pytest.approx(statistics["shift"], abs=1e-6)
    halves = load_module(target / "dit.safetensors").tensors
    assert {t.dtype for t in halves.values() if t.ndim >= 2} == {torch.float16}


def test_an_unknown_step_names_the_allowed_ones():
    from ezaudio.errors import InputError

    with pytest.raises(InputError, match=r"bundle MANIFEST\.csv"):
        main(["paint"])
