"""Parity of Cnn14 with the original, on weights that follow a recipe, and its loader."""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ezaudio.errors import CheckpointError
from ezaudio.extractors import EXTRACTORS, panns
from ezaudio.extractors.panns import CNN14_16K, CNN14_32K, Cnn14, LogMel, official_cnn14_state
from ezaudio.files import sha256_file

GOLDEN = Path(__file__).parents[1] / "golden" / "panns.safetensors"
CONFIGS = {16_000: CNN14_16K, 32_000: CNN14_32K}
rates = pytest.mark.parametrize("rate", CONFIGS)


def official_names() -> dict[str, tuple[int, ...]]:
    """Shapes by published name, without batch counters."""
    with torch.device("meta"):
        state = Cnn14(CNN14_16K).state_dict()
    ours = {"norm": "bn0", "to_features": "fc1", "to_logits": "fc_audioset"}
    names = {}
    for name, tensor in state.items():
        head, tail = name.split(".", 1)
        if head == "blocks":
            index, tail = tail.split(".", 1)
            head = f"conv_block{int(index) + 1}"
        if not tail.endswith("num_batches_tracked"):
            names[f"{ours.get(head, head)}.{tail}"] = tuple(tensor.shape)
    return names


def recipe(name: str, shape: tuple[int, ...]) -> Tensor:
    """The golden file's random weights."""
    generator = np.random.default_rng(zlib.crc32(f"panns:{name}".encode()))
    a = generator.standard_normal(shape, dtype=np.float32)
    if name.endswith("running_var"):
        a = 1 + 0.1 * np.abs(a)
    elif name.endswith("running_mean"):
        a = 0.1 * a
    elif len(shape) >= 2:
        a = a * np.float32(math.sqrt(2 / math.prod(shape[1:])))
    elif name.endswith("weight"):
        a = 1 + 0.1 * a
    else:
        a = 0.1 * a
    return torch.from_numpy(a)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN)


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return {name: recipe(name, shape) for name, shape in official_names().items()}


def test_names_and_shapes_are_those_of_the_published_file():
    with safe_open(GOLDEN, "pt") as file:
        for rate in CONFIGS:
            published = json.loads(file.metadata()[f"tensors_{rate}"])
            assert {k: tuple(v) for k, v in published.items()} == official_names()


@rates
def test_the_front_end_gives_the_original_log_mel(rate, golden):
    logmel = LogMel(CONFIGS[rate])(golden[f"in/waveform_{rate}"])
    expected = golden[f"out/logmel_{rate}"]
    torch.testing.assert_close(logmel, expected, atol=1e-3, rtol=0)


@rates
def test_features_and_logits_are_the_originals(rate, golden, weights):
    with torch.device("meta"):
        network = Cnn14(CONFIGS[rate])
    network.load_state_dict(official_cnn14_state(weights), assign=True)
    with torch.inference_mode():
        heard = network.eval()(golden[f"in/waveform_{rate}"])
    for got, name in ((heard.features, "features"), (heard.logits, "logits")):
        expected = golden[f"out/{name}_{rate}"]
        error = (got - expected).abs().max() / expected.abs().max()
        assert error < 1e-3, f"{name}: {error}"


class TestLoader:
    """The loader, on a network a sixteenth as wide."""

    @pytest.fixture(autouse=True)
    def narrow(self, monkeypatch):
        monkeypatch.setattr(panns, "_WIDTHS", (4, 4, 4, 4, 4, 8))

    @pytest.fixture
    def state(self) -> dict[str, Tensor]:
        state = {name: recipe(name, shape) for name, shape in official_names().items()}
        fixed = {"spectrogram_extractor.stft.conv_real.weight": torch.zeros(257, 1, 512)}
        return {**fixed, "logmel_extractor.melW": torch.zeros(257, 64), **state}

    @pytest.fixture
    def published(self, tmp_path, state) -> Path:
        sampler = {"indexes_per_class": [np.arange(3)], "queue": [np.int64(2)]}
        path = tmp_path / "cnn14.pth"
        torch.save({"iteration": 7, "model": state, "sampler": sampler}, path)
        return path

    def test_a_published_file_loads_with_its_hash_and_without_gradients(self, published, state):
        network = CNN14_16K.load(published, sha256=sha256_file(published))
        assert network.sha256 == sha256_file(published)
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())
        assert torch.equal(network.to_features.bias, state["fc1.bias"])
        heard = network(torch.zeros(2, 16_000))
        assert heard.features.shape == (2, 8)
        assert heard.logits.shape == (2, 527)

    def test_a_file_pickled_by_an_older_numpy_loads(self, tmp_path, state):
        sampler = {"indexes_per_class": [np.arange(3)], "queue": [np.int64(2)]}
        path = tmp_path / "old.pth"
        content = {"model": state, "sampler": sampler}
        torch.save(content, path, _use_new_zipfile_serialization=False)
        path.write_bytes(path.read_bytes().replace(b"cnumpy._core.", b"cnumpy.core."))
        assert CNN14_16K.load(path).sha256

    def test_safetensors_load_too(self, tmp_path, state):
        save_file(state, tmp_path / "cnn14.safetensors")
        CNN14_16K.load(tmp_path / "cnn14.safetensors")

    def test_an_absent_file_says_where_the_weights_come_from(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"Cnn14_mAP=0\.431\.pth.*zenodo\.org"):
            CNN14_32K.load(tmp_path / "none.pth")

    def test_another_hash_is_refused(self, published):
        with pytest.raises(CheckpointError, match="expected 0000"):
            CNN14_16K.load(published, sha256="0" * 64)

    def test_weights_of_another_rate_are_refused(self, published):
        with pytest.raises(CheckpointError, match=r"512 samples.*Cnn14_mAP=0\.431"):
            CNN14_32K.load(published)

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("to_logits.weight", {"fc_audioset.weight": torch.zeros(10, 8)}),
            ("surplus.weight", {"surplus.weight": torch.zeros(1)}),
        ],
    )
    def test_tensors_of_another_network_are_named(self, tmp_path, state, name, change):
        torch.save({"model": {**state, **change}}, tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match=f"`{name}`"):
            CNN14_16K.load(tmp_path / "x.pth")

    def test_a_file_without_tensors_is_refused(self, tmp_path):
        torch.save({"model": [1, 2]}, tmp_path / "x.pth")
        with pytest.raises(CheckpointError, match="no named tensors"):
            CNN14_16K.load(tmp_path / "x.pth")

    def test_a_file_that_would_run_code_is_refused(self, tmp_path):
        torch.save({"model": Path("x")}, tmp_path / "x.pth")
        with pytest.raises(CheckpointError):
            CNN14_16K.load(tmp_path / "x.pth")

    @pytest.mark.parametrize("samples", [1, 100, 4800])
    def test_short_sounds_are_heard_as_if_padded(self, samples):
        network = CNN14_16K.build()
        wave = torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
        padded = torch.nn.functional.pad(wave, (0, 31 * 160 - samples))
        with torch.inference_mode():
            assert torch.equal(network(wave).features, network(padded).features)


def test_silence_is_at_the_floor():
    assert LogMel(CNN14_16K)(torch.zeros(1, 16_000)).unique().tolist() == pytest.approx([-100.0])


def test_extractors_are_named_after_their_rate():
    assert {name: e.sample_rate for name, e in EXTRACTORS.items()} == {
        "panns-16k": 16_000,
        "panns-32k": 32_000,
    }
