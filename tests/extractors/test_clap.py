from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.tiny_clap import RATE_HZ, SECONDS, write_tiny_clap

from ezaudio.errors import CheckpointError, InputError
from ezaudio.extractors.clap import Clap, ClapConfig, FrontEnd, LogMel, load_clap
from ezaudio.types import Clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_clap(tmp_path_factory.mktemp("clap"))


@pytest.fixture(scope="module")
def clap(folder: Path) -> Clap:
    return ClapConfig(path=str(folder)).build()


def noise(seconds: float, seed: int = 0, rate: int = RATE_HZ) -> Clip:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    return Clip((0.1 * samples).astype(np.float32), rate)


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.6, 1.0])
def test_short_sounds_give_the_vectors_of_the_published_front_end(
    clap: Clap, folder: Path, seconds: float
) -> None:
    from transformers import ClapFeatureExtractor, ClapModel

    clip = noise(seconds)
    inputs = ClapFeatureExtractor.from_pretrained(folder)(
        [clip.samples], sampling_rate=RATE_HZ, return_tensors="pt"
    )
    with torch.no_grad():
        heard = ClapModel.from_pretrained(folder).eval().get_audio_features(**inputs)
    expected = getattr(heard, "pooler_output", heard)
    assert torch.allclose(clap.embed_audio([clip]), expected, atol=1e-4)


def test_the_spectrogram_is_the_published_one(folder: Path) -> None:
    from transformers import ClapFeatureExtractor

    clip = noise(SECONDS)
    inputs = ClapFeatureExtractor.from_pretrained(folder)(
        [clip.samples], sampling_rate=RATE_HZ, return_tensors="pt"
    )
    ours = LogMel(FrontEnd.read(folder))(torch.from_numpy(clip.samples)[None])
    assert torch.allclose(ours[0], inputs["input_features"][0].float(), atol=2e-3)


def test_sentences_give_the_vectors_of_the_model_itself_alone_and_in_a_batch(
    clap: Clap, folder: Path
) -> None:
    from transformers import AutoTokenizer, ClapModel

    sentences = ["a dog barks", "rain falls on a roof while somebody walks"]
    tokens = AutoTokenizer.from_pretrained(folder)(sentences, padding=True, return_tensors="pt")
    with torch.no_grad():
        read = ClapModel.from_pretrained(folder).eval().get_text_features(**tokens)
    together = clap.embed_text(sentences)
    assert torch.allclose(together, getattr(read, "pooler_output", read), atol=1e-5)
    alone = torch.cat([clap.embed_text([sentence]) for sentence in sentences])
    assert torch.allclose(together, alone, atol=1e-5)
    assert clap.embed_text([]).shape == (0, clap.width)


def test_a_long_sound_is_heard_in_windows_and_always_the_same(clap: Clap) -> None:
    long = noise(2.5 * SECONDS)
    once, again = clap.embed_audio([long]), clap.embed_audio([long])
    assert torch.equal(once, again)
    size = RATE_HZ * SECONDS
    starts = (0, (len(long.samples) - size) // 2, len(long.samples) - size)
    parts = [Clip(long.samples[start : start + size], RATE_HZ) for start in starts]
    mean = clap.embed_audio(parts).mean(0)
    assert torch.allclose(once[0], mean / mean.norm(), atol=1e-5)


def test_a_batch_gives_what_each_sound_gives_alone(clap: Clap) -> None:
    clips = [noise(0.4, 1), noise(3.2, 2), noise(0.2, 3, rate=8000), Clip(np.zeros(0, "f4"), 8000)]
    together = clap.embed_audio(clips, batch_size=2)
    alone = torch.cat([clap.embed_audio([clip]) for clip in clips])
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(together.norm(dim=1), torch.tensor([1.0, 1.0, 1.0, 0.0]), atol=1e-5)


def test_the_hash_is_that_of_the_weights(clap: Clap, tmp_path: Path) -> None:
    other = load_clap(path=write_tiny_clap(tmp_path, seed=1))
    assert len(clap.sha256) == 64
    assert other.sha256 != clap.sha256


def test_half_precision_is_near(folder: Path) -> None:
    clip = noise(0.5)
    full = load_clap(path=folder).embed_audio([clip])
    half = load_clap(path=folder).to(dtype=torch.bfloat16).embed_audio([clip])
    assert half.dtype == torch.float32
    assert float((full * half).sum()) > 0.98


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("preprocessor_config.json", "preprocessor_config.json: missing, or damaged"),
        ("model.safetensors", "holds no model.safetensors"),
        ("config.json", "not a CLAP model, or damaged"),
    ],
)
def test_a_folder_that_lacks_a_file_is_refused_in_one_line(
    folder: Path, tmp_path: Path, damage: str, told: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / damage).unlink()
    with pytest.raises(CheckpointError, match=told) as error:
        load_clap(path=copy)
    assert "\n" not in str(error.value)


def test_truncated_weights_and_models_with_fusion_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="not a CLAP model, or damaged"):
        load_clap(path=copy)
    path = copy / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"truncation": "fusion"}))
    with pytest.raises(CheckpointError, match="fusion"):
        load_clap(path=copy)


def test_an_unknown_name_is_refused_with_those_that_can_be_fetched() -> None:
    with pytest.raises(InputError, match="laion/larger_clap_general"):
        load_clap("somebody/clap")
