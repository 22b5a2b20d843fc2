"""What a manifest or a store holds, in numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ezaudio.data.checks import read_quarantine
from ezaudio.data.clips import ClipRow
from ezaudio.data.latents import KIND as LATENTS
from ezaudio.data.latents import LatentStore
from ezaudio.data.shards import FORMAT, INDEX, QUARANTINE, TABLE
from ezaudio.data.sounds import SoundFiles
from ezaudio.data.tables import numbers, read_table
from ezaudio.data.texts import KIND as TEXTS
from ezaudio.data.texts import TextStore
from ezaudio.data.waveforms import KIND as WAVEFORMS
from ezaudio.data.waveforms import WaveformStore
from ezaudio.errors import InputError

_PERCENTILES = (0, 5, 50, 95, 100)
_MOST_NAMED = 10


def of_rows(rows: Sequence[ClipRow], root: Path | None = None) -> dict[str, Any]:
    """Count clips, seconds, labels, licences, wordings.

    Args:
        rows: The clips.
        root: Folder of their files, whose headers tell a length that a row does not; None leaves it
            unknown, and says so.
    """
    files = None if root is None else SoundFiles(root)
    told = [row.duration or (0.0 if files is None else files.duration(row)) for row in rows]
    seconds = np.asarray([length for length in told if length])
    labels = Counter(row.label for row in rows if row.label and row.scene == "single")
    captions = [text for row in rows for text in row.all_captions]
    return {
        "clips": len(rows),
        "hours": round(float(seconds.sum()) / 3600, 3),
        **({"clips_of_unknown_length": unknown} if (unknown := len(told) - len(seconds)) else {}),
        "seconds_percentiles": _percentiles(seconds),
        "splits": _counted(row.split for row in rows),
        "labels": len(labels),
        "labels_with_one_clip": sum(count == 1 for count in labels.values()),
        "labels_with_10_clips": sum(count >= 10 for count in labels.values()),
        "most_frequent_labels": dict(labels.most_common(_MOST_NAMED)),
        "captions": len(captions),
        "different_captions": len(set(captions)),
        "scenes": _counted(row.scene for row in rows),
        "licences": _counted(row.license or "not stated" for row in rows),
    }


def of_store(folder: Path) -> dict[str, Any]:
    """Describe a folder of waveforms, latents or token vectors.

    Raises:
        InputError: The folder is no complete store.
        CheckpointError: Its table cannot be read.
    """
    describe = {WAVEFORMS: _waveforms, LATENTS: _latents, TEXTS: _texts}
    kind = _kind_of(folder)
    shards = sorted(folder.glob("shard-*.tar"))
    size = sum(shard.stat().st_size for shard in shards)
    room = {"shards": len(shards), "gigabytes": round(size / 1e9, 4)}
    return {"kind": kind, **room, **describe[kind](folder), **_left_out(folder)}


def is_store(path: Path) -> bool:
    """Whether a path is a folder that packing or encoding completed."""
    return (path / INDEX).is_file()


def _waveforms(folder: Path) -> dict[str, Any]:
    store, table = WaveformStore(folder), read_table(folder / TABLE)
    return {
        "sample_rate": store.sample_rate,
        "audio": store.audio,
        **of_rows(store.rows),
        "peak_db_percentiles": _percentiles(numbers(table, "peak_db")),
        "bandwidth_hz_percentiles": _percentiles(numbers(table, "bandwidth_hz")),
        "clips_with_clipping": int((numbers(table, "clipped_share") > 0).sum()),
    }


def _latents(folder: Path) -> dict[str, Any]:
    store = LatentStore(folder)
    frames = int(numbers(read_table(folder / TABLE), "frames").sum())
    values = {
        "frame_rate": store.frame_rate,
        "channels": store.channels,
        "frames": frames,
        "std": store.has_std,
        "channel_scale_percentiles": _percentiles(store.scale.numpy()),
    }
    return values | of_rows(store.rows)


def _texts(folder: Path) -> dict[str, Any]:
    store = TextStore(folder)
    tokens = numbers(read_table(folder / TABLE), "tokens")
    return {
        "encoder": store.name,
        "width": store.width,
        "prompts": len(store),
        "tokens_percentiles": _percentiles(tokens),
    }


def _left_out(folder: Path) -> dict[str, Any]:
    path = folder / QUARANTINE
    if not path.exists():
        return {}
    return {"quarantine": _counted(entry.reason for entry in read_quarantine(path))}


def _kind_of(folder: Path) -> str:
    try:
        head = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if head["format"] == FORMAT and head["kind"] in (WAVEFORMS, LATENTS, TEXTS):
            return str(head["kind"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise InputError("source", str(folder), "a folder that `ezaudio data` packed or encoded")


def _counted(values: Any) -> Mapping[str, int]:
    return dict(Counter(values).most_common())


def _percentiles(values: Any) -> dict[str, float]:
    if not len(values):
        return {}
    found = np.percentile(values, _PERCENTILES)
    return {f"{p}%": round(float(v), 4) for p, v in zip(_PERCENTILES, found, strict=True)}
