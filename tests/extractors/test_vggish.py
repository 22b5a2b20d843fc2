"""Parity of VGGish with harritaylor/torchvggish, its widths divided by 16."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ezaudio.errors import CheckpointError
from ezaudio.extractors.vggish import (
    Vggish,
    VggishConfig,
    example_count,
    official_vggish_state,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "front_ends.safetensors"
SMALL = VggishConfig(widths=(4, 8, 16, 16, 32, 32), hidden=24, features=8)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {k[7:]: v for k, v in load_file(GOLDEN).items() if k.startswith("vggish/")}


@pytest.fixture(scope="module")
def network(golden) -> Vggish:
    weights = {k[8:]: v for k, v in golden.items() if k.startswith("weights/")}
    network = SMALL.build()
    network.load_state_dict(official_vggish_state(weights))
    return network


def test_the_front_end_gives_the_original_examples(network, golden):
    examples = network.examples(golden["in"])
    torch.testing.assert_close(examples, golden["examples"], atol=2e-4, rtol=0)


def test_the_features_are_the_originals(network, golden):
    with torch.inference_mode():
        features = network(golden["in"])
    torch.testing.assert_close(features, golden["features"], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("samples", [100, 15_600, 15_759, 31_000, 160_000])
def test_examples_are_as_many_as_fit(network, samples):
    assert len(network.examples(torch.zeros(samples))) == example_count(samples)


def test_the_published_sizes_are_the_defaults():
    with torch.device("meta"):
        network = Vggish(VggishConfig())
    assert network.layers[0].weight.shape == (4096, 512 * 4 * 6)
    assert network.layers[-1].weight.shape == (128, 4096)


def test_an_absent_file_says_where_the_weights_come_from(tmp_path):
    with pytest.raises(CheckpointError, match="torchvggish"):
        SMALL.load(tmp_path / "none.pth")


def test_tensors_of_another_network_are_named(tmp_path, golden):
    weights = {k[8:]: v.clone() for k, v in golden.items() if k.startswith("weights/")}
    save_file({**weights, "embeddings.4.bias": torch.zeros(9)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"layers\.2\.bias"):
        SMALL.load(tmp_path / "x.safetensors")
    save_file(weights, tmp_path / "y.safetensors")
    assert SMALL.load(tmp_path / "y.safetensors").sha256
