"""Encode every clip once.

Clips are trimmed to where they sound and brought to one peak level before they are encoded, so a
model that learns from them generates sounds that begin at once and are loud enough. The statistics
of each channel are kept with the latents; `ezaudio.training.bundle` writes them into the
autoencoder, which from then on speaks in normalised latents.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ezaudio.checkpoints import load_module
from ezaudio.config import load_config
from ezaudio.data.waveforms import WaveformStore
from ezaudio.vae import VAE_FAMILIES
from ezaudio.vae.model import Autoencoder

PEAK = 0.8
AUDIBLE_DB = -45.0
MARGIN_S = 0.02
SILENCE_S = 3.0


def trim_and_level(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Cut silence at both ends (below -45 dB re peak, 20 ms kept) and scale the peak to 0.8: (S,)
    -> (S',).
    """
    magnitude = np.abs(samples)
    peak = float(magnitude.max(initial=0.0))
    if peak < 1e-4:
        return samples
    loud = np.flatnonzero(magnitude > peak * 10 ** (AUDIBLE_DB / 20))
    margin = round(MARGIN_S * sample_rate)
    return samples[max(0, loud[0] - margin) : loud[-1] + margin] * np.float32(PEAK / peak)


@torch.inference_mode()
def encode_store(store: WaveformStore, vae: Autoencoder, folder: Path) -> None:
    """Encode every clip, and silence, and write them with the statistics of each channel.

    Writes `mean.f16` and `std.f16`, each (frames, C) in raw latent units, and `index.json` with
    offsets, rows, `shift` and `scale` (C) over the training split.
    """
    folder.mkdir(parents=True, exist_ok=True)
    offsets, sums, squares, count = [0], 0.0, 0.0, 0
    with (folder / "mean.f16").open("wb") as means, (folder / "std.f16").open("wb") as stds:
        for index in range(len(store) + 1):
            if index < len(store):
                samples = trim_and_level(store.read(index), store.sample_rate)
            else:  # the last entry is silence, for the gaps between takes
                samples = np.zeros(round(SILENCE_S * store.sample_rate), np.float32)
            posterior = vae.encode(torch.from_numpy(samples)[None, None])
            mean, std = (x[0].T.half().numpy() for x in (posterior.mean, posterior.std))  # (T, C)
            means.write(mean.tobytes())
            stds.write(std.tobytes())
            offsets.append(offsets[-1] + len(mean))
            if index < len(store) and store.rows[index].split == "train":
                values = mean.astype(np.float64)
                sums, squares, count = (
                    sums + values.sum(0),
                    squares + (values**2).sum(0),
                    count + len(values),
                )
    shift = sums / count
    scale = np.sqrt(squares / count - shift**2)
    index_json = {
        "frame_rate": store.sample_rate / vae.hop_samples,
        "offsets": offsets,
        "rows": [row.model_dump() for row in store.rows],
        "shift": np.asarray(shift).tolist(),
        "scale": np.asarray(scale).tolist(),
    }
    (folder / "index.json").write_text(json.dumps(index_json))


def encode_clips(waveforms: Path, checkpoint: Path, folder: Path) -> None:
    """Encode a waveform store with an autoencoder checkpoint."""
    loaded = load_module(checkpoint, kind="vae")
    vae = load_config(VAE_FAMILIES[loaded.config["kind"]], loaded.config).build()
    vae.load_state_dict(loaded.tensors)
    encode_store(WaveformStore(waveforms), vae.eval(), folder)
