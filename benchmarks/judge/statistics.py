"""A listener that knows a sound by statistics of its log-mel, wherever they occur in time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ezaudio.extractors.sound_statistics import WIDTH
from ezaudio.extractors.sound_statistics import sound_statistics as statistics


class StatisticsListener(nn.Module):
    """Log-mels (B, M, T) to scores (B, K) through their statistics.

    Args:
        classes: K.
        features: J.
        width: of the two hidden layers.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, classes: int, features: int = WIDTH, width: int = 256) -> None:
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
