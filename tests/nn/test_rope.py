import pytest
import torch

from ezaudio.nn.rope import Rope, inverse_frequencies, rope_tables, rotate


def test_the_product_of_turned_vectors_depends_on_their_distance_alone():
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(8, generator=generator), torch.randn(8, generator=generator)
    tables = rope_tables(20, 8)
    turned_q = rotate(q.expand(1, 1, 20, 8), tables)[0, 0]
    turned_k = rotate(k.expand(1, 1, 20, 8), tables)[0, 0]
    products = turned_q @ turned_k.T
    for distance in range(-5, 6):
        same = products.diagonal(distance)
        assert torch.allclose(same, same[0].expand_as(same), atol=1e-4)


def test_turning_keeps_lengths_types_and_the_first_position():
    x = torch.randn(2, 3, 7, 8, dtype=torch.float64)
    turned = rotate(x, rope_tables(7, 8))
    assert turned.dtype == torch.float64
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[:, :, 0], x[:, :, 0])


def test_the_slowest_pair_turns_by_the_base():
    assert inverse_frequencies(4).tolist() == pytest.approx([1.0, 0.01])


def test_tables_are_kept_and_grow_with_the_sequence():
    rope = Rope(8)
    device = torch.device("cpu")
    long = rope(10, device=device)
    short = rope(4, device=device)
    assert short.cos.data_ptr() == long.cos.data_ptr()
    assert torch.equal(rope(12, device=device).cos[:10], long.cos)


def test_an_odd_head_is_refused():
    with pytest.raises(ValueError, match="even"):
        Rope(7)
