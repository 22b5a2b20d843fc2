"""The two-player losses and feature matching, in closed form."""

import pytest
import torch

from ezaudio.vae.bottleneck import Posterior
from ezaudio.vae.losses import ADVERSARIES, divergence, feature_matching


def maps(*values):
    return [torch.full((2, 1, 3, 4), float(value)) for value in values]


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [
        ((0,), (0,), 2.0),  # knows nothing
        ((1,), (-1,), 0.0),  # both are beyond the margin
        ((5,), (-5,), 0.0),  # further is no better
        ((-1,), (1,), 4.0),  # wrong about both
        ((0.25, 1), (-0.5, 0), 0.75 + 0.5 + 0 + 1),  # a sum over scales
    ],
)
def test_the_hinge_of_the_discriminator(real, fake, expected):
    loss = ADVERSARIES["hinge"].discriminator(maps(*real), maps(*fake))
    assert float(loss) == pytest.approx(expected)


def test_the_hinge_of_the_generator_is_the_mean_logit_with_its_sign_turned():
    assert float(ADVERSARIES["hinge"].generator(maps(0.5, -2))) == pytest.approx(1.5)


def test_least_squares_wants_one_for_recordings_and_zero_for_outputs():
    game = ADVERSARIES["least-squares"]
    assert float(game.discriminator(maps(1), maps(0))) == 0
    assert float(game.discriminator(maps(0), maps(2))) == pytest.approx(5)
    assert float(game.generator(maps(3))) == pytest.approx(4)


@pytest.mark.parametrize("name", ADVERSARIES)
def test_the_players_of_a_game_pull_in_opposite_directions(name):
    fake = torch.zeros(2, 1, 3, requires_grad=True)
    game = ADVERSARIES[name]
    (up,) = torch.autograd.grad(game.discriminator([torch.ones(2, 1, 3)], [fake + 0.5]), fake)
    (down,) = torch.autograd.grad(game.generator([fake + 0.5]), fake)
    assert (up > 0).all() and (down < 0).all()


def test_feature_matching_is_a_mean_over_layers_and_a_sum_over_scales():
    real = [maps(0, 1), maps(2)]
    fake = [maps(1, 4), maps(0)]
    assert float(feature_matching(real, fake)) == pytest.approx((1 + 3) / 2 + 2)
    assert float(feature_matching(real, real)) == 0


def test_feature_matching_teaches_the_outputs_alone():
    real, fake = (torch.zeros(2, 3, requires_grad=True) for _ in range(2))
    feature_matching([[real + 1]], [[fake]]).backward()
    assert real.grad is None and (fake.grad != 0).all()


def test_a_scale_that_is_missing_on_one_side_is_refused():
    with pytest.raises(ValueError, match="argument"):
        feature_matching([maps(0)], [maps(0), maps(0)])


def test_the_divergence_is_a_sum_over_channels_and_a_mean_over_frames():
    mean = torch.zeros(2, 3, 5)
    mean[:, 0] = 2.0
    std = torch.ones(2, 3, 5)
    std[0, 1] = 0.5
    expected = 4 + (0.25 - 1 - 2 * torch.tensor(0.5).log()) / 2
    torch.testing.assert_close(divergence(Posterior(mean, std)), expected)


def test_relative_features_do_not_depend_on_the_level_of_a_map():
    real, fake = [[torch.ones(1, 2, 3)]], [[torch.full((1, 2, 3), 1.5)]]
    louder = [[10 * real[0][0]]], [[10 * fake[0][0]]]
    assert float(feature_matching(real, fake, relative=True)) == pytest.approx(0.5)
    assert float(feature_matching(*louder, relative=True)) == pytest.approx(0.5)
    assert float(feature_matching(*louder)) == pytest.approx(5)
