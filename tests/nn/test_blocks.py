import pytest
import torch
from torch import nn
from torch.nn import functional

from ezaudio.nn.feedforward import GEGLU, hidden_width
from ezaudio.nn.initialisation import pass_through, xavier, zeroed
from ezaudio.nn.norms import NORMS
from ezaudio.nn.step_embedding import StepEmbedding, sinusoids


def test_geglu_gates_its_first_half_with_its_second():
    torch.manual_seed(0)
    layer = GEGLU(4, 6)
    x = torch.randn(2, 3, 4)
    value, gate = functional.linear(x, layer.input.weight, layer.input.bias).chunk(2, dim=-1)
    assert torch.equal(layer(x), layer.output(value * functional.gelu(gate)))


@pytest.mark.parametrize(
    ("width", "ratio", "hidden"),
    [(1024, 4.0, 4096), (1152, 4.0, 4608), (320, 8 / 3, 856), (2, 1, 8)],
)
def test_hidden_widths_are_multiples_of_eight(width, ratio, hidden):
    assert hidden_width(width, ratio) == hidden


@pytest.mark.parametrize("name", NORMS)
def test_every_norm_keeps_shape_and_scale_as_its_name_says(name):
    x = 5 + 3 * torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))
    normed = NORMS[name](16)(x)
    assert normed.shape == x.shape
    if name == "none":
        assert torch.equal(normed, x)
        return
    assert torch.allclose(normed.square().mean(dim=-1), torch.ones(2, 3), atol=1e-3)
    if name == "layernorm":
        assert normed.mean(dim=-1).abs().max() < 1e-5


def test_sinusoids_are_cosines_then_sines_from_fast_to_slow():
    waves = sinusoids(torch.tensor([0, 7]), 4)
    assert waves[0].tolist() == [1.0, 1.0, 0.0, 0.0]
    angles = torch.tensor([7.0, 0.07])
    assert torch.allclose(waves[1], torch.cat([angles.cos(), angles.sin()]))


def test_a_step_may_lie_between_two_whole_ones():
    embedding = StepEmbedding(8)
    whole = embedding(torch.tensor([3, 4]))
    between = embedding(torch.tensor([3.0, 3.5]))
    assert torch.equal(whole[0], between[0])
    assert not torch.equal(whole[1], between[1])


def test_fused_layers_start_as_their_parts_would_alone():
    torch.manual_seed(0)
    bound = (6 / (64 + 64)) ** 0.5
    fused = xavier(nn.Linear(64, 192, bias=False), parts=3)
    assert 0.95 * bound < fused.weight.abs().max() <= bound
    assert xavier(nn.Linear(64, 64), gain=0.1).weight.abs().max() <= 0.1 * bound


def test_a_zeroed_layer_adds_nothing_and_a_convolution_can_pass_through():
    x = torch.randn(1, 3, 5)
    assert zeroed(nn.Linear(5, 2))(x).abs().max() == 0
    assert torch.equal(pass_through(nn.Conv1d(3, 3, 3, padding=1))(x), x)
