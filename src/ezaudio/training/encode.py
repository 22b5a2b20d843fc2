"""Encode recordings once, to latents in shards.

The posterior's mean and standard deviation are kept, so training can still sample it. Clips are
trimmed to where they sound and brought to one peak level first. Work is shared and resumed by
shard, as `ezaudio.data.pack` does it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from ezaudio.checkpoints import sha256_file, write_bytes
from ezaudio.config import Config
from ezaudio.data.checks import Quarantined, write_quarantine
from ezaudio.data.latents import KIND, SILENCE, npy
from ezaudio.data.levels import trim_and_level
from ezaudio.data.manifest import ClipRow
from ezaudio.data.mixing import MixConfig, Mixer
from ezaudio.data.shards import (
    QUARANTINE,
    TABLE,
    Part,
    fingerprint,
    finished,
    make_folder,
    new_shard,
    refuse_other,
    table_path,
    tar_path,
    write_head,
)
from ezaudio.data.tables import (
    numbers,
    read_facts,
    read_table,
    write_joined,
    write_table,
)
from ezaudio.data.waveforms import WaveformStore
from ezaudio.data.work import in_order
from ezaudio.errors import AudioFileError, InputError
from ezaudio.vae import Autoencoder
from ezaudio.vae.load import load_vae

_SILENCE_S = 3.0


class EncodeConfig(Config):
    """How clips are encoded.

    Attributes:
        trim: Cut silence at both ends and scale the peak to 0.8 first.
        std: Keep the posterior's standard deviation beside its mean; twice the room.
        batch_s: Sound that is encoded at once, at most; only clips of one length share a batch.
        clips_per_shard: Clips in a shard.
        mixes: Scenes of several clips that are made and encoded, too.
    """

    trim: bool = True
    std: bool = True
    batch_s: float = Field(40.0, gt=0)
    clips_per_shard: int = Field(1000, ge=1)
    mixes: MixConfig = MixConfig()


@dataclass(frozen=True)
class Encoded:
    """What encoding did.

    Attributes:
        clips: In the store, mixes included; 0 while other parts are missing.
        frames: Of latents.
        quarantined: Clips left out.
        missing_shards: Shards that another part has yet to make.
    """

    clips: int
    frames: int
    quarantined: tuple[Quarantined, ...] = ()
    missing_shards: int = 0


class _Item(NamedTuple):
    row: ClipRow
    samples: NDArray[np.float32]
    fault: str = ""


def load_autoencoder(path: Path, device: str = "cpu") -> tuple[Autoencoder, str]:
    """Load an autoencoder checkpoint for encoding, and give its hash.

    Raises:
        CheckpointError: The file is damaged or no autoencoder.
    """
    return load_vae(path, device=device), sha256_file(path)


class LatentEncoder:
    """Encodes the clips of a waveform store, and mixes of them, into a folder.

    Args:
        store: Of the waveforms.
        vae: Autoencoder; its device is used.
        config: How.
        source: Which autoencoder it is (a hash); part of what makes a shard the same.
    """

    def __init__(
        self, store: WaveformStore, vae: Autoencoder, config: EncodeConfig, *, source: str = ""
    ) -> None:
        self.store, self.vae, self.config, self.source = store, vae, config, source
        self._mixer = Mixer(store, config.mixes) if config.mixes.count else None
        size = config.clips_per_shard
        self.chunks: list[Sequence[int]] = []
        for total, offset in ((len(store), 0), (config.mixes.count, len(store))):
            parts = range(offset, offset + total)
            self.chunks += [parts[i : i + size] for i in range(0, total, size)]

    def marks(self) -> list[str]:
        """What each shard is made from."""
        settings = self.config.model_dump(mode="json", exclude={"batch_s"})
        names = [[self.store.rows[i].file for i in c if i < len(self.store)] for c in self.chunks]
        return [
            fingerprint(self.source, settings, chunk[0], len(chunk), files)
            for chunk, files in zip(self.chunks, names, strict=True)
        ]

    def item(self, index: int) -> _Item:
        """A clip, or a mix, ready to be encoded."""
        nothing = np.zeros(0, np.float32)
        try:
            if index >= len(self.store):
                assert self._mixer is not None
                mixed = self._mixer.mix(index - len(self.store))
                return _Item(mixed.row, mixed.samples)
            samples, row = self.store.read(index), self.store.rows[index]
        except AudioFileError as error:
            name = f"mix/{index - len(self.store):06d}"
            row = self.store.rows[index] if index < len(self.store) else ClipRow(file=name)
            return _Item(row, nothing, str(error))
        if self.config.trim:
            samples = trim_and_level(samples, self.store.sample_rate)
        seconds = round(len(samples) / self.store.sample_rate, 4)
        return _Item(row.model_copy(update={"duration": seconds}), samples)

    def latents(self, sounds: Sequence[NDArray[np.float32]]) -> dict[int, NDArray[np.float16]]:
        """Encode sounds in batches of one length: place to (T, 2 C), or (T, C) without `std`."""
        alike: dict[int, list[int]] = defaultdict(list)
        for place, sound in enumerate(sounds):
            if len(sound):
                alike[self.vae.frames(len(sound))].append(place)
        found: dict[int, NDArray[np.float16]] = {}
        for frames, places in alike.items():
            samples = frames * self.vae.hop_samples
            size = max(1, int(self.config.batch_s * self.store.sample_rate / samples))
            for begin in range(0, len(places), size):
                batch = places[begin : begin + size]
                padded = [np.pad(sounds[p], (0, samples - len(sounds[p]))) for p in batch]
                encoded = encode(self.vae, np.stack(padded), std=self.config.std)
                found |= dict(zip(batch, encoded, strict=True))
        return found


def encode_latents(
    encoder: LatentEncoder,
    folder: Path,
    *,
    part: Part | None = None,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Encoded:
    """Encode a store of waveforms, or go on where an earlier run stopped.

    Args:
        encoder: What is encoded, and how.
        folder: Where the store of latents goes.
        part: Which shards are made here; all of them when left out.
        workers: Threads that read.
        progress: Called with the number of clips done.

    Raises:
        InputError: The folder holds a store of other clips or settings.
        OutputError: The folder cannot be written.
    """
    make_folder(folder)
    marks, mine, tell = encoder.marks(), part or Part(), progress or (lambda _: None)
    refuse_other(folder, KIND, marks)
    for number, chunk in enumerate(encoder.chunks):
        if mine.has(number) and not finished(folder, number, marks[number]):
            items = list(in_order(encoder.item, chunk, workers=workers))
            _write_shard(encoder, folder, number, items, marks[number])
        if mine.has(number):
            tell(len(chunk))
    missing = [n for n, mark in enumerate(marks) if not finished(folder, n, mark)]
    if missing:
        return Encoded(0, 0, missing_shards=len(missing))
    return _join(encoder, folder, marks)


def _write_shard(
    encoder: LatentEncoder, folder: Path, number: int, items: Sequence[_Item], mark: str
) -> None:
    channels = encoder.vae.latent_channels
    faults = [(item.row.file, "unreadable", item.fault) for item in items if item.fault]
    rows: list[ClipRow] = []
    columns: dict[str, list[int]] = {"shard": [], "offset": [], "frames": []}
    sums = _Sums(channels)
    path = table_path(folder, number)
    path.unlink(missing_ok=True)
    latents = encoder.latents([item.samples for item in items])
    with new_shard(tar_path(folder, number)) as tar:
        for place, values in sorted(latents.items()):
            row = items[place].row
            if not np.isfinite(values).all():
                faults.append((row.file, "unreadable", "its latent is not finite"))
                continue
            content, begin = npy(values)
            key = f"{number:06d}{place:06d}"
            offset = tar.add(f"{key}.npy", content) + begin
            tar.add(f"{key}.json", row.model_dump_json(exclude_defaults=True).encode())
            for name, value in (("shard", number), ("offset", offset), ("frames", len(values))):
                columns[name].append(value)
            rows.append(row)
            if row.split == "train" and row.scene == "single":
                sums.add(values[:, :channels])
    facts = {"mark": mark, "quarantined": faults, **sums.facts()}
    write_table(path, rows, columns, facts=facts)


def _join(encoder: LatentEncoder, folder: Path, marks: Sequence[str]) -> Encoded:
    """Complete a store: one table, silence, statistics over all shards."""
    paths = [table_path(folder, number) for number in range(len(marks))]
    facts = [read_facts(path) for path in paths]
    tables = [read_table(path) for path in paths]
    quarantined = tuple(Quarantined(*entry) for each in facts for entry in each["quarantined"])
    clips = sum(table.num_rows for table in tables)
    if not clips:
        raise InputError("waveforms", str(encoder.store.folder), "a store with a readable clip")
    shift, scale = _Sums.joined(facts, encoder.vae.latent_channels)
    rate, config = encoder.store.sample_rate, encoder.config
    (silence,) = encode(encoder.vae, np.zeros((1, round(_SILENCE_S * rate))), std=config.std)
    write_bytes(folder / SILENCE, npy(silence)[0])
    write_quarantine(folder / QUARANTINE, quarantined)
    write_joined(folder / TABLE, tables, facts={})
    frames = sum(int(numbers(table, "frames").sum()) for table in tables if table.num_rows)
    head: dict[str, Any] = {
        "frame_rate": rate / encoder.vae.hop_samples,
        "channels": encoder.vae.latent_channels,
        "std": config.std,
        "shift": shift,
        "scale": scale,
        "autoencoder": encoder.source,
        "clips": clips,
        "frames": frames,
        "shards": [tar_path(folder, number).name for number in range(len(marks))],
        "marks": list(marks),
    }
    write_head(folder, KIND, head)
    return Encoded(clips, frames, quarantined)


class _Sums:
    """Sums of raw latent means over the training split, for the statistics of each channel."""

    def __init__(self, channels: int) -> None:
        self.sums, self.squares, self.count = np.zeros(channels), np.zeros(channels), 0

    def add(self, mean: NDArray[np.float16]) -> None:
        """Count frames (T, C) in."""
        values = mean.astype(np.float64)
        self.sums += values.sum(0)
        self.squares += np.square(values).sum(0)
        self.count += len(values)

    def facts(self) -> dict[str, Any]:
        """What a shard's table keeps."""
        return {"sums": self.sums.tolist(), "squares": self.squares.tolist(), "count": self.count}

    @staticmethod
    def joined(facts: Sequence[dict[str, Any]], channels: int) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel; 0 and 1 without a training split."""
        count = sum(each["count"] for each in facts)
        if not count:
            return [0.0] * channels, [1.0] * channels
        mean = np.sum([each["sums"] for each in facts], 0) / count
        square = np.sum([each["squares"] for each in facts], 0) / count
        deviation = np.sqrt(np.maximum(square - mean**2, 1e-12))
        return mean.tolist(), deviation.tolist()


@torch.inference_mode()
def encode(vae: Autoencoder, waves: NDArray[Any], *, std: bool) -> NDArray[np.float16]:
    """Encode waveforms (B, S) on the autoencoder's device: float16 (B, T, 2 C) or (B, T, C).

    The mean comes first, then, with `std`, the standard deviation; raw values in the autoencoder's
    own units, also where it has the statistics of an earlier store and would normalise by them.
    """
    device = next(vae.parameters()).device
    posterior = vae.encode(torch.from_numpy(waves.astype(np.float32))[:, None].to(device))
    mean = posterior.mean * vae.latent_scale + vae.latent_shift
    parts = (mean, posterior.std * vae.latent_scale) if std else (mean,)
    values: NDArray[np.float16] = torch.cat(parts, 1).transpose(1, 2).half().cpu().numpy()
    return values
