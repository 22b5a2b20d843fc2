"""All clips of a manifest at one sample rate, in shards, with random access."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ezaudio.data.clips import ClipRow
from ezaudio.data.shards import TABLE, TarFiles, read_head
from ezaudio.data.sounds import decode
from ezaudio.data.tables import RowTable, numbers, read_table
from ezaudio.errors import AudioFileError

KIND = "waveforms"
_PCM = 32768.0
_BYTES_PER_SAMPLE = 2


class WaveformStore:
    """Random access to packed clips.

    WAV shards are read where a crop lies; FLAC shards take half the room, and a clip is decoded
    whole. Both hold 16 bits a sample.

    Args:
        folder: As `ezaudio.data.pack` writes it.

    Raises:
        InputError: The folder is no complete store.
        CheckpointError: Its table cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        head = read_head(folder, KIND)
        self.folder = folder
        self.sample_rate: int = head["sample_rate"]
        self.audio: str = head["audio"]
        table = read_table(folder / TABLE)
        self.rows = RowTable(table)
        self._shards, self._offsets, self._bytes, self._samples = (
            numbers(table, name) for name in ("shard", "offset", "bytes", "samples")
        )
        self._hashes: list[str] = table.column("audio_sha256").to_pylist()
        self._files = TarFiles(folder, head["shards"])

    def __len__(self) -> int:
        return len(self.rows)

    def length(self, index: int) -> int:
        """Samples in a clip."""
        return int(self._samples[index])

    def content(self, index: int) -> str:
        """Hash of a clip's samples: what is made of them is stale when it changes."""
        return self._hashes[index]

    def takes(self, split: str) -> Mapping[str, Sequence[int]]:
        """Clips (numbers) of each label of a split."""
        return self.rows.takes(split)  # type: ignore[return-value]

    def read(self, index: int, start: int = 0, samples: int | None = None) -> NDArray[np.float32]:
        """Read a part of a clip as float32 in [-1, 1], (S,); shorter than asked for at its end.

        Raises:
            AudioFileError: The shard is missing or damaged.
        """
        length = self.length(index)
        stop = length if samples is None else min(start + samples, length)
        shard, size = int(self._shards[index]), int(self._bytes[index])
        offset = int(self._offsets[index])
        if self.audio == "wav":
            begin = offset + size - _BYTES_PER_SAMPLE * (length - start)
            content = self._files.read(shard, begin, _BYTES_PER_SAMPLE * (stop - start))
            return np.frombuffer(content, "<i2").astype(np.float32) / np.float32(_PCM)
        name = f"{self._files.names[shard]}:{self.rows[index].file}"
        content = self._files.read(shard, offset, size)
        decoded = decode(content, f"{name}.{self.audio}").samples
        if len(decoded) != length:
            raise AudioFileError(f"{name}: {len(decoded)} samples, {length} were packed")
        return decoded[start:stop]

    @classmethod
    def pack(
        cls, rows: Sequence[ClipRow], root: Path, folder: Path, sample_rate: int
    ) -> WaveformStore:
        """Pack every readable recording of a manifest as WAV, in this process, and open the store.

        `ezaudio.data.pack.pack_clips` has the choices, and the errors.
        """
        from ezaudio.data.checks import LENIENT
        from ezaudio.data.pack import PackConfig, pack_clips

        settings = PackConfig(sample_rate=sample_rate, audio="wav", check=LENIENT)
        pack_clips(rows, root, folder, settings)
        return cls(folder)
