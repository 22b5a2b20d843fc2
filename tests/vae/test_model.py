"""What every family of autoencoders promises."""

import pytest
import torch
from torch import Tensor

from ezaudio.vae import VAE_FAMILIES, VAE_PRESETS, Autoencoder, OobleckConfig, SpectralConfig

TINY = {
    "oobleck": OobleckConfig(latent_channels=4, base_width=2),
    "spectral": SpectralConfig(cepstra=3, differences=1, width=8, depth=1),
}


@pytest.fixture(params=VAE_FAMILIES, scope="module")
def vae(request: pytest.FixtureRequest) -> Autoencoder:
    torch.manual_seed(0)
    return TINY[request.param].build().eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) / 4


def test_a_family_carries_its_name_and_rates(vae):
    assert TINY[vae.config.kind].kind == vae.config.kind
    assert (vae.sample_rate, vae.hop_samples, vae.latent_channels) == (24_000, 480, 4)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (480, 1), (481, 2), (4800, 10)])
def test_sounds_are_padded_to_whole_frames(vae, samples, frames):
    posterior = vae.encode(noise(2, 1, samples))
    assert posterior.mean.shape == posterior.std.shape == (2, 4, frames)
    assert vae.frames(samples) == frames
    assert vae.decode(posterior.mode).shape == (2, 1, frames * 480)


def test_padding_is_with_zeros_on_the_right(vae):
    wave = noise(1, 1, 1000)
    padded = torch.nn.functional.pad(wave, (0, 440))
    assert torch.equal(vae.encode(wave).mean, vae.encode(padded).mean)


def test_inputs_are_left_as_they_were(vae):
    wave, latent = noise(1, 1, 960), noise(1, 4, 3)
    kept = wave.clone(), latent.clone()
    with torch.no_grad():
        vae.encode(wave)
        vae.decode(latent)
    assert torch.equal(wave, kept[0])
    assert torch.equal(latent, kept[1])


def test_a_row_does_not_depend_on_its_batch_mates(vae):
    latent = noise(3, 4, 5)
    torch.testing.assert_close(vae.decode(latent)[1:2], vae.decode(latent[1:2]))
    wave = noise(3, 1, 1920)
    torch.testing.assert_close(vae.encode(wave).mean[1:2], vae.encode(wave[1:2]).mean)


def test_shift_and_scale_normalise_the_latents_and_leave_the_reconstruction(vae):
    wave = noise(1, 1, 1920)
    raw = vae.encode(wave)
    reconstruction = vae.decode(raw.mode)
    shift, scale = vae.latent_shift.clone(), vae.latent_scale.clone()
    try:
        vae.latent_shift.copy_(torch.arange(4.0)[:, None])
        vae.latent_scale.copy_(torch.arange(1.0, 5.0)[:, None])
        normalised = vae.encode(wave)
        torch.testing.assert_close(normalised.mean[:, 1], (raw.mean[:, 1] - 1) / 2)
        torch.testing.assert_close(normalised.std[:, 3], raw.std[:, 3] / 4)
        torch.testing.assert_close(
            vae.decode(normalised.mode), reconstruction, atol=1e-5, rtol=1e-4
        )
    finally:
        vae.latent_shift.copy_(shift)
        vae.latent_scale.copy_(scale)


def test_shift_and_scale_travel_with_the_weights(vae):
    assert {"latent_shift", "latent_scale"} <= vae.state_dict().keys()


def test_gradients_reach_every_parameter():
    for config in TINY.values():
        vae = config.build()
        posterior = vae.encode(noise(1, 1, 1440))
        wave = vae.decode(posterior.sample(torch.Generator().manual_seed(0)))
        (wave.square().mean() + posterior.kl()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in vae.parameters())


def test_folding_the_weight_norm_keeps_the_output(vae):
    latent = noise(1, 4, 5)
    before = vae.decode(latent)
    copy = vae.config.build()
    copy.load_state_dict(vae.state_dict())
    copy.fold_weight_norm()
    copy.fold_weight_norm()  # a second time changes nothing
    torch.testing.assert_close(copy.decode(latent), before)


@pytest.mark.parametrize("shape", [(1, 2, 480), (1, 480), (1, 1, 0)])
def test_waveforms_of_another_shape_are_refused(vae, shape):
    with pytest.raises(ValueError, match="wave must be"):
        vae.encode(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 5, 3), (4, 3), (1, 4, 0)])
def test_latents_of_another_shape_are_refused(vae, shape):
    with pytest.raises(ValueError, match="latent must be"):
        vae.decode(torch.zeros(shape))


def test_receptive_frames_bound_what_a_change_reaches(vae):
    reach, middle = vae.receptive_frames, vae.receptive_frames + 3
    frames = 2 * middle + 1
    near = torch.zeros(frames, dtype=torch.bool)
    near[middle - reach : middle + reach + 1] = True

    latent = noise(1, 4, frames)
    changed = latent.clone()
    changed[..., middle] += 1
    with torch.no_grad():
        difference = (vae.decode(changed) - vae.decode(latent)).abs().reshape(frames, 480).amax(1)
    assert difference[~near].max() < 1e-6

    wave = noise(1, 1, frames * 480)
    struck = wave.clone()
    struck[..., middle * 480 : (middle + 1) * 480] += 1
    with torch.no_grad():
        difference = (vae.encode(struck).mean - vae.encode(wave).mean).abs()[0].amax(0)
    assert difference[~near].max() < 1e-5


def test_every_preset_belongs_to_a_family():
    assert all(isinstance(p, VAE_FAMILIES[p.kind]) for p in VAE_PRESETS.values())


@pytest.mark.parametrize("kind", VAE_FAMILIES)
def test_a_frozen_encoder_gets_no_gradients_and_the_decoder_does(kind):
    vae = TINY[kind].build()
    vae.freeze_encoder()
    posterior = vae.encode(noise(1, 1, 960))
    assert not posterior.mean.requires_grad and not posterior.std.requires_grad
    vae.decode(posterior.mean).square().mean().backward()
    learned = {n.partition(".")[0] for n, p in vae.named_parameters() if p.grad is not None}
    assert learned and "encoder" not in learned
