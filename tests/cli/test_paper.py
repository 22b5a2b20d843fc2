"""The paper's way from raw recordings to its tables, scaled down."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from tests.evaluation.conftest import FAKE, fake_extractor
from tests.tiny_model import WIDTH, write_tiny_model

from ezaudio.checkpoints import load_module, save_module
from ezaudio.cli.paper import EXPERIMENTS, Wanted
from ezaudio.cli.paper_small import Small, stores_of
from ezaudio.data.clips import ClipRow
from ezaudio.data.normalisation import Normalisation
from ezaudio.evaluation.extractors import EXTRACTORS
from ezaudio.evaluation.options import EvaluationOptions
from ezaudio.evaluation.paper import TRAINED, Trained
from ezaudio.evaluation.protocol import PROTOCOLS
from ezaudio.pipelines import EzAudio
from ezaudio.pipelines.components import load_components
from ezaudio.vae import OobleckConfig

RATE = 24_000
KINDS = ("a low tone", "a high tone", "noise", "a click")


@pytest.fixture(autouse=True)
def fakes(monkeypatch, tmp_path):
    monkeypatch.setitem(EXTRACTORS, "fake", fake_extractor)
    monkeypatch.setitem(PROTOCOLS, "fake", FAKE)
    monkeypatch.setenv("EZAUDIO_CACHE", str(tmp_path / "cache"))


def sound(kind: int, take: int) -> np.ndarray:
    """A quiet sound of 0.2 to 0.4 s with silence before it."""
    time = np.arange(RATE // 5 + 1600 * (take % 4)) / RATE
    generator = np.random.default_rng(10 * kind + take)
    waves = (
        np.sin(2 * np.pi * (200 + 5 * take) * time),
        np.sin(2 * np.pi * (2000 + 50 * take) * time),
        generator.standard_normal(len(time)),
        np.exp(-80 * time) * generator.standard_normal(len(time)),
    )
    return np.concatenate([np.zeros(1200), 0.05 * waves[kind]]).astype(np.float32)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Lists as the paper has them: `audioset.csv` of everything, `audiocaps.csv` of a part."""
    folder = tmp_path_factory.mktemp("recordings")
    rows = []
    for index in range(24):
        kind, take = index % 4, index // 4
        soundfile.write(folder / f"{index}.wav", sound(kind, take), RATE)
        split = "valid" if take >= 4 else "train"
        rows.append([f"{index}.wav", split, KINDS[kind].split()[-1], f"There is {KINDS[kind]}"])
    for name, own in (("audioset", rows), ("audiocaps", [r for r in rows if r[2] == "tone"])):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["file", "split", "label", "caption"], *own])
    return folder


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory) -> Path:
    """A convolutional autoencoder of random weights."""
    config = OobleckConfig(latent_channels=4, base_width=2)
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("vae") / "own.safetensors"
    save_module(path, config.build().state_dict(), kind="vae", config=config)
    return path


TINY = (
    "output=runs/paper-l",
    "engine={device: cpu, precision: fp32}",
    "text={kind: fake}",
    "model.latent_channels=4",
    "model.width=16",
    "model.depth=2",
    "model.heads=2",
    f"model.text_width={WIDTH}",
    "model.adaln.rank=2",
    "each.data.normalise=channels",
    "each.data.encoded={trim: false, peak: 1.0, pad_s: 0.5}",
    "each.data.batch={rows: 4, duration_s: [0.5, 0.5], fill: silence, prompts: captions}",
    "each.compute={}",
    "each.averages={half_lives: [2], every: 1}",
    "each.valid={batches: 1, levels: 2}",
    "each.listen={prompts: [a click], duration_s: 0.5, steps: 1}",
    "stages.mask.data.latents=latents/audioset",
    "stages.align.data.latents=latents/audioset",
    "stages.tune.data.latents=latents/audiocaps",
    *(
        f"stages.{stage}.run={{steps: 4, save_every: 2, log_every: 1, keep_last: 9, "
        "listen_every: 4, tensorboard: false}"
        for stage in ("mask", "align", "tune")
    ),
)


