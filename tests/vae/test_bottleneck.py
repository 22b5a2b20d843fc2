import math

import pytest
import torch

from ezaudio.vae import Posterior


def test_a_unit_gaussian_has_no_divergence():
    assert Posterior(torch.zeros(2, 3, 4), torch.ones(2, 3, 4)).kl().item() == 0.0


def test_divergence_is_summed_over_channels_and_averaged_over_frames():
    mean = torch.zeros(1, 2, 2)
    mean[0, 0, 0] = 2.0  # 2 nats, in one of two frames
    std = torch.ones(1, 2, 2)
    std[0, 1, 1] = 0.5  # (1/4 - 1) / 2 + log 2, in the other
    expected = (2.0 + (0.25 - 1) / 2 + math.log(2)) / 2
    assert Posterior(mean, std).kl().item() == pytest.approx(expected, rel=1e-6)


def test_samples_follow_the_mean_and_the_deviation_and_repeat_with_the_seed():
    posterior = Posterior(torch.full((1, 1, 20_000), 3.0), torch.full((1, 1, 20_000), 0.5))
    sample = posterior.sample(torch.Generator().manual_seed(0))
    assert sample.mean().item() == pytest.approx(3.0, abs=0.02)
    assert sample.std().item() == pytest.approx(0.5, abs=0.02)
    assert torch.equal(sample, posterior.sample(torch.Generator().manual_seed(0)))
    assert not torch.equal(sample, posterior.sample(torch.Generator().manual_seed(1)))


def test_the_mode_is_the_mean():
    mean = torch.randn(1, 2, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Posterior(mean, torch.ones(1, 2, 3)).mode, mean)


def test_mean_and_deviation_must_have_one_shape():
    with pytest.raises(ValueError, match="shape"):
        Posterior(torch.zeros(1, 2, 3), torch.ones(1, 2, 4))
