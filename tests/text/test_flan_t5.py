"""FLAN-T5: a tiny random one, in the published file format, against transformers itself."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from ezaudio import hub
from ezaudio.errors import CheckpointError, DownloadError, InputError
from ezaudio.text import CachedTextEncoder, FlanT5Config
from ezaudio.text.flan_t5 import FlanT5

PROMPTS = ["", "a dog barks", "rain and a dog and a dog and rain", "unknown words"]
SIZES = {
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 24,
    "num_heads": 2,
    "num_layers": 2,
    "num_decoder_layers": 1,
    "vocab_size": 12,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "model_type": "t5",
}
PUBLISHED = {  # further fields of the published configurations
    "architectures": ["T5ForConditionalGeneration"],
    "decoder_start_token_id": 0,
    "dense_act_fn": "gelu_new",
    "dropout_rate": 0.1,
    "eos_token_id": 1,
    "initializer_factor": 1.0,
    "is_encoder_decoder": True,
    "is_gated_act": True,
    "layer_norm_epsilon": 1e-06,
    "n_positions": 512,
    "output_past": True,
    "pad_token_id": 0,
    "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32,
    "torch_dtype": "float32",
    "transformers_version": "4.23.1",
    "use_cache": True,
}


def _tokenizer() -> Tokenizer:
    words = ["<pad>", "</s>", "<unk>", "a", "and", "barks", "dog", "rain"]
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.enable_padding(length=512)
    return tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import T5Config, T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(T5Config(**SIZES))
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    for copy in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"):
        tensors.pop(copy, None)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({**SIZES, **PUBLISHED}))
    _tokenizer().save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Iterator[FlanT5]:
    yield FlanT5Config(path=str(folder)).build()


def test_vectors_equal_those_of_transformers_padded_as_the_authors_pad(
    encoder: FlanT5, folder: Path
) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    reference = T5ForConditionalGeneration(T5Config(**SIZES)).eval()
    reference.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    got = encoder(PROMPTS)
    tokenizer = _tokenizer()
    tokenizer.enable_padding(length=100)
    padded = tokenizer.encode_batch(PROMPTS)
    ids = torch.tensor([row.ids for row in padded])
    mask = torch.tensor([row.attention_mask for row in padded])
    with torch.no_grad():
        expected = reference.encoder(ids, attention_mask=mask).last_hidden_state
    assert torch.equal(got.attend, mask.bool())
    assert (got.tokens - expected)[got.attend].abs().max() < 1e-5


def test_prompts_are_padded_to_a_hundred_masked_zeros(encoder: FlanT5) -> None:
    got = encoder(PROMPTS)
    assert got.tokens.shape == (4, 100, 16) and encoder.width == 16
    assert got.attend.sum(1).tolist() == [1, 4, 10, 3]
    assert not got.tokens[~got.attend].any()


def test_a_prompt_does_not_depend_on_its_batch_mates(encoder: FlanT5) -> None:
    together = encoder(PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        assert (encoder([prompt]).tokens[0] - together.tokens[row]).abs().max() < 1e-5


def test_a_long_prompt_loses_its_end_and_keeps_its_mark(folder: Path) -> None:
    encoder = FlanT5Config(path=str(folder), max_tokens=5).build()
    long = encoder(["dog " * 3000])
    assert long.attend.all() and long.tokens.shape == (1, 5, 16)
    assert torch.equal(long.tokens, encoder(["dog " * 4]).tokens)


def test_cached_equals_uncached(encoder: FlanT5) -> None:
    cached = CachedTextEncoder(encoder, capacity=2)
    for prompts in (PROMPTS, PROMPTS[::-1], [PROMPTS[1]] * 3):
        got, expected = cached(prompts), encoder(prompts)
        assert (got.tokens - expected.tokens).abs().max() < 1e-5
        assert torch.equal(got.attend, expected.attend)


def test_shards_are_read_as_one_file(folder: Path, tmp_path: Path, encoder: FlanT5) -> None:
    shutil.copytree(folder, tmp_path / "t5")
    tensors = load_file(tmp_path / "t5/model.safetensors")
    (tmp_path / "t5/model.safetensors").unlink()
    names = sorted(tensors)
    halves = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, part in halves.items():
        save_file({name: tensors[name] for name in part}, tmp_path / "t5" / file)
    weight_map = {name: file for file, part in halves.items() for name in part}
    index = tmp_path / "t5/model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    sharded = FlanT5Config(path=str(tmp_path / "t5")).build()
    assert torch.equal(sharded(PROMPTS).tokens, encoder(PROMPTS).tokens)
    index.write_text("[]")
    with pytest.raises(CheckpointError, match="index"):
        FlanT5Config(path=str(tmp_path / "t5")).build()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_encoder_moves_to_another_type(folder: Path, dtype: torch.dtype) -> None:
    exact = FlanT5Config(path=str(folder)).build()
    moved = FlanT5Config(path=str(folder)).build().to("cpu", dtype)
    got = moved(PROMPTS).tokens
    assert got.dtype == dtype
    assert (got.float() - exact(PROMPTS).tokens).abs().max() < 0.1


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", ""),
        ("config.json", json.dumps({**SIZES, "d_ff": 25})),
        ("config.json", None),
        ("tokenizer.json", None),
        ("model.safetensors", None),
        ("model.safetensors", "x"),
    ],
)
def test_missing_or_damaged_files_are_one_line(
    folder: Path, tmp_path: Path, file: str, content: str | None
) -> None:
    shutil.copytree(folder, tmp_path / "t5")
    (tmp_path / "t5" / file).unlink()
    if content is not None:
        (tmp_path / "t5" / file).write_text(content)
    with pytest.raises(CheckpointError) as caught:
        FlanT5Config(path=str(tmp_path / "t5")).build()
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_without_a_path_the_hub_is_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezaudio.text.flan_t5.fetch_text_encoder", lambda name: folder)
    assert FlanT5Config(name="google/flan-t5-xl").build().name == "google/flan-t5-xl"


def test_offline_and_not_cached_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DownloadError, match="`path`"):
        hub.fetch_text_encoder("google/flan-t5-large")
    with pytest.raises(InputError, match="flan-t5-xl"):
        FlanT5Config(name="t5").build()


def test_loading_says_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    FlanT5Config(path=str(folder)).build()(["a dog"])
    assert "transformers" in sys.modules
    assert capfd.readouterr() == ("", "")
