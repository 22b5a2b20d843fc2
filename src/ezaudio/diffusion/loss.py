"""The training objective: squared velocity error, counted only where sound is regenerated.

    loss = sum_{b,c,t} w_{b,t} m_{b,t} (v - v_target)^2  /  (C sum_{b,t} w_{b,t} m_{b,t})

m is 1 on frames to regenerate and 0 on frames that the network was shown (paper, section 2.3:
masked audio modelling); w, 1 unless given, weighs frames. A mean over values, not over rows: a row
with twice the regenerated frames counts twice. With nothing to regenerate the loss is 0.

An unweighted velocity error is finite at every step. Weights made from the SNR are not: "min-SNR"
for v divides 0 by 0 in pure noise.
"""

from __future__ import annotations

import torch
from torch import Tensor


def velocity_loss(
    v: Tensor,
    target: Tensor,
    regenerate: Tensor | None = None,
    *,
    frame_weight: Tensor | None = None,
) -> Tensor:
    """Weighted mean squared error of a velocity.

    Args:
        v: predicted velocity `(B, C, T)`.
        target: true velocity `(B, C, T)`.
        regenerate: True where the loss counts, bool `(B, 1, T)`; None counts everything.
        frame_weight: weights of 0 or more, `(B, 1, T)` or broadcast to it.

    Returns:
        Loss without axes, float32 (float64 for float64 input).

    Raises:
        ValueError: shapes disagree (a silent broadcast would average the wrong things).
    """
    batch, _, frames = v.shape
    if target.shape != v.shape:
        raise ValueError(f"v {tuple(v.shape)} and target {tuple(target.shape)} disagree")
    if regenerate is not None and regenerate.shape != (batch, 1, frames):
        raise ValueError(f"regenerate must be (B, 1, T), got {tuple(regenerate.shape)}")
    dtype = torch.promote_types(v.dtype, torch.float32)
    error = (v.to(dtype) - target.to(dtype)).square().mean(dim=1, keepdim=True)  # (B, 1, T)
    weight = torch.ones_like(error) if regenerate is None else regenerate.to(dtype)
    if frame_weight is not None:
        weight = weight * frame_weight.to(dtype)
    total = weight.sum()
    # where, not product: a frame that does not count may hold anything, even infinities
    counted = torch.where(weight > 0, error, 0.0) * weight
    return counted.sum() / torch.where(total > 0, total, 1.0)
