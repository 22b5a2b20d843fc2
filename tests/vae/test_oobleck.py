import pytest
import torch

from ezaudio.config import load_config
from ezaudio.errors import InputError
from ezaudio.vae import VAE_PRESETS, OobleckConfig
from ezaudio.vae.blocks import NormedConv1d, Snake


def test_the_official_preset_has_the_papers_rates_and_size():
    config = VAE_PRESETS["official"]
    with torch.device("meta"):
        vae = config.build()
    assert (config.sample_rate, config.hop_samples, config.latent_channels) == (24_000, 480, 128)
    assert config.sample_rate / config.hop_samples == 50
    assert sum(p.numel() for p in vae.parameters()) == 43_846_785


def test_the_official_autoencoder_looks_nine_frames_to_each_side():
    with torch.device("meta"):
        vae = VAE_PRESETS["official"].build()
    assert vae.receptive_frames == 9  # 8.36, counted by hand from strides, dilations and kernels


@pytest.mark.parametrize(
    "values", [{"strides": [2, 4]}, {"strides": [1, 4, 6, 10]}, {"latent_channels": 0}, {"x": 1}]
)
def test_impossible_settings_are_refused(values):
    with pytest.raises(InputError):
        load_config(OobleckConfig, values)


def test_odd_strides_keep_the_length():
    config = OobleckConfig(latent_channels=2, base_width=2, multipliers=(1, 2), strides=(3, 5))
    vae = config.build()
    assert vae.encode(torch.zeros(1, 1, 60)).mean.shape == (1, 2, 4)
    assert vae.decode(torch.zeros(1, 2, 4)).shape == (1, 1, 60)


def test_snake_with_zero_logarithms_is_x_plus_its_sine_squared():
    x = torch.linspace(-3, 3, 12).reshape(1, 2, 6)
    snake = Snake(2)
    torch.testing.assert_close(snake(x), x + x.sin() ** 2)
    with torch.no_grad():
        torch.testing.assert_close(snake(x), x + x.sin() ** 2)


def test_snake_keeps_rate_and_gain_per_channel_as_logarithms():
    x = torch.linspace(-3, 3, 6).reshape(1, 2, 3)
    snake = Snake(2)
    with torch.no_grad():
        snake.alpha.copy_(torch.tensor([2.0, 0.5]).log())
        snake.beta.copy_(torch.tensor([4.0, 1.0]).log())
        expected = torch.stack(
            [x[0, 0] + (2 * x[0, 0]).sin() ** 2 / 4, x[0, 1] + (x[0, 1] / 2).sin() ** 2]
        )
        torch.testing.assert_close(snake(x)[0], expected)


@pytest.mark.parametrize("transposed", [False, True])
def test_weight_norm_scales_each_direction_to_its_length(transposed):
    layer = NormedConv1d((3, 5), 4, stride=2, transposed=transposed)
    with torch.no_grad():
        layer.weight_v.mul_(7.0)
        layer.weight_g.fill_(2.0)
    layer.fold()
    torch.testing.assert_close(
        layer.weight.flatten(1).norm(dim=1), torch.full((3 if transposed else 5,), 2.0)
    )
    assert "weight_g" not in layer.state_dict()
