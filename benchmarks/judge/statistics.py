"""A listener that knows a sound by statistics of its log-mel, wherever they occur in time."""

from __future__ import annotations

import itertools

import torch
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn import functional as F

BANDS = 8
MODULATION_FRAMES = 320
MODULATION_EDGES = (1, 2, 4, 6, 9, 13, 19, 28, 40, 60, 90, 130, 160)
RIPPLE_BANDS = 9


def statistics(shown: Tensor) -> Tensor:
    """Describe sounds by levels, changes, modulation and ripple.

    In order: 10th, 50th and 90th percentile, mean and deviation over time of each band; mean change
    over 12.5 and 100 ms; modulation spectra of 8 wide bands, in twelve ranges of 0.25 to 40 Hz;
    correlation of those bands over time; depth of the fine structure over bands (harmonics) and how
    fast it changes.

    Args:
        shown: levelled log-mels (B, M, T).

    Returns:
        (B, J).
    """
    at = torch.tensor([0.1, 0.5, 0.9])
    levels = rearrange(torch.quantile(shown, at, dim=2), "q b m -> b (q m)")
    changes = [(shown[:, :, n:] - shown[:, :, :-n]).abs().mean(dim=2) for n in (1, 8)]
    smooth = F.avg_pool2d(
        shown[:, None], (RIPPLE_BANDS, 1), 1, (RIPPLE_BANDS // 2, 0), count_include_pad=False
    )[:, 0]
    ripple = shown - smooth
    depth = ripple.square().mean(dim=2).sqrt()
    wander = (ripple[:, :, 1:] - ripple[:, :, :-1]).square().mean(dim=2).sqrt()
    parts = [levels, shown.mean(dim=2), shown.std(dim=2), *changes]
    return torch.cat([*parts, _movement(shown), depth, wander], dim=1)


def _movement(shown: Tensor) -> Tensor:
    """Modulation spectra and correlations of wide bands: (B, M, T) -> (B, J)."""
    frames = shown.shape[2]
    wide = reduce(shown, "b (w m) t -> b w t", "mean", w=BANDS)
    wide = wide - wide.mean(dim=2, keepdim=True)
    tapered = wide * torch.hann_window(frames)
    spectrum = torch.fft.rfft(tapered, n=max(MODULATION_FRAMES, frames), dim=2).abs()
    power = spectrum.square() / frames
    pairs = itertools.pairwise(MODULATION_EDGES)
    modulation = torch.stack([power[:, :, low:high].mean(dim=2) for low, high in pairs], dim=2)
    unit = wide / (wide.norm(dim=2, keepdim=True) + 1e-3)
    likeness = unit @ unit.transpose(1, 2)
    both = [(modulation + 1e-4).log(), likeness]
    return torch.cat([rearrange(x, "b w n -> b (w n)") for x in both], dim=1)


class StatisticsListener(nn.Module):
    """Log-mels (B, M, T) to scores (B, K) through their statistics.

    Args:
        classes: K.
        features: J.
        width: of the two hidden layers.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, classes: int, features: int = 736, width: int = 256) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        hidden = [
            layer
            for width_in in (features, width)
            for layer in (
                nn.Linear(width_in, width),
                nn.BatchNorm1d(width),
                nn.ReLU(),
                nn.Dropout(0.5),
            )
        ]
        self.body = nn.Sequential(nn.Dropout(0.2), *hidden, nn.Linear(width, classes))

    def standardised(self, described: Tensor) -> Tensor:
        """Statistics at zero mean and unit deviation over the training sounds: (B, J)."""
        return (described - self.centre) / self.spread

    def forward(self, shown: Tensor) -> Tensor:
        """Score levelled log-mels."""
        scores: Tensor = self.body(self.standardised(statistics(shown)))
        return scores
