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
from ezaudio.pipelines import EzAudio
from ezaudio.pipelines.catalogue import read_card

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
    model = {"kind": "oobleck", "latent_channels": 4, "base_width": 2}
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


@pytest.fixture
def bundled(folder, dit, tmp_path):
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"name": "small", "defaults": {"steps": 2}}))
    target = tmp_path / "models" / "bundle"
    command = ["bundle", str(dit.parent), "-o", str(target), "--settings", str(settings)]
    command += ["--licence", "CC-BY-4.0", "--clips", str(folder / "clips.csv")]
    assert run([*command, "--note", "They were cut."]) == 0
    return target


def test_a_bundle_has_weights_settings_list_and_attributions(latents, bundled):
    model = read_card(bundled)
    assert (model.name, model.licence) == ("small", "CC-BY-4.0")
    assert model.defaults == {"steps": 2} and model.text["kind"] == "minilm"
    with (bundled / "clips.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert len(listed) == 6 and all(len(row["sha256"]) == 64 for row in listed)
    attributions = (bundled / "ATTRIBUTIONS.md").read_text()
    assert "author 0" in attributions and "author 5" not in attributions  # 5 is validation only
    assert "small was trained on 4 recordings" in attributions and "They were cut." in attributions
    assert "starter" not in attributions.lower()
    statistics = json.loads((latents / "index.json").read_text())
    shift = load_module(bundled / "vae.safetensors").tensors["latent_shift"]
    assert shift[:, 0].tolist() == pytest.approx(statistics["shift"], abs=1e-6)
    network = load_module(bundled / "dit.safetensors")
    assert network.extra["latents"]["shift"] == pytest.approx(statistics["shift"], abs=1e-6)
    assert {t.dtype for t in network.tensors.values() if t.ndim >= 2} == {torch.float16}
    assert EzAudio.from_pretrained(bundled).generate("a low tone", duration_s=0.2, num=1)


def test_a_complete_run_is_a_model_of_its_own(dit):
    model = EzAudio.from_pretrained(dit.parent, device="cpu")
    sound = model.generate("a low tone", steps=1, seed=0).items[0]
    assert sound.clip.samples.shape == (round(0.6 * 24_000),)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--clips", "nowhere.csv"], "nowhere.csv"),
        (["--settings", "nowhere.json"], "nowhere.json"),
        (["--vae", "nowhere"], "`--vae`: got 'nowhere'"),
        (["--about", "nowhere.md"], "nowhere.md"),
        (["--licence", "x", "--clips", "lost.csv"], "gone.wav"),
    ],
)
def test_a_bundle_that_cannot_be_leaves_nothing(dit, tmp_path, monkeypatch, capsys, changes, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lost.csv").write_text("file,split\ngone.wav,train\n")
    assert run(["bundle", str(dit.parent), "-o", "made/mine", *changes]) in (1, 2)
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.rglob("*.safetensors")) and not list(tmp_path.rglob("*.part"))


def test_a_bundle_does_not_replace_what_is_there(dit, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("keep")
    assert run(["bundle", str(dit.parent), "-o", str(tmp_path / "mine")]) == 2
    assert "a new or empty folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["note.txt"]
