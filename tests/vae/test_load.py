"""One way to read an autoencoder from a file, checked alike wherever it is needed."""

from __future__ import annotations

import pytest
import torch
from tests.tiny_model import shake

from ezaudio.checkpoints import save_module
from ezaudio.errors import CheckpointError
from ezaudio.vae import OobleckConfig
from ezaudio.vae.load import load_vae, load_weights

CONFIG = OobleckConfig(latent_channels=4, base_width=2)


@pytest.fixture
def vae():
    vae = CONFIG.build()
    shake(vae, 0.05)
    return vae


def write(path, vae, *, kind="vae", **changes):
    config = CONFIG.model_dump(mode="json") | changes
    save_module(path, vae.state_dict(), kind=kind, config=config)
    return path


def test_what_is_loaded_is_ready_for_inference_and_sounds_the_same(vae, tmp_path):
    loaded = load_vae(write(tmp_path / "vae.safetensors", vae))
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert not any("weight_g" in name or "original" in name for name in loaded.state_dict())
    wave = torch.randn(1, 1, 4800, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = (each.decode(each.encode(wave).mode) for each in (loaded, vae))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_half_precision_weights_become_float32(vae, tmp_path):
    path = write(tmp_path / "vae.safetensors", vae.half())
    assert {p.dtype for p in load_vae(path).parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "dit"}, "expected a `vae`"),
        ({"base_width": 4}, "do not fit its configuration"),
        ({"latent_channels": -1}, "in its configuration, "),
    ],
)
def test_a_file_that_is_no_such_autoencoder_is_refused(vae, tmp_path, changes, said):
    with pytest.raises(CheckpointError, match=said):
        load_vae(write(tmp_path / "vae.safetensors", vae, **changes))


def test_an_unknown_family_is_named(vae, tmp_path):
    path = tmp_path / "vae.safetensors"
    save_module(path, vae.state_dict(), kind="vae", config={"kind": "parrot"})
    with pytest.raises(CheckpointError, match="of kind 'parrot' is unknown"):
        load_vae(path)


def test_weights_to_train_from_are_checked_alike(vae, tmp_path):
    path = write(tmp_path / "vae.safetensors", vae.half())
    into = CONFIG.build()
    load_weights(into, path)
    assert into.training and next(into.parameters()).dtype == torch.float32
    torch.testing.assert_close(into.state_dict(), vae.float().state_dict())
    with pytest.raises(CheckpointError, match="do not fit"):
        load_weights(OobleckConfig(latent_channels=4, base_width=4).build(), path)
    with pytest.raises(CheckpointError, match=r"nothing\.safetensors"):
        load_weights(into, tmp_path / "nothing.safetensors")
