import pytest
import torch
from torch.nn import functional

from ezaudio.nn import attention
from ezaudio.nn.attention import CrossAttention, SelfAttention
from ezaudio.nn.rope import rope_tables


@pytest.mark.parametrize("qk_norm", ["layernorm", "rmsnorm", "none"])
@torch.inference_mode()
def test_self_attention_is_the_textbook_formula(qk_norm):
    torch.manual_seed(0)
    layer = SelfAttention(8, 2, qk_norm=qk_norm)
    x, rope = torch.randn(2, 5, 8), rope_tables(5, 4)
    q, k, v = layer.qkv(x).chunk(3, dim=-1)
    mixed = torch.zeros(2, 5, 8)
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        turned = []
        for vectors, norm in ((q, layer.query_norm), (k, layer.key_norm)):
            normed = norm(vectors[..., part])
            half = torch.cat((-normed[..., 2:], normed[..., :2]), dim=-1)
            turned.append(normed * rope.cos + half * rope.sin)
        weights = (turned[0] @ turned[1].mT / 4**0.5).softmax(-1)
        mixed[..., part] = weights @ v[..., part]
    assert torch.allclose(layer(x, rope), layer.output(mixed), atol=1e-6)


@torch.inference_mode()
def test_cross_attention_starts_by_adding_nothing_and_ignores_masked_tokens():
    torch.manual_seed(0)
    layer = CrossAttention(8, 2, qk_norm="layernorm")
    x, context = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    attend = torch.tensor([True, True, False]).expand(2, 1, 1, 3)
    assert layer(x, layer.prepare(context), attend).abs().max() == 0
    torch.nn.init.normal_(layer.output.weight)
    all_three = layer(x, layer.prepare(context), attend)
    first_two = layer(x, layer.prepare(context[:, :2]), attend[..., :2])
    assert torch.allclose(all_three, first_two, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_written_out_has_the_values_and_gradients_of_the_fused_kernel(masked, dtype):
    torch.manual_seed(0)
    shape = (2, 3, 7, 8)
    q, k, v = (torch.randn(shape).to(dtype).requires_grad_() for _ in range(3))
    mask = torch.tensor([True] * 5 + [False] * 2).expand(2, 1, 1, 7) if masked else None
    weight = torch.randn(shape)
    results = []
    for way in (attention.attend, functional.scaled_dot_product_attention):
        mixed = way(q, k, v, mask)
        results.append((mixed, *torch.autograd.grad((mixed.float() * weight).sum(), (q, k, v))))
    tolerance = 1e-5 if dtype == torch.float32 else 5e-2
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_long_sequences_and_generation_use_the_fused_kernel(monkeypatch):
    calls = []
    kernel = functional.scaled_dot_product_attention
    monkeypatch.setattr(
        attention.functional,
        "scaled_dot_product_attention",
        lambda *args, **kwargs: calls.append(1) or kernel(*args, **kwargs),
    )
    q = torch.randn(1, 1, 4, 8, requires_grad=True)
    attention.attend(q, q, q)
    assert not calls
    with torch.no_grad():
        attention.attend(q, q, q)
    monkeypatch.setattr(attention, "MOST_WRITTEN_OUT", 15)
    attention.attend(q, q, q)
    assert len(calls) == 2
