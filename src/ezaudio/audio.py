"""Sound files: read, resample, guard the peak, write with what made the sound inside.

Formats are WAV, FLAC, OGG (Vorbis) and MP3, through libsndfile. WAV and FLAC keep every sample; OGG
keeps their number; an MP3 read back here has as many as were written, but the format works in
frames, and a player that ignores its gapless tag hears up to 0.1 s of padding.

What made the sound travels inside the file as ASCII JSON in the standard comment field: `ICMT` of
the RIFF `LIST` chunk, the FLAC and Vorbis comment `COMMENT`, and the ID3 `COMM` frame.
libsndfile drops a WAV comment of more than about 2,000 characters, in and out, so that one chunk
is written and read here.
"""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from ezaudio.audio_levels import peak_guard, to_mono
from ezaudio.errors import AudioFileError, InputError, OutputError
from ezaudio.files import write_bytes
from ezaudio.formats import AUDIO_FORMATS, format_of
from ezaudio.spectrogram import spectrogram_png
from ezaudio.types import Clip

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "AUDIO_FORMATS",
    "Clip",
    "cut_off",
    "duration_of",
    "encode_audio",
    "format_of",
    "peak_guard",
    "read_audio",
    "read_metadata",
    "resample",
    "sample_type",
    "spectrogram_png",
    "to_mono",
    "write_audio",
]

Samples: TypeAlias = npt.NDArray[np.float32]

MAX_SAMPLE_RATE_HZ = 384_000
_MP3_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_BLOCK_SAMPLES = 1 << 16
_BITS = {"pcm16": 16, "pcm24": 24}
_SIZE_UNKNOWN = 0x7FFFF000
_SPARE_BYTES = 16
_TAIL_BYTES = 1 << 17
_LEAST_SHARE_READ = 0.98


@dataclass(frozen=True)
class _Format:
    container: str
    subtypes: Mapping[str, str]
    compression: float | None = None


_FORMATS = {
    "wav": _Format("WAV", {"pcm16": "PCM_16", "pcm24": "PCM_24", "float32": "FLOAT"}),
    "flac": _Format("FLAC", {"pcm16": "PCM_16", "pcm24": "PCM_24"}),
    "ogg": _Format("OGG", {"vorbis": "VORBIS"}, compression=0.2),
    "mp3": _Format("MP3", {"mp3": "MPEG_LAYER_III"}, compression=0.0),
}
_SAMPLE_TYPES = {
    "PCM_S8": "pcm16", "PCM_U8": "pcm16", "PCM_16": "pcm16", "PCM_24": "pcm24",
    "PCM_32": "float32", "FLOAT": "float32", "DOUBLE": "float32",
}  # fmt: skip
"""libsndfile's sample type to the one written here that holds it, as far as float32 does."""


def read_audio(path: str | Path, sample_rate: int | None = None, mono: bool = True) -> Clip:
    """Read a sound file.

    Args:
        path: the file.
        sample_rate: resample to this rate in Hz; None keeps the file's own.
        mono: average the channels; where they cancel, take the loudest one.

    Returns:
        Samples `(S,)`, or `(channels, S)` when `mono` is False.

    Raises:
        AudioFileError: the file is missing, unreadable, empty, or holds NaN or infinite samples.
        InputError: the sample rate is not allowed.
    """
    if sample_rate is not None:
        _check_rate(sample_rate)
    with _opened(path) as file:
        try:
            samples = file.read(dtype="float32", always_2d=True).T  # (channels, S)
        except (soundfile.SoundFileError, MemoryError) as error:
            raise AudioFileError(f"{path}: damaged ({_reason(error)})") from None
        own_rate = int(file.samplerate)
    if samples.shape[1] == 0:
        raise AudioFileError(f"{path}: holds no sound (0 samples)")
    if not np.isfinite(samples).all():
        raise AudioFileError(f"{path}: holds NaN or infinite samples")
    if mono:
        samples = to_mono(samples)
    rate = own_rate if sample_rate is None else sample_rate
    return Clip(resample(np.ascontiguousarray(samples), own_rate, rate), rate)


def duration_of(path: str | Path) -> float:
    """Length of a sound file in seconds, from its header; errors as `read_audio`."""
    with _opened(path) as file:
        return float(file.frames / file.samplerate)


def cut_off(path: str | Path) -> str:
    """Say how a sound file ends before its header says that it does; empty where it is whole.

    A copy or a download that broke off reads without an error in most formats, and is shorter.
    Headers that leave the size open, as written by streams, are believed.
    """
    with suppress(OSError, struct.error), Path(path).open("rb") as file:
        head = file.read(12)
        size = file.seek(0, os.SEEK_END)
        if head[:4] == b"OggS":
            return _cut_ogg(file, size)
        if head[:4] == b"RIFF" and head[8:] == b"WAVE":
            return _cut_chunk(file, size, "<4sI", b"data")
        if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
            return _cut_chunk(file, size, ">4sI", b"SSND")
        if head[:4] == b".snd":
            start, stated = struct.unpack(">II", head[4:12])
            return _told_cut(size - start, stated)
    with suppress(AudioFileError, soundfile.SoundFileError), _opened(path) as sound:
        if sound.format == "MP3" and sound.frames:
            read = sum(iter(lambda: len(sound.read(_BLOCK_SAMPLES)), 0))
            if read < _LEAST_SHARE_READ * sound.frames:
                rate = sound.samplerate
                return f"cut off: {read / rate:.2f} of {sound.frames / rate:.2f} s are there"
    return ""


