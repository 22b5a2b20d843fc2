"""How far do an autoencoder's reconstructions lie from the originals, beside Ogg Opus?

Every clip of a split is passed through the autoencoder (mean of the posterior) and through Opus at
6, 12 and 24 kbit/s; the distances of `ezaudio.audio_distance` are averaged over clips.

    python benchmarks/autoencoder_against_opus.py --waveforms data/packed --model starter
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from judge.clips import opus_way

from ezaudio.audio_distance import Distances, distances
from ezaudio.data.waveforms import WaveformStore
from ezaudio.pipelines.reconstruct import load_autoencoder
from ezaudio.vae import Autoencoder

BITRATES = (6.0, 12.0, 24.0)


def through_autoencoder(vae: Autoencoder) -> Callable[[np.ndarray], np.ndarray]:
    """A function that encodes and decodes a sound (S,)."""

    @torch.inference_mode()
    def way(sound: np.ndarray) -> np.ndarray:
        latent = vae.encode(torch.from_numpy(sound)[None, None]).mode
        return vae.decode(latent)[0, 0, : len(sound)].numpy()

    return way


def main() -> int:
    """Print a table, or JSON with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--waveforms", type=Path, required=True, help="folder made by `pack`")
    parser.add_argument("--model", default="starter", help="name or folder of a model")
    parser.add_argument("--split", default="valid")
    parser.add_argument("--every", type=int, default=1, help="take every n-th clip only")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    vae, _ = load_autoencoder(options.model, device="cpu")
    store = WaveformStore(options.waveforms)
    chosen = [i for i, row in enumerate(store.rows) if row.split == options.split]
    sounds = [store.read(i) for i in chosen[:: options.every]]
    rates: dict[float, list[float]] = {kbps: [] for kbps in BITRATES}
    ways = {options.model: through_autoencoder(vae)}
    ways |= {f"opus {kbps:.0f} kbit/s": opus_way(kbps, rates[kbps]) for kbps in BITRATES}

    table = {}
    for name, way in ways.items():
        found = [distances(sound, way(sound), store.sample_rate) for sound in sounds]
        table[name] = vars(Distances.mean(found))
    seconds = sum(map(len, sounds)) / store.sample_rate
    facts = {"clips": len(sounds), "seconds": round(seconds, 1), "distances": table}
    facts["measured_kbps"] = {f"{k:.0f}": round(float(np.mean(v)), 1) for k, v in rates.items()}
    if options.json:
        print(json.dumps(facts, indent=2))
        return 0
    print(f"{len(sounds)} clips of `{options.split}`, {seconds:.0f} s")
    print(f"{'':16}{'log-mel L1':>12}{'multi-res. STFT':>18}{'SI-SDR dB':>12}")
    for name, values in table.items():
        one, two, three = values.values()
        print(f"{name:16}{one:12.3f}{two:18.3f}{three:12.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
