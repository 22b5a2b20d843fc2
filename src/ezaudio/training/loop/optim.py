"""Optimiser and learning-rate schedule."""

from __future__ import annotations

import torch
from pydantic import Field, field_validator
from torch import nn

from ezaudio.config import Config


class RateConfig(Config):
    """Warm-up, a plateau, and a linear decay over the last part of the run.

    Attributes:
        warmup_steps: Linear warm-up.
        decay_share: Share of the run, at its end, over which the rate falls; 0 keeps it.
        final: Rate at the end as a share of the plateau's.
    """

    warmup_steps: int = Field(200, ge=0)
    decay_share: float = Field(0.4, ge=0, le=1)
    final: float = Field(0.05, ge=0, le=1)

    def factor_at(self, progress: float, step: int) -> float:
        """Share of the plateau's rate after a share `progress` in [0, 1] of the run, at a step
        counted from 0.
        """
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        left = (1.0 - progress) / self.decay_share if self.decay_share else 1.0
        return warm * max(self.final, min(1.0, left))


class OptimConfig(RateConfig):
    """AdamW and its learning rate.

    Attributes:
        rate: Learning rate on the plateau.
        betas: Decay of the two moments.
        weight_decay: On matrices only; vectors (biases, gains, norms) are never decayed.
        clip_norm: Largest gradient norm.
    """

    rate: float = Field(gt=0)
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(0.01, ge=0)
    clip_norm: float = Field(1.0, gt=0)

    @field_validator("betas")
    @classmethod
    def _decays(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError("two decays, each at least 0 and below 1")
        return value

    def build(self, model: nn.Module) -> torch.optim.AdamW:
        """AdamW over the trainable parameters of a model, one kernel for all of them."""
        trainable = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.rate, betas=self.betas, fused=True)

    def rate_at(self, progress: float, step: int) -> float:
        """Learning rate; arguments as in `factor_at`."""
        return self.rate * self.factor_at(progress, step)


def update(optimizer: torch.optim.Optimizer, *, rate: float) -> None:
    """Step at a learning rate, then forget the gradients."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
