"""The cache of prompts changes nothing but the number of times that the encoder is asked."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ezaudio.text import CachedTextEncoder
from ezaudio.types import TextEmbedding


class Letters:
    """Encodes each letter as its number, in a width of 3."""

    name = "letters"
    width = 3
    max_tokens = 99

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.dtype = torch.float32

    def __call__(self, prompts: Sequence[str]) -> TextEmbedding:
        self.asked += prompts
        rows = [torch.tensor([1.0, *(float(ord(c)) for c in prompt)]) for prompt in prompts]
        parts = [
            TextEmbedding(row[None, :, None].expand(1, -1, 3), torch.ones(1, len(row)).bool())
            for row in rows
        ]
        return TextEmbedding.cat(parts).to(dtype=self.dtype)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Letters:
        self.dtype = dtype or self.dtype
        return self


@given(
    st.lists(st.lists(st.sampled_from(["", "a", "bb", "ccc", "dddd"]), min_size=1), max_size=8),
    st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_cached_equals_uncached_and_the_bound_holds(batches: list[list[str]], size: int) -> None:
    cached = CachedTextEncoder(Letters(), capacity=size)
    for prompts in batches:
        got, expected = cached(prompts), Letters()(prompts)
        assert got.batch == len(prompts)
        length = expected.tokens.shape[1]
        assert torch.equal(got.tokens[:, :length], expected.tokens)
        assert torch.equal(got.attend[:, :length], expected.attend)
        assert not got.attend[:, length:].any() and not got.tokens[:, length:].any()
        assert len(cached) <= size


def test_a_known_prompt_is_not_encoded_again_however_it_is_spaced() -> None:
    encoder = Letters()
    cached = CachedTextEncoder(encoder)
    cached(["a b", "a b", ""])
    cached(["  a   b\n", ""])
    assert encoder.asked == ["a b", ""]


def test_the_prompt_used_least_recently_is_forgotten_first() -> None:
    encoder = Letters()
    cached = CachedTextEncoder(encoder, capacity=2)
    for prompt in ("a", "b", "a", "c", "a", "b"):
        cached([prompt])
    assert encoder.asked == ["a", "b", "c", "b"]


def test_moving_forgets() -> None:
    cached = CachedTextEncoder(Letters())
    assert cached(["a"]).tokens.dtype == torch.float32
    assert cached.to(dtype=torch.float64) is cached and len(cached) == 0
    assert cached(["a"]).tokens.dtype == torch.float64


def test_the_cache_looks_like_its_encoder() -> None:
    cached = CachedTextEncoder(Letters())
    assert (cached.name, cached.width, cached.max_tokens) == ("letters", 3, 99)
    with pytest.raises(ValueError, match="capacity"):
        CachedTextEncoder(Letters(), capacity=0)
    with pytest.raises(ValueError, match="no prompts"):
        cached([])


def test_many_threads_may_ask_at_once() -> None:
    encoder = Letters()
    cached = CachedTextEncoder(encoder, capacity=64)
    prompts = [chr(97 + i) * (i + 1) for i in range(20)]
    threads = [threading.Thread(target=cached, args=(prompts,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(encoder.asked) == prompts
