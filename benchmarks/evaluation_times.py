"""How long scoring takes: the Fréchet distance, a set from cached features, a cold clip by stage.

    python benchmarks/evaluation_times.py distance
    python benchmarks/evaluation_times.py cached --clips 900 --seconds 10
    python benchmarks/evaluation_times.py cold --clips 20 --seconds 10

`distance` times the distance of two sets of 882 clips in 2048 dimensions, and the matrix root that
it replaces. `cached` and `cold` write noise to a folder, score it against other noise, and read the
time of each stage from the results. `cached` fills the cache with random features of the right size
under the paper's protocol and times the second run. `cold` listens; under the paper's protocol with
PANNs of random weights, which take as long as trained ones, and without CLAP.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ezaudio.audio import write_audio
from ezaudio.evaluation import feature_store
from ezaudio.evaluation.cache import FeatureCache
from ezaudio.evaluation.clips import ClipSet, Item, read_folder
from ezaudio.evaluation.extractors import EXTRACTORS, FeatureExtractor, tensor_extractor
from ezaudio.evaluation.metrics.frechet import frechet_distance
from ezaudio.evaluation.protocol import PROTOCOLS
from ezaudio.evaluation.run import Setup, evaluate
from ezaudio.evaluation.systems.base import GenerationPlan
from ezaudio.evaluation.systems.folder import FolderConfig
from ezaudio.extractors.panns import CNN14_16K

RATE = 24_000
PAPER = "ezaudio-2409.10819"


def cpu_and_wall(function, *arguments) -> tuple[object, float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    result = function(*arguments)
    return result, time.process_time() - cpu, time.perf_counter() - wall


def distance(count: int = 882, width: int = 2048) -> None:
    from scipy.linalg import sqrtm

    generator = np.random.default_rng(0)
    a, b = (generator.standard_normal((count, width)).astype(np.float32) for _ in range(2))

    def with_root() -> float:
        one, two = (np.cov(x.astype(np.float64), rowvar=False) for x in (a, b))
        means = ((a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)) ** 2).sum()
        return float(means + np.trace(one + two) - 2 * np.trace(np.real(sqrtm(one @ two))))

    for name, function in (("nuclear norm", lambda: frechet_distance(a, b)), ("root", with_root)):
        value, cpu, wall = cpu_and_wall(function)
        print(f"{name}: FD {value:.4f}, {cpu:.2f} s of CPU, {wall:.2f} s")


def noise_folder(folder: Path, count: int, seconds: float, seed: int) -> ClipSet:
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for index in range(count):
        wave = generator.uniform(-0.3, 0.3, round(seconds * RATE)).astype(np.float32)
        write_audio(folder / f"clip-{index:04}.wav", wave, RATE)
    items = [Item(i.name, "noise", duration_s=seconds) for i in read_folder(folder).items]
    return ClipSet(folder.name, tuple(items), tuple(folder / f"{i.name}.wav" for i in items))


def untrained_panns(_: Path | None) -> FeatureExtractor:
    """PANNs Cnn14 of random weights."""
    torch.manual_seed(0)
    network = CNN14_16K.build()

    def heard(wave: torch.Tensor) -> dict[str, torch.Tensor]:
        found = network(wave)
        return {"features": found.features, "logits": found.logits}

    return tensor_extractor("panns-16k", "random", CNN14_16K.sample_rate, heard)


def random_features(name: str, rate: int) -> FeatureExtractor:
    """An extractor that needs no time; its arrays are as large as a real one's, and all differ."""
    generator = np.random.default_rng(0)

    def extract(samples, _):
        sizes = {"features": 2048, "logits": 527, "audio": 512}
        return {n: generator.standard_normal(s).astype(np.float32) for n, s in sizes.items()}

    def read(captions):
        return np.random.default_rng(1).standard_normal((len(captions), 512)).astype(np.float32)

    return FeatureExtractor(name, "random", rate, extract, embed_text=read)


def scored(folder: Path, protocol: str, count: int, seconds: float, times: int) -> None:
    real = noise_folder(folder / "real", count, seconds, 0)
    made = noise_folder(folder / "made", count, seconds, 1)
    system = FolderConfig(name="made", folder=folder / "made").build()
    setup = Setup(PROTOCOLS[protocol], folder, folder / "features.sqlite", reference=real)
    for number in range(times):
        if times > 1:  # what is loaded for the first run does not matter
            feature_store.load_sound = lambda *_: np.zeros(64, np.float32)
        results, cpu, wall = cpu_and_wall(evaluate, [system], GenerationPlan(made.items), setup)
        rows = len(results.rows)
        print(f"run {number + 1}: {rows} rows of {count} clips, {cpu:.1f} s of CPU, {wall:.1f} s")
        heard = 6 * count  # clips, recordings, and the four anchors, of which one is recordings
        for stage, spent in sorted(results.seconds.items(), key=lambda pair: -pair[1]):
            print(f"  {stage}: {spent:.2f} s, {1000 * spent / heard:.2f} ms a sound")
    FeatureCache(setup.cache).close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("distance", "cached", "cold"))
    parser.add_argument("--protocol", default="starter", choices=("starter", PAPER))
    parser.add_argument("--clips", type=int, default=900)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    if options.what == "distance":
        distance()
        return
    cached = options.what == "cached"
    protocol = PAPER if cached else options.protocol
    EXTRACTORS["panns-16k"] = (
        (lambda _: random_features("panns-16k", 16_000)) if cached else untrained_panns
    )
    EXTRACTORS["clap-general"] = lambda _: random_features("clap-general", 48_000)
    with tempfile.TemporaryDirectory() as folder:
        times = 2 if cached else 1
        scored(Path(folder), protocol, options.clips, options.seconds, times)


if __name__ == "__main__":
    main()
