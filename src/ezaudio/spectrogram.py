"""A picture of a sound: its waveform above its log-mel spectrogram."""

from __future__ import annotations

import io
import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ezaudio.audio_levels import to_mono
from ezaudio.errors import OutputError
from ezaudio.files import write_bytes
from ezaudio.types import Clip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Samples: TypeAlias = npt.NDArray[np.float32]

_WINDOW_SAMPLES = 1024
_MELS = 160
_COLUMNS = 1200
_RANGE_DB = 80.0
_LOWEST_HZ = 30.0
_TICKS_HZ = (100, 250, 500, 1000, 2000, 4000, 8000, 16000)
_INK, _ACCENT = "#26262e", "#4b3f8f"


def spectrogram_png(path: str | Path, clip: Clip, title: str = "") -> None:
    """Write a PNG picture of a clip; arguments as `draw_spectrogram`.

    Raises:
        OutputError: the file cannot be written, or matplotlib is not installed.
    """
    write_bytes(path, draw_spectrogram(clip, title))


def draw_spectrogram(clip: Clip, title: str = "") -> bytes:
    """Draw a clip as a PNG picture, with axes in seconds and hertz.

    Args:
        clip: the sound, `(S,)` or `(channels, S)`; channels are averaged, where they cancel the
            loudest is drawn.
        title: a line above the picture, taken literally and shortened.

    Raises:
        OutputError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise OutputError(
            "a spectrogram needs matplotlib, which is not installed: pip install 'ezaudio[plot]'"
        ) from None
    samples = to_mono(np.atleast_2d(clip.samples))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # scripts without font
        figure = Figure(figsize=(10, 5), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        _draw(figure, samples, clip.sample_rate, title)
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def log_mel_db(samples: Samples, sample_rate: int, *, mels: int = _MELS) -> Samples:
    """Give the log-mel power spectrogram, in dB below its loudest point.

    Args:
        samples: `(S,)`.
        sample_rate: in Hz.
        mels: number of bands, equally wide in mel between 30 Hz and half the rate.

    Returns:
        `(mels, frames)`, at most `1200` frames, between -80 and 0; silence is -80 everywhere.
    """
    hop = max(_WINDOW_SAMPLES // 8, -(-len(samples) // _COLUMNS))
    padded = np.pad(samples, _WINDOW_SAMPLES // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW_SAMPLES)[::hop]
    spectrum = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW_SAMPLES), axis=1)) ** 2
    power = _mel_weights(sample_rate, mels) @ spectrum.T  # (mels, frames)
    loudest = float(power.max())
    if loudest <= 1e-12:
        return np.full(power.shape, -_RANGE_DB, np.float32)
    level = 10 * np.log10(np.maximum(power / loudest, 10 ** (-_RANGE_DB / 10)))
    return np.asarray(level, np.float32)


def _mel(hz: float | npt.NDArray[Any]) -> Any:
    return 2595.0 * np.log10(1.0 + np.asarray(hz) / 700.0)  # O'Shaughnessy's mel


def _mel_weights(sample_rate: int, mels: int) -> npt.NDArray[np.float64]:
    """Triangles of equal height, `(mels, bins)`; a band narrower than a bin still reads its bin."""
    edges = np.linspace(_mel(_LOWEST_HZ), _mel(sample_rate / 2), mels + 2)
    bins = _mel(np.fft.rfftfreq(_WINDOW_SAMPLES, 1 / sample_rate))
    rise = (bins - edges[:-2, None]) / np.diff(edges)[0]
    weights: npt.NDArray[np.float64] = np.clip(np.minimum(rise, 2 - rise), 0, None)
    empty = weights.sum(axis=1) == 0
    nearest = np.abs(bins[None] - edges[1:-1, None]).argmin(axis=1)
    weights[empty, nearest[empty]] = 1.0
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def _draw(figure: Figure, samples: Samples, sample_rate: int, title: str) -> None:
    duration_s = len(samples) / sample_rate
    wave, mel = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3.4))
    _draw_wave(wave, samples, duration_s)
    image = mel.imshow(
        log_mel_db(samples, sample_rate),
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(0, duration_s, _mel(_LOWEST_HZ), _mel(sample_rate / 2)),
        vmin=-_RANGE_DB,
        vmax=0,
    )
    ticks = [hz for hz in _TICKS_HZ if hz <= sample_rate / 2]
    mel.set_yticks([float(_mel(hz)) for hz in ticks], [_hertz(hz) for hz in ticks])
    mel.set_ylabel("frequency (Hz)", color=_INK)
    mel.set_xlabel("time (s)", color=_INK)
    bar = figure.colorbar(image, ax=[wave, mel], pad=0.012, fraction=0.035, aspect=34)
    bar.set_label("dB below the loudest", color=_INK)
    if title:
        line = textwrap.shorten(title, 90, placeholder=" …") or title[:90]
        wave.set_title(line, loc="left", color=_INK, fontsize=12, parse_math=False)


def _draw_wave(axes: Axes, samples: Samples, duration_s: float) -> None:
    """Draw the lowest and highest sample of each column."""
    edges = np.linspace(0, len(samples), min(len(samples), _COLUMNS) + 1).astype(int)[:-1]
    low, high = np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)
    times = edges / len(samples) * duration_s
    axes.fill_between(times, low, high, color=_ACCENT, linewidth=0.6)
    axes.axhline(0, color=_ACCENT, linewidth=0.5)
    axes.set_ylim(-1, 1)
    axes.set_yticks([-1, 0, 1])
    axes.set_ylabel("level", color=_INK)
    axes.set_xlim(0, duration_s)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelbottom=False)


def _hertz(hz: int) -> str:
    return f"{hz // 1000}k" if hz >= 1000 else str(hz)
