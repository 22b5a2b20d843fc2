"""A sound as statistics of its log-mel spectrogram, wherever they occur in time.

Levels, changes, modulation and ripple say much about the kind of a sound, and a small network that
reads them learns from few recordings.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor

WIDTH = 736
_WIDE_BANDS = 8
_MODULATION_FRAMES = 320
_MODULATION_EDGES = (1, 2, 4, 6, 9, 13, 19, 28, 40, 60, 90, 130, 160)
_RIPPLE_BANDS = 9


def sound_statistics(shown: Tensor) -> Tensor:
    """Describe log-mels of 64 bands and 80 frames a second, of at most 4 s.

    In order: 10th, 50th and 90th percentile, mean and deviation over time of each band; mean change
    over 12.5 and 100 ms; modulation spectra of 8 wide bands, in twelve ranges of 0.25 to 40 Hz;
    correlation of those bands over time; depth of the fine structure over bands (harmonics) and how
    fast it changes.

    Args:
        shown: (B, 64, T), near unit scale.

    Returns:
        (B, `WIDTH`).
    """
    at = torch.tensor([0.1, 0.5, 0.9], device=shown.device)
    levels = rearrange(torch.quantile(shown, at, dim=2), "q b m -> b (q m)")
    changes = [(shown[:, :, n:] - shown[:, :, :-n]).abs().mean(dim=2) for n in (1, 8)]
    smooth = F.avg_pool2d(
        shown[:, None], (_RIPPLE_BANDS, 1), 1, (_RIPPLE_BANDS // 2, 0), count_include_pad=False
    )[:, 0]
    ripple = shown - smooth
    depth = ripple.square().mean(dim=2).sqrt()
    wander = (ripple[:, :, 1:] - ripple[:, :, :-1]).square().mean(dim=2).sqrt()
    parts = [levels, shown.mean(dim=2), shown.std(dim=2), *changes]
    return torch.cat([*parts, _movement(shown), depth, wander], dim=1)


def _movement(shown: Tensor) -> Tensor:
    """Modulation spectra and correlations of wide bands: (B, M, T) -> (B, J)."""
    frames = shown.shape[2]
    wide = reduce(shown, "b (w m) t -> b w t", "mean", w=_WIDE_BANDS)
    wide = wide - wide.mean(dim=2, keepdim=True)
    tapered = wide * torch.hann_window(frames, device=shown.device)
    spectrum = torch.fft.rfft(tapered, n=max(_MODULATION_FRAMES, frames), dim=2).abs()
    power = spectrum.square() / frames
    pairs = itertools.pairwise(_MODULATION_EDGES)
    modulation = torch.stack([power[:, :, low:high].mean(dim=2) for low, high in pairs], dim=2)
    unit = wide / (wide.norm(dim=2, keepdim=True) + 1e-3)
    likeness = unit @ unit.transpose(1, 2)
    both = [(modulation + 1e-4).log(), likeness]
    return torch.cat([rearrange(x, "b w n -> b (w n)") for x in both], dim=1)
