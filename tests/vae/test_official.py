"""Parity with the authors' autoencoder: arithmetic, names, shapes, file layout."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from ezaudio.errors import CheckpointError
from ezaudio.vae import OobleckConfig
from ezaudio.vae.official import official_vae_config, official_vae_state, to_official_vae_state
from ezaudio.vae.oobleck import OobleckAutoencoder

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return load_file(GOLDEN / "vae.safetensors")


@pytest.fixture(scope="module")
def config() -> OobleckConfig:
    with safe_open(GOLDEN / "vae.safetensors", "pt") as file:
        return official_vae_config(json.loads(file.metadata()["config"]))


@pytest.fixture(scope="module")
def checkpoint(tensors) -> dict[str, dict[str, Tensor]]:
    weights = {k.removeprefix("weights/"): v for k, v in tensors.items() if "weights/" in k}
    return {"state_dict": weights}


@pytest.fixture(params=[False, True], ids=["weight-normalised", "folded"])
def vae(request, config, checkpoint) -> OobleckAutoencoder:
    vae = config.build()
    vae.load_state_dict(official_vae_state(checkpoint, config))
    if request.param:
        vae.fold_weight_norm()
    return vae


def test_the_encoder_gives_the_authors_mean_and_deviation(vae, tensors):
    posterior = vae.encode(tensors["in/waveform"])
    torch.testing.assert_close(posterior.mean, tensors["out/mean"], atol=1e-4, rtol=0)
    torch.testing.assert_close(posterior.std, tensors["out/std"], atol=1e-4, rtol=0)


def test_the_encoder_gives_the_authors_scale_before_the_softplus(vae, tensors):
    scale = vae.encoder(tensors["in/waveform"]).chunk(2, dim=1)[1]
    torch.testing.assert_close(scale, tensors["out/scale"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("gradients", [True, False])
def test_the_decoder_gives_the_authors_waveform(vae, tensors, gradients):
    with torch.set_grad_enabled(gradients):
        wave = vae.decode(tensors["in/latent"])
    torch.testing.assert_close(wave, tensors["out/waveform"], atol=1e-4, rtol=0)


def test_the_released_manifest_loads_strictly():
    manifest = json.loads((GOLDEN / "manifests" / "vae.json").read_text())
    config = official_vae_config(manifest["config"])
    assert config == OobleckConfig()
    state = {k: torch.empty(shape, device="meta") for k, shape in manifest["tensors"].items()}
    with torch.device("meta"):
        vae = config.build()
    vae.load_state_dict(official_vae_state({"state_dict": state}, config), assign=True)
    assert sum(p.numel() for p in vae.parameters()) == manifest["params"] == 43_846_785


def test_a_state_survives_the_way_to_the_authors_layout_and_back(config, checkpoint):
    state = official_vae_state(checkpoint, config)
    again = to_official_vae_state(state, config)["state_dict"]
    assert again.keys() == checkpoint["state_dict"].keys()
    assert all(again[name] is tensor for name, tensor in checkpoint["state_dict"].items())


def test_what_is_not_the_autoencoders_is_left_out(config, checkpoint):
    extra = {**checkpoint["state_dict"], "discriminator.layers.0.weight": torch.zeros(1)}
    assert official_vae_state({"state_dict": extra}, config).keys() == (
        official_vae_state(checkpoint, config).keys()
    )


def test_missing_and_unknown_tensors_are_named(config, checkpoint):
    state = dict(checkpoint["state_dict"])
    name, tensor = state.popitem()
    with pytest.raises(CheckpointError, match=f"lacks tensor `{name}`.*1 missing"):
        official_vae_state({"state_dict": state}, config)
    unknown = {**checkpoint["state_dict"], "autoencoder.pre.weight": tensor}
    with pytest.raises(CheckpointError, match=r"unknown tensor `autoencoder.pre.weight`"):
        official_vae_state({"state_dict": unknown}, config)


def test_unsupported_settings_are_named():
    manifest = json.loads((GOLDEN / "manifests" / "vae.json").read_text())["config"]
    manifest["model"]["decoder"]["config"]["final_tanh"] = True
    with pytest.raises(CheckpointError, match="final_tanh"):
        official_vae_config(manifest)
    del manifest["model"]["bottleneck"]
    with pytest.raises(CheckpointError, match="bottleneck"):
        official_vae_config(manifest)


def test_normalised_or_folded_states_do_not_fit_the_authors_layout(config, checkpoint):
    state = official_vae_state(checkpoint, config)
    with pytest.raises(CheckpointError, match="normalised"):
        to_official_vae_state({**state, "latent_shift": torch.ones(8, 1)}, config)
    vae = config.build()
    vae.fold_weight_norm()
    with pytest.raises(CheckpointError, match="weight-normalised"):
        to_official_vae_state(vae.state_dict(), config)