def _cut_chunk(file: BinaryIO, size: int, layout: str, wanted: bytes) -> str:
    """Compare the chunk of the samples with the file's size."""
    at = 12
    while at + 8 <= size:
        file.seek(at)
        name, stated = struct.unpack(layout, file.read(8))
        if name == wanted:
            return _told_cut(size - at - 8, stated)
        at += 8 + stated + stated % 2
    return ""


def _cut_ogg(file: BinaryIO, size: int) -> str:
    """Whether the last page of an Ogg file is complete."""
    begin = max(0, size - _TAIL_BYTES)
    file.seek(begin)
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0 or at + 27 > len(tail):
        return "cut off in its last page"
    table = tail[at + 27 : at + 27 + tail[at + 26]]
    whole = len(table) == tail[at + 26] and at + 27 + len(table) + sum(table) <= len(tail)
    return "" if whole else "cut off in its last page"


def _told_cut(there: int, stated: int) -> str:
    if not stated or stated >= _SIZE_UNKNOWN or there + _SPARE_BYTES >= stated:
        return ""
    return f"cut off: {there / stated:.0%} of its samples are there"


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """Change the sample rate with a linear-phase, very-high-quality filter (soxr VHQ).

    Args:
        samples: `(S,)` or `(channels, S)`.
        from_hz: rate of `samples`.
        to_hz: rate wanted.

    Returns:
        `round(S * to_hz / from_hz)` samples, at least one where there was one.

    Raises:
        InputError: a rate is not allowed.
    """
    _check_rate(from_hz)
    _check_rate(to_hz)
    if from_hz == to_hz or samples.size == 0:
        return samples
    count = max(1, (2 * samples.shape[-1] * to_hz + from_hz) // (2 * from_hz))
    changed = np.asarray(soxr.resample(samples.T, from_hz, to_hz, quality="VHQ"), np.float32).T
    missing = max(0, count - changed.shape[-1])
    padded = np.pad(changed, [(0, 0)] * (changed.ndim - 1) + [(0, missing)])
    return np.ascontiguousarray(padded[..., :count])


def write_audio(
    path: str | Path,
    samples: npt.ArrayLike | Tensor,
    sample_rate: int,
    *,
    format: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    subtype: str | None = None,
    replace: bool = True,
) -> None:
    """Write a sound file, whole or not at all.

    Args:
        path: where to write; its extension names the format when `format` is None.
        samples: `(S,)` or `(channels, S)`; integer formats clip what leaves [-1, 1].
        sample_rate: in Hz.
        format: one of `AUDIO_FORMATS`.
        metadata: JSON values to keep in the file; `read_metadata` gives them back.
        subtype: `pcm16` (the default of WAV and FLAC), `pcm24`, or `float32` (WAV).
        replace: whether a file that is there gives way.

    Raises:
        InputError: unknown format, or a shape, rate or subtype that the format cannot hold.
        NameTaken: there is such a file, and it is not to be replaced.
        OutputError: NaN or infinite samples, a full disk, or a path that cannot be written.
    """
    name = format_of(path, format)
    content = encode_audio(samples, sample_rate, format=name, metadata=metadata, subtype=subtype)
    write_bytes(path, content, replace=replace)


def encode_audio(
    samples: npt.ArrayLike | Tensor,
    sample_rate: int,
    *,
    format: str,
    metadata: Mapping[str, Any] | None = None,
    subtype: str | None = None,
) -> bytes:
    """Make the bytes of a sound file; arguments and errors as `write_audio`."""
    name = format_of("", format)
    wanted = subtype or next(iter(_FORMATS[name].subtypes))
    if wanted not in _FORMATS[name].subtypes:
        raise InputError("subtype", wanted, f"for {name}: {', '.join(_FORMATS[name].subtypes)}")
    _check_rate(sample_rate)
    if name == "mp3" and sample_rate not in _MP3_RATES_HZ:
        allowed = ", ".join(map(str, _MP3_RATES_HZ))
        raise InputError("sample_rate", sample_rate, f"for mp3: {allowed}")
    frames = _frames(samples)
    comment = json.dumps(dict(metadata), ensure_ascii=True) if metadata else ""
    if name == "wav":
        content = _encoded(frames, sample_rate, _FORMATS[name], wanted, "")
        return _with_riff_comment(content, comment) if comment else content
    return _encoded(frames, sample_rate, _FORMATS[name], wanted, comment)


def sample_type(path: str | Path) -> str | None:
    """Name the type of a file's samples, as `write_audio` takes it; None for lossy formats.

    Raises:
        AudioFileError: the file is missing or no sound file.
    """
    with _opened(path) as file:
        return _SAMPLE_TYPES.get(file.subtype)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Read what `write_audio` kept in the file; empty when there is nothing of the kind.

    Raises:
        AudioFileError: the file is missing or no sound file.
    """
    with _opened(path) as file:
        comment = file.comment
        is_wav = file.format in ("WAV", "WAVEX")
    if is_wav and not comment:
        comment = _riff_comment(Path(path))
    with suppress(ValueError):
        values = json.loads(comment)
        if isinstance(values, dict):
            return values
    return {}


def _check_rate(sample_rate: int) -> None:
    whole = isinstance(sample_rate, int | np.integer) and not isinstance(sample_rate, bool)
    if not whole or not 1 <= sample_rate <= MAX_SAMPLE_RATE_HZ:
        raise InputError("sample_rate", sample_rate, f"1 to {MAX_SAMPLE_RATE_HZ} Hz")


def _opened(path: str | Path) -> soundfile.SoundFile:
    path = Path(path)
    try:
        if path.is_dir():
            raise AudioFileError(f"{path}: is a folder, not a sound file")
        if path.stat().st_size == 0:
            raise AudioFileError(f"{path}: the file is empty")
        if not os.access(path, os.R_OK):
            raise AudioFileError(f"{path}: no permission to read it")
        return soundfile.SoundFile(path)
    except FileNotFoundError:
        raise AudioFileError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise AudioFileError(f"{path}: cannot be read ({_reason(error)})") from None
    except (soundfile.SoundFileError, TypeError):  # TypeError: headerless formats
        raise AudioFileError(f"{path}: not a sound file that can be read") from None


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _frames(samples: npt.ArrayLike | Tensor) -> Samples:
    """Check samples and turn them to `(S, channels)`."""
    values: Any = samples
    if hasattr(values, "detach"):  # a tensor, without importing torch to ask
        values = values.detach().cpu().numpy()
    array = np.asarray(values, dtype=np.float32)
    frames = array[:, None] if array.ndim == 1 else array.T
    if frames.ndim != 2 or not 1 <= frames.shape[1] <= 8 or frames.shape[0] == 0:
        raise InputError("samples", array.shape, "(S,) or (channels, S), 1 to 8 channels, S > 0")
    if not np.isfinite(frames).all():
        raise OutputError("not written: the sound holds NaN or infinite samples")
    return np.ascontiguousarray(frames)


def _encoded(frames: Samples, sample_rate: int, kind: _Format, subtype: str, comment: str) -> bytes:
    buffer = io.BytesIO()
    try:
        with soundfile.SoundFile(
            buffer,
            "w",
            samplerate=int(sample_rate),
            channels=frames.shape[1],
            format=kind.container,
            subtype=kind.subtypes[subtype],
            compression_level=kind.compression,
        ) as file:
            if comment:
                file.comment = comment
            # In blocks: libsndfile 1.2.2 crashes when it gets minutes of Vorbis at once.
            for start in range(0, len(frames), _BLOCK_SAMPLES):
                block = frames[start : start + _BLOCK_SAMPLES]
                file.write(_quantised(block, _BITS[subtype]) if subtype in _BITS else block)
    except soundfile.SoundFileError as error:
        raise OutputError(f"cannot encode {kind.container}: {_reason(error)}") from None
    return buffer.getvalue()


def _quantised(frames: Samples, bits: int) -> npt.NDArray[np.int32]:
    """Round to `bits`, at the top of 32; libsndfile itself would round towards minus infinity."""
    full = 2.0 ** (bits - 1)
    whole = np.clip(np.rint(frames.astype(np.float64) * full), -full, full - 1)
    return whole.astype(np.int32) << (32 - bits)


def _with_riff_comment(content: bytes, comment: str) -> bytes:
    """Append a `LIST`/`INFO` chunk with an `ICMT` field, and correct the size of the whole."""
    text = comment.encode("ascii") + b"\0"
    field = struct.pack("<4sI", b"ICMT", len(text)) + text + b"\0" * (len(text) % 2)
    body = content + b"\0" * (len(content) % 2)
    body += struct.pack("<4sI4s", b"LIST", 4 + len(field), b"INFO") + field
    return body[:4] + struct.pack("<I", len(body) - 8) + body[8:]


def _riff_comment(path: Path) -> str:
    """Find the `ICMT` field of a RIFF file, wherever its `LIST` chunk stands."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", head)
            end = file.tell() + size + size % 2
            if name == b"LIST" and file.read(4) == b"INFO":
                comment = _info_field(file.read(size - 4), b"ICMT")
                if comment is not None:
                    return comment.rstrip(b"\0").decode("utf-8", "replace")
            file.seek(end)
    return ""


def _info_field(body: bytes, wanted: bytes) -> bytes | None:
    at = 0
    while at + 8 <= len(body):
        name, size = struct.unpack_from("<4sI", body, at)
        if name == wanted:
            return body[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return None
