"""Classifier-free guidance and its rescaling, as pure functions of velocities.

    Eq. (1)   v_cfg = v_neg + w (v_pos - v_neg)
    Eq. (2)   v_re  = v_cfg std(v_pos) / std(v_cfg)
    Eq. (3)   v     = phi v_re + (1 - phi) v_cfg

v_pos comes from the prompt, v_neg from the empty prompt or from a negative prompt. w = 1 is no
guidance. Large w stretches v_cfg; Eq. (2) gives it back the spread of v_pos, row by row over
channels and frames.

Limits: in pure noise v = -x0, so there guidance can only move a mean; that is where rescaling
matters most. A v_cfg without any spread is left as it is.

Source: paper, section 2.4; Ho and Salimans 2022 (arXiv:2207.12598); Lin et al. 2023
(arXiv:2305.08891).
"""

from __future__ import annotations

import torch
from torch import Tensor


def cfg(v_pos: Tensor, v_neg: Tensor, *, w: float) -> Tensor:
    """Eq. (1): guided velocity `(B, C, T)` at scale w."""
    return v_neg + w * (v_pos - v_neg)


def rescale_guidance(v_cfg: Tensor, v_pos: Tensor, *, phi: float) -> Tensor:
    """Eqs. (2) and (3): `v_cfg` with the spread of `v_pos`, mixed in by phi.

    Args:
        v_cfg: guided velocity `(B, C, T)`.
        v_pos: velocity of the prompt `(B, C, T)`.
        phi: 0 (leave `v_cfg`) to 1 (spread of `v_pos`).

    Returns:
        Velocity `(B, C, T)`.
    """
    axes = tuple(range(1, v_cfg.ndim))
    spread = v_cfg.std(dim=axes, keepdim=True)  # (B, 1, 1)
    wanted = v_pos.std(dim=axes, keepdim=True)
    v_re = v_cfg * torch.where(spread > 0, wanted / spread, 1.0)  # Eq. (2)
    return phi * v_re + (1.0 - phi) * v_cfg  # Eq. (3)
