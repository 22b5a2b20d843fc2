"""Token vectors in shards: read back by prompt, made once, completed by an encoder."""

import numpy as np
import pytest
import torch

from ezaudio.data.clips import ClipRow
from ezaudio.data.texts import EncodedPrompts, TextStore, encode_texts, prompts_of
from ezaudio.errors import InputError
from ezaudio.types import TextEmbedding


class Letters:
    """A token per word, its vector the length of the word; counts what it was asked for."""

    name, width, max_tokens = "letters", 4, 8

    def __init__(self):
        self.asked = []

    def __call__(self, prompts):
        self.asked += prompts
        rows = [[len(word) for word in prompt.split()] or [0] for prompt in prompts]
        length = max(map(len, rows))
        tokens = torch.zeros(len(rows), length, 4)
        for i, row in enumerate(rows):
            tokens[i, : len(row)] = torch.tensor(row, dtype=torch.float32)[:, None]
        attend = torch.arange(length) < torch.tensor([len(row) for row in rows])[:, None]
        return TextEmbedding(tokens, attend)


PROMPTS = ["a dog barking", "rain", "", "a  dog   barking", "one two three four five"]


@pytest.fixture
def store(tmp_path):
    assert encode_texts(PROMPTS, Letters(), tmp_path / "texts", prompts_per_shard=2) == 4
    return TextStore(tmp_path / "texts")


def test_prompts_come_back_as_the_encoder_made_them(store):
    assert len(store) == 4 and (store.name, store.width) == ("letters", 4)
    found, meant = store(PROMPTS[:3]), Letters()(PROMPTS[:3])
    assert torch.equal(found.tokens, meant.tokens) and torch.equal(found.attend, meant.attend)
    assert found.tokens.dtype == torch.float32


def test_spaces_do_not_make_another_prompt(store):
    assert " rain " in store and "a dog  barking" in store
    assert "rains" not in store and 3 not in store
    with pytest.raises(InputError, match="rains"):
        store(["rains"])


def test_what_is_encoded_is_not_encoded_again(store, tmp_path):
    again = Letters()
    encode_texts(PROMPTS, again, tmp_path / "texts", prompts_per_shard=2)
    assert again.asked == []
    (tmp_path / "texts" / "index.json").unlink()
    (tmp_path / "texts" / "shard-000001.parquet").unlink()
    encode_texts(PROMPTS, again, tmp_path / "texts", prompts_per_shard=2)
    assert again.asked == ["a dog barking", "one two three four five"]
    with pytest.raises(InputError, match="new folder"):
        encode_texts(["other"], again, tmp_path / "texts", prompts_per_shard=2)


def test_unknown_prompts_are_encoded_and_known_ones_are_not(store):
    encoder = Letters()
    both = EncodedPrompts(store, encoder)
    asked = ["rain", "new words here now", "a dog barking", "other"]
    found = both(asked)
    assert encoder.asked == ["new words here now", "other"]
    meant = Letters()(asked)
    assert torch.equal(found.tokens, meant.tokens) and torch.equal(found.attend, meant.attend)
    assert torch.equal(EncodedPrompts(None, encoder)(asked).tokens, meant.tokens)
    encoder.name = "others"
    with pytest.raises(InputError, match="others made"):
        EncodedPrompts(store, encoder)


def test_values_beyond_half_precision_are_held_at_its_limit(tmp_path):
    class Loud(Letters):
        def __call__(self, prompts):
            embedding = super().__call__(prompts)
            return TextEmbedding(embedding.tokens * 1e5, embedding.attend)

    encode_texts(["rain"], Loud(), tmp_path / "texts")
    assert np.isfinite(TextStore(tmp_path / "texts")(["rain"]).tokens.numpy()).all()


def test_prompts_of_rows_are_all_wordings_and_the_empty_one():
    rows = [ClipRow(file="a", label="rain", caption="Rain falling.")]
    prompts = set(prompts_of(rows))
    assert {"", "rain falling", "please make rain falling"} <= prompts
