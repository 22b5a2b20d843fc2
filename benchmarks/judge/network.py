"""The judge: two kinds of listeners over log-mels whose opinions are joined, and its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ezaudio.checkpoints import load_module, save_module
from ezaudio.errors import CheckpointError
from judge.features import FRAME_RATE, SAMPLE_RATE, filled, levelled, log_mel
from judge.statistics import StatisticsListener

WINDOW_S = 4.0
SHORTEST_S = 2.0
KIND = "judge"


class ShapeListener(nn.Module):
    """Log-mels (B, M, T) to scores (B, K) through a small convolutional network."""

    def __init__(self, classes: int, widths: tuple[int, ...] = (12, 24, 48, 96, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width_in = 1
        for level, width in enumerate(widths):
            stride = 2 if level < 4 else 1
            kernel = 5 if level == 0 else 3
            layers += [
                nn.Conv2d(width_in, width, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            width_in = width
        self.body = nn.Sequential(*layers)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(2 * width_in, classes)

    def forward(self, shown: Tensor) -> Tensor:
        """Score levelled log-mels."""
        heard = self.body(shown[:, None]).mean(dim=2)  # (B, D, T/16), averaged over bands
        pooled = torch.cat([heard.mean(dim=2), heard.amax(dim=2)], dim=1)  # (B, 2D)
        scores: Tensor = self.head(self.drop(pooled))
        return scores


LISTENERS: dict[str, Callable[[int], nn.Module]] = {
    "shape": ShapeListener,
    "statistics": StatisticsListener,
}


class Judge:
    """Names the kind of sound of clips.

    Args:
        listeners: what each is (a name in `LISTENERS`) and the network.
        labels: names of the classes, in order.
        facts: how it was trained and how well it does; JSON.
    """

    def __init__(
        self, listeners: list[tuple[str, nn.Module]], labels: list[str], facts: dict[str, Any]
    ) -> None:
        self.listeners = [(name, listener.eval()) for name, listener in listeners]
        self.labels = labels
        self.facts = facts

    @torch.inference_mode()
    def hear(self, mel_db: Tensor) -> Tensor:
        """Probabilities (N, K) of log-mels (N, M, T).

        The listeners' log-probabilities are averaged, then the probabilities of windows of 4 s.
        """
        size, frames = round(WINDOW_S * FRAME_RATE), mel_db.shape[2]
        starts = range(0, max(1, frames - size // 2), size // 2)
        return torch.stack(
            [self._opinion(levelled(mel_db[:, :, start : start + size])) for start in starts]
        ).mean(dim=0)

    def _opinion(self, shown: Tensor) -> Tensor:
        heard = [listener(shown).log_softmax(dim=1) for _, listener in self.listeners]
        return torch.stack(heard).mean(dim=0).softmax(dim=1)

    def probabilities(self, waves: Tensor) -> Tensor:
        """How likely each kind is.

        Args:
            waves: (N, S) at 24 kHz, any level. Sounds under 2 s are repeated after a short gap.

        Returns:
            (N, K) in the order of `labels`.
        """
        mel_db = log_mel(waves)
        shortest = round(SHORTEST_S * FRAME_RATE)
        if mel_db.shape[2] < shortest:
            generator = torch.Generator().manual_seed(0)
            mel_db = torch.stack([filled([mel], shortest, generator) for mel in mel_db])
        return self.hear(mel_db)

    def save(self, path: Path) -> None:
        """Write one file that `load_judge` reads; weights are kept in half precision."""
        tensors = {
            f"{index}.{name}": value.half()
            for index, (_, listener) in enumerate(self.listeners)
            for name, value in listener.state_dict().items()
            if value.is_floating_point()
        }
        config = {
            "labels": self.labels,
            "listeners": [name for name, _ in self.listeners],
            "sample_rate": SAMPLE_RATE,
        }
        save_module(path, tensors, kind=KIND, config=config, extra={"facts": self.facts})


def load_judge(path: str | Path) -> Judge:
    """Read a judge.

    Raises:
        CheckpointError: the file is missing, damaged or not a judge.
    """
    loaded = load_module(path, kind=KIND)
    labels = loaded.config["labels"]
    listeners = []
    for index, name in enumerate(loaded.config["listeners"]):
        listener = LISTENERS[name](len(labels))
        prefix = f"{index}."
        state = {
            k.removeprefix(prefix): v for k, v in loaded.tensors.items() if k.startswith(prefix)
        }
        missing, unexpected = listener.load_state_dict(state, strict=False)
        if unexpected or any("num_batches_tracked" not in name for name in missing):
            raise CheckpointError(f"{path}: its weights do not fit a `{name}` listener")
        listeners.append((name, listener))
    return Judge(listeners, labels, loaded.extra["facts"])