SETTINGS = tuple(word for setting in TINY for word in ("--set", setting))


def test_a_scaled_down_paper_l_goes_from_raw_recordings_to_scores_with_its_own_statistics(
    ezaudio, recordings, autoencoder, tmp_path
):
    for name in ("audioset", "audiocaps"):
        packed = ("data", "pack", recordings / f"{name}.csv", "-o", f"packed/{name}")
        packed += ("--set", "check.min_bandwidth_hz=0")
        assert ezaudio(*packed)[0] == 0
        theirs = ("--set", "trim=false", "--set", "peak=1.0", "--set", "pad_s=0.5")
        encoded = ("data", "encode", f"packed/{name}", "-o", f"latents/{name}", *theirs)
        assert ezaudio(*encoded, "--vae", autoencoder)[0] == 0
        assert Path(f"latents/{name}/vae.safetensors").read_bytes() == autoencoder.read_bytes()
    code, _, err = ezaudio("train", "paper-l", *SETTINGS, "-q")
    assert (code, err) == (0, "")
    assert list(Path("runs/paper-l").glob("tune/samples/*/*.wav"))

    stages = [load_module(f"runs/paper-l/{s}/dit.safetensors") for s in ("mask", "align", "tune")]
    own = [Normalisation.of_facts(stage.extra, stage.path) for stage in stages]
    measured = json.loads(Path("latents/audioset/index.json").read_text())
    expected = np.hypot(measured["scale"], measured["deviation"])
    for each in own:  # one set per model, measured where its training began
        assert each.shift.tolist() == pytest.approx(measured["shift"], rel=1e-6)
        assert each.scale.tolist() == pytest.approx(expected, rel=1e-5)

    base = write_tiny_model(tmp_path / "base")  # an autoencoder with statistics of its own
    vae = load_module(base / "vae.safetensors")
    other = {**vae.tensors, "latent_scale": torch.full((4, 1), 7.0)}
    save_module(base / "vae.safetensors", other, kind="vae", config=vae.config)
    runs = [
        {"label": "own parts", "model": "runs/paper-l/tune/checkpoints/*"},
        {"label": "parts of a base", "model": "runs/paper-l/tune", "base": str(base)},
        {"label": "a model", "model": "runs/paper-l"},
        {"label": "no run", "model": str(base)},
    ]
    Path("runs.yaml").write_text(yaml.safe_dump({"runs": runs}))
    code, _, err = ezaudio(
        "sweep", "runs.yaml", "--manifest", recordings / "audiocaps.csv", "--split", "valid",
        "--protocol", "fake", "--set", "steps=1", "--duration", "0.5", "-o", "scores", "-q",
    )  # fmt: skip
    assert (code, err) == (0, "")
    made = {path.name: path for path in Path("scores/models").iterdir()}
    assert {"own-parts-@-2", "own-parts-@-4", "parts-of-a-base"} <= set(made)
    for name, path in made.items():
        found = load_components(path, device="cpu").vae.latent_scale[:, 0].tolist()
        assert found == pytest.approx(expected, rel=1e-5), name
    drawn = Path("scores/sweep.html").read_text()
    assert "training step" in drawn  # a finished model leaves curves

    sounds = EzAudio.from_pretrained("runs/paper-l").generate("a click", steps=1, seed=0)
    assert sounds.items[0].clip.samples.shape == (RATE // 2,)


# The commands


def captioned(recordings: Path) -> Path:
    return recordings / "audioset.csv"


@pytest.fixture
def wanted(recordings, autoencoder, tmp_path, monkeypatch):
    """An experiment in small, with a small autoencoder and a fake text encoder."""
    monkeypatch.setattr("ezaudio.cli.paper_small.SECONDS", 0.5)
    monkeypatch.setattr(
        "ezaudio.cli.paper_small._ENCODED", {"trim": False, "peak": 1.0, "pad_s": 0.5}
    )

    def make(experiment: str, **changes):
        small = Small(
            tmp_path / experiment / "data", captioned(recordings), 6,
            autoencoder=str(autoencoder), text=("{kind: fake}", WIDTH),
        )  # fmt: skip
        options = EvaluationOptions(protocol="fake", limit=4)
        fields = {
            "experiment": experiment, "output": tmp_path / experiment, "options": options,
            "small": small, "train": False, "model": None, "systems": None, "device": "cpu",
            "processes": 1, "quiet": True,
        }  # fmt: skip
        return Wanted(**{**fields, **changes})

    return make


def test_a_table_of_trained_networks_is_one_command(wanted):
    job = wanted("table-2")
    paths = EXPERIMENTS["table-2"](job)
    table = next(path for path in paths if path.suffix == ".md").read_text()
    assert "| clap_threshold | pairs |" in table and "FD ↓" in table and "CLAP ↑" in table
    for threshold, pairs in (("0.35", 16), ("0.45", 4), ("0.4", 8)):
        assert f"| {threshold} | {pairs} |" in table
    assert EXPERIMENTS["table-2"](job) == paths  # what is there is not made again


def test_the_listening_test_and_table_3_come_from_the_same_sounds(wanted, folder, tmp_path):
    systems = tmp_path / "systems.yaml"
    systems.write_text(f"systems: [{{name: EzAudio-L, model: '{folder}', settings: {{steps: 1}}}}]")
    job = wanted("table-3", systems=systems)
    table = next(p for p in EXPERIMENTS["table-3"](job) if p.name == "table-3.md").read_text()
    head, _, *rows = [line for line in table.splitlines() if line.startswith("|")]
    for title in ("Model", "# Params", "Pretrain Data", "Text Encoder", "FD ↓", "paper: FD"):
        assert f"| {title} |" in head
    assert [row.split(" | ")[0].strip("| ") for row in rows][:6] == [
        "Ground Truth", "Tango", "Tango-AF", "AudioLDM", "AudioLDM-2", "Make-An-Audio",
    ]  # fmt: skip
    ours = next(row for row in rows if row.startswith("| EzAudio-L |"))
    assert "1D Transformer | 596M | Synthetic Caption | FLAN-T5 | 4 |" in ours and "15.59" in ours
    (study,) = EXPERIMENTS["figure-4"](wanted("table-3"))
    assert (study / "study.json").is_file()


def test_at_full_size_a_run_that_is_not_trained_is_named_with_its_command(ezaudio):
    code, _, err = ezaudio("paper", "table-1", "-o", "out", "-q")
    assert (code, err.count("\n")) == (2, 1)
    assert "ezaudio train table-1-wavcaps" in err
    code, _, err = ezaudio("paper", "table-9", "-o", "out")
    assert code == 2 and "figure-2, table-1, table-2, table-3, figure-3, figure-4" in err


def test_checkpoints_are_those_of_the_paper_by_their_share_of_the_run(tmp_path):
    for step in range(5, 85, 5):
        place = tmp_path / "checkpoints" / f"{step:09d}"
        place.mkdir(parents=True)
        loss = 0.3 if step == 70 else 0.1 if step == 10 else 0.5
        (place / "facts.json").write_text(json.dumps({"measured": {"valid_loss": loss}}))
    chosen = TRAINED["figure-2"].checkpoints(tmp_path)
    assert [int(path.name) for path in chosen] == [15, 40, 70]
    assert Trained(()).checkpoints(tmp_path) == []


def test_thresholds_keep_the_pairs_that_agree_best():
    rows = [ClipRow(file=str(i), label="x", caption=f"{i}") for i in range(20)]
    rows.append(ClipRow(file="v", split="valid", label="x", caption="v"))
    sets = stores_of(rows, {str(i): float(i) for i in range(20)})
    assert [row.file for row in sets["captions-045"]] == ["19", "18", "17", "16", "v"]
    assert len(sets["captions-040"]) == 11 and len(sets["captions-035"]) == 21
    assert {row.caption for row in sets["wavcaps"]} == {"x"}
