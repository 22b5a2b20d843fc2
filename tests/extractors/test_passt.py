"""Parity of PaSST with kkoutini/passt_hear21, at a width of 24 and a depth of 2."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ezaudio.errors import CheckpointError
from ezaudio.extractors.passt import Passt, PasstConfig, official_passt_state

GOLDEN = Path(__file__).parents[1] / "golden" / "front_ends.safetensors"
SMALL = PasstConfig(width=24, depth=2, heads=3, classes=11)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {k[6:]: v for k, v in load_file(GOLDEN).items() if k.startswith("passt/")}


@pytest.fixture(scope="module")
def weights(golden) -> dict[str, Tensor]:
    return {k[8:]: v for k, v in golden.items() if k.startswith("weights/")}


@pytest.fixture(scope="module")
def network(weights) -> Passt:
    network = SMALL.build()
    network.load_state_dict(official_passt_state(weights))
    return network


def test_the_front_end_gives_the_original_log_mel(network, golden):
    torch.testing.assert_close(network.front_end(golden["in"]), golden["logmel"], atol=1e-4, rtol=0)


@torch.inference_mode()
def test_features_and_logits_are_the_originals(network, golden):
    heard = network(golden["in"])
    torch.testing.assert_close(heard.features, golden["features"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(heard.logits, golden["logits"], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_long_sound_has_the_mean_probabilities_of_its_pieces(network):
    wave = 0.1 * torch.randn(1, 400_000, generator=torch.Generator().manual_seed(0))
    whole = network(wave).logits.softmax(1)
    parts = [network(part).logits.softmax(1) for part in (wave[:, :320_000], wave[:, 320_000:])]
    torch.testing.assert_close(whole, torch.stack(parts).mean(0))


@torch.inference_mode()
def test_a_sound_of_a_millisecond_is_heard(network):
    assert network(torch.zeros(1, 32)).logits.isfinite().all()


def test_an_absent_file_says_where_the_weights_come_from(tmp_path):
    with pytest.raises(CheckpointError, match="PaSST"):
        SMALL.load(tmp_path / "none.pt")


def test_a_file_that_lacks_a_tensor_is_refused_by_its_name(tmp_path, weights):
    lacking = {k: v.clone() for k, v in weights.items() if k != "blocks.1.mlp.fc2.bias"}
    save_file(lacking, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"blocks\.1\.fc2\.bias"):
        SMALL.load(tmp_path / "x.safetensors")
    save_file(weights, tmp_path / "y.safetensors")
    assert SMALL.load(tmp_path / "y.safetensors").sha256
