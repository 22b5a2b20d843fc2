"""Growing a network by latent channels."""

import pytest
import torch

from ezaudio.dit import DiTConfig
from ezaudio.dit.growth import load_of_fewer_channels
from ezaudio.errors import CheckpointError

SIZES = {"width": 16, "depth": 2, "heads": 2, "patch_size": 2, "text_width": None}


def networks():
    torch.manual_seed(0)
    small, large = (DiTConfig(latent_channels=c, **SIZES).build().eval() for c in (3, 5))
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return small, large


@torch.no_grad()
def test_the_first_channels_keep_their_velocity_whatever_the_new_ones_hold():
    small, large = networks()
    load_of_fewer_channels(large, small.state_dict())
    x = torch.randn(2, 5, 8)
    known, regenerate = torch.randn(2, 5, 8), torch.rand(2, 1, 8) > 0.5
    before = small(x[:, :3], 100, small.prepare(), known=known[:, :3], regenerate=regenerate)
    after = large(x, 100, large.prepare(), known=known, regenerate=regenerate)
    torch.testing.assert_close(after[:, :3], before)
    assert not after[:, 3:].any()


def test_the_new_channels_learn():
    small, large = networks()
    load_of_fewer_channels(large, small.state_dict())
    large(torch.randn(2, 5, 8), 100, large.prepare())[:, 3:].square().sum().backward()
    optimizer = torch.optim.SGD(large.parameters(), lr=0.1)
    x = torch.randn(2, 5, 8)
    for _ in range(2):
        optimizer.zero_grad()
        (large(x, 100, large.prepare())[:, 3:] - 1).square().sum().backward()
        optimizer.step()
    assert large.patches.weight.grad[:, 3:5].abs().max() > 0


def test_another_width_is_refused():
    small, _ = networks()
    other = DiTConfig(latent_channels=5, **{**SIZES, "width": 32}).build()
    with pytest.raises(CheckpointError, match="do not fit"):
        load_of_fewer_channels(other, small.state_dict())
