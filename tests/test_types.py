import numpy as np
import pytest
import torch

from ezaudio.types import Clip, TextEmbedding


def _embedding(batch: int, length: int, value: float = 1.0) -> TextEmbedding:
    return TextEmbedding(
        torch.full((batch, length, 3), value), torch.ones(batch, length, dtype=torch.bool)
    )


def test_joined_embeddings_are_padded_with_masked_zeros():
    joined = TextEmbedding.cat([_embedding(1, 4), _embedding(2, 2)])
    assert joined.tokens.shape == (3, 4, 3)
    assert joined.batch == 3
    assert joined.attend.tolist() == [[True] * 4] + [[True, True, False, False]] * 2
    assert joined.tokens[1, 2:].abs().sum() == 0


def test_selecting_rows_repeats_and_reorders_them():
    joined = TextEmbedding.cat([_embedding(1, 2, 1.0), _embedding(1, 2, 2.0)])
    chosen = joined.select([1, 0, 1])
    assert chosen.tokens[:, 0, 0].tolist() == [2.0, 1.0, 2.0]


def test_moving_changes_the_tokens_type_and_keeps_the_mask_boolean():
    moved = _embedding(1, 2).to("cpu", torch.float64)
    assert moved.tokens.dtype == torch.float64
    assert moved.attend.dtype == torch.bool


@pytest.mark.parametrize(
    "attend", [torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 2, dtype=torch.int64)]
)
def test_a_mask_of_another_shape_or_type_is_refused(attend):
    with pytest.raises(ValueError, match="attend"):
        TextEmbedding(torch.zeros(1, 2, 3), attend)


def test_padding_cannot_shorten_and_joining_needs_something():
    with pytest.raises(ValueError, match="pad"):
        _embedding(1, 4).padded(2)
    with pytest.raises(ValueError, match="join"):
        TextEmbedding.cat([])


def test_a_clip_knows_its_duration():
    assert Clip(np.zeros(36_000, np.float32), 24_000).duration_s == 1.5
