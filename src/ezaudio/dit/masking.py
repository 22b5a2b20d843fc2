"""Which frames a training example has to fill in (paper, section 2.3)."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_regenerate_mask(
    batch: int,
    frames: int,
    *,
    ratio: tuple[float, float] = (0.25, 1.0),
    min_span_frames: int = 10,
    full_probability: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Hide a random share of the frames, in spans.

    For each row a share is drawn uniformly from `ratio`, then a number of spans, then their lengths
    and places; spans that touch become one. A share that leaves less than one span is rounded up to
    a span.

    Args:
        batch: rows `B`.
        frames: latent frames `T`.
        ratio: least and greatest share of hidden frames.
        min_span_frames: least length of a span; 10 frames of 20 ms are the paper's 0.2 s.
        full_probability: chance that a row is hidden as a whole (0.75 in the paper's stages 2 and
            3).
        generator: source of randomness, on the CPU.

    Returns:
        True where the sound is to be generated, bool `(B, 1, T)`, on the CPU.

    Deviation: the authors place spans of exactly 10 frames which may overlap, so that fewer frames
        are hidden than the share asks for; here the share is exact and longer spans, as in editing,
        are common.
    """
    low, high = ratio
    shares = low + (high - low) * torch.rand(batch, generator=generator)
    full = torch.rand(batch, generator=generator) < full_probability
    rows = [
        torch.ones(frames, dtype=torch.bool)
        if whole
        else _spans(frames, round(share * frames), min_span_frames, generator)
        for share, whole in zip(shares.tolist(), full.tolist(), strict=True)
    ]
    return torch.stack(rows).unsqueeze(1)


def _spans(frames: int, hidden: int, shortest: int, generator: torch.Generator | None) -> Tensor:
    hidden = min(max(hidden, shortest), frames)
    most = max(1, hidden // shortest)
    count = int(torch.randint(1, most + 1, (), generator=generator))
    slack = max(0, hidden - count * shortest)
    lengths = _parts(slack, count, generator) + min(shortest, hidden)
    gaps = _gaps(frames, hidden, count, generator)
    mask = torch.zeros(frames, dtype=torch.bool)
    start = 0
    for gap, length in zip(gaps.tolist(), lengths.tolist(), strict=False):
        mask[start + gap : start + gap + length] = True
        start += gap + length
    return mask


def _gaps(frames: int, hidden: int, count: int, generator: torch.Generator | None) -> Tensor:
    """Lengths of the kept stretches before, between and after `count` spans.

    The first and the last frame are hidden as often as any other.
    """
    ends = torch.rand(2, generator=generator) >= hidden / frames  # True where an end is kept
    slots = torch.ones(count + 1, dtype=torch.bool)
    slots[0], slots[-1] = ends[0], ends[1]
    if not slots.any():
        slots[int(torch.randint(2, (), generator=generator))] = True
    gaps = torch.zeros(count + 1, dtype=torch.long)
    gaps[slots] = _parts(frames - hidden, int(slots.sum()), generator)
    return gaps


def _parts(total: int, count: int, generator: torch.Generator | None) -> Tensor:
    """Split `total` into `count` whole numbers from 0 up, at random."""
    cuts = torch.randint(0, total + 1, (count - 1,), generator=generator).sort().values
    edges = torch.cat([torch.tensor([0]), cuts, torch.tensor([total])])
    return edges.diff()
