import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ezaudio.dit import sample_regenerate_mask


def spans_of(row):
    edges = torch.diff(row.int(), prepend=torch.zeros(1).int(), append=torch.zeros(1).int())
    return (edges == -1).nonzero().flatten() - (edges == 1).nonzero().flatten()


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 120),
    span=st.integers(1, 20),
    low=st.floats(0, 1),
    high=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_the_share_and_the_least_span_are_kept(frames, span, low, high, seed):
    low, high = sorted((low, high))
    mask = sample_regenerate_mask(
        4,
        frames,
        ratio=(low, high),
        min_span_frames=span,
        generator=torch.Generator().manual_seed(seed),
    )
    assert mask.shape == (4, 1, frames)
    assert mask.dtype == torch.bool
    for row in mask[:, 0]:
        hidden = int(row.sum())
        assert hidden >= min(frames, max(span, round(low * frames) - 1))
        assert hidden <= min(frames, max(span, round(high * frames) + 1))
        assert spans_of(row).min() >= min(span, frames)


def test_the_seed_decides():
    masks = [
        sample_regenerate_mask(8, 100, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


@pytest.mark.parametrize(
    ("probability", "low", "high"), [(0, 0, 0.05), (0.75, 0.7, 0.85), (1, 1, 1)]
)
def test_whole_rows_are_hidden_as_often_as_asked(probability, low, high):
    mask = sample_regenerate_mask(
        400, 60, full_probability=probability, generator=torch.Generator().manual_seed(0)
    )
    assert low <= mask.all(dim=-1).float().mean() <= high


def test_every_frame_can_be_hidden_and_can_be_kept():
    mask = sample_regenerate_mask(400, 60, generator=torch.Generator().manual_seed(0))
    often = mask.float().mean(dim=0)
    assert often.min() > 0.3
    assert often.max() < 0.95
