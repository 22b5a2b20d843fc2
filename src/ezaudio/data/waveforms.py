"""All clips of a manifest decoded once into one flat file of 16-bit samples, read through a memory
map.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ezaudio.audio import read_audio
from ezaudio.data.manifest import ClipRow
from ezaudio.errors import AudioFileError

PCM = 32767.0


class WaveformStore:
    """Random access to decoded clips.

    Args:
        folder: Folder with `samples.i16` and `index.json`, as `pack` writes them.
    """

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / "index.json").read_text())
        self.sample_rate: int = index["sample_rate"]
        self.rows = [ClipRow.model_validate(row) for row in index["rows"]]
        self.offsets: list[int] = index["offsets"]
        self._samples = np.memmap(folder / "samples.i16", dtype=np.int16, mode="r")

    def __len__(self) -> int:
        return len(self.rows)

    def length(self, index: int) -> int:
        """Samples in a clip."""
        return self.offsets[index + 1] - self.offsets[index]

    def read(self, index: int, start: int = 0, samples: int | None = None) -> NDArray[np.float32]:
        """Part of a clip as float32 in [-1, 1], shape (S,); shorter than asked for at the clip's
        end.
        """
        begin = self.offsets[index] + start
        end = (
            self.offsets[index + 1]
            if samples is None
            else min(begin + samples, self.offsets[index + 1])
        )
        return self._samples[begin:end].astype(np.float32) / PCM

    @classmethod
    def pack(
        cls, rows: Sequence[ClipRow], root: Path, folder: Path, sample_rate: int
    ) -> WaveformStore:
        """Decode every clip below `root` once; clips that cannot be read are left out and listed in
        `skipped.txt`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        kept: list[ClipRow] = []
        offsets, skipped = [0], []
        with (folder / "samples.i16").open("wb") as file:
            for row in rows:
                try:
                    samples = read_audio(root / row.file, sample_rate).samples
                except AudioFileError as error:
                    skipped.append(str(error))
                    continue
                file.write((np.clip(samples, -1, 1) * PCM).round().astype(np.int16).tobytes())
                kept.append(row)
                offsets.append(offsets[-1] + len(samples))
        (folder / "skipped.txt").write_text("".join(line + "\n" for line in skipped))
        index = {
            "sample_rate": sample_rate,
            "offsets": offsets,
            "rows": [row.model_dump() for row in kept],
        }
        (folder / "index.json").write_text(json.dumps(index))
        return cls(folder)
