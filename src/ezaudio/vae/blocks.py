"""Parts of the Oobleck autoencoder: weight-normalised convolutions, Snake, residual units.

Weight norm (arXiv 1602.07868): w = g v / ||v||, the norm over every axis but the first.
Snake (arXiv 2006.08195) with a gain per channel (arXiv 2206.04658): x + sin(alpha x)^2 / beta.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_SNAKE_EPSILON = 1e-9


class NormedConv1d(nn.Module):
    """A 1-D convolution whose weight is direction times length until it is folded.

    Args:
        channels: (in, out).
        kernel: width in samples.
        stride: of the output (plain) or of the input (transposed).
        dilation: of a plain convolution.
        transposed: whether the stride raises the rate.
        bias: whether to add one.

    The padding keeps S -> S / stride (plain) or S -> S * stride (transposed).
    """

    weight: Tensor
    weight_g: nn.Parameter
    weight_v: nn.Parameter

    def __init__(
        self,
        channels: tuple[int, int],
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        transposed: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.stride, self.dilation, self.transposed = stride, dilation, transposed
        self.padding = dilation * (kernel - 1) // 2 if stride == 1 else -(-stride // 2)
        first, second = (channels[0], channels[1]) if transposed else (channels[1], channels[0])
        bound = (second * kernel) ** -0.5
        weight = torch.empty(first, second, kernel).uniform_(-bound, bound)
        self.weight_g = nn.Parameter(torch.full((first, 1, 1), 3**-0.5))  # their expected length
        self.weight_v = nn.Parameter(weight)
        offset = torch.empty(channels[1]).uniform_(-bound, bound)
        self.bias = nn.Parameter(offset) if bias else None

    @property
    def folded(self) -> bool:
        """Whether the weight is a plain tensor."""
        return "weight" in self._parameters

    def fold(self) -> None:
        """Keep the product as `weight` and drop `weight_g` and `weight_v`."""
        if not self.folded:
            weight = self._normed().detach()
            del self.weight_g, self.weight_v
            self.register_parameter("weight", nn.Parameter(weight, requires_grad=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, S) -> (B, out, S')."""
        weight = self.weight if self.folded else self._normed()
        if self.transposed:
            return F.conv_transpose1d(
                x, weight, self.bias, self.stride, self.padding, output_padding=self.stride % 2
            )
        return F.conv1d(x, weight, self.bias, self.stride, self.padding, self.dilation)

    def _normed(self) -> Tensor:
        weight: Tensor = torch._weight_norm(self.weight_v, self.weight_g, 0)
        return weight


class _SnakeFunction(torch.autograd.Function):
    """Snake that keeps its input alone for the way back, and computes the sine again there.

    With a for alpha and g for 1 / beta: y = x + g sin(a x)^2, and by sin(a x)^2 = (1 - cos(2 a x))
    / 2 the derivatives are dy/dx = 1 + a g sin(2 a x), dy/da = g x sin(2 a x) and
    dy/dg = (1 - cos(2 a x)) / 2.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
        """x (B, D, S), alpha and gain (D, 1) -> (B, D, S)."""
        ctx.save_for_backward(x, alpha, gain)
        wave = (alpha * x).sin_()
        return torch.addcmul(x, wave.mul_(wave), gain)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of the three inputs."""
        x, alpha, gain = ctx.saved_tensors
        angle = (2 * alpha) * x
        slope = angle.sin().mul_(gradient)
        to_gain = (gradient.sum((0, 2)) - angle.cos_().mul_(gradient).sum((0, 2)))[:, None] / 2
        to_x = torch.addcmul(gradient, slope, alpha * gain)
        to_alpha = gain * slope.mul_(x).sum((0, 2))[:, None]
        return to_x, to_alpha, to_gain


class Snake(nn.Module):
    """x + sin(alpha x)^2 / beta per channel, both kept as logarithms: (B, D, S) -> (B, D, S)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(width))
        self.beta = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, S) -> (B, D, S)."""
        alpha = self.alpha.exp()[:, None]
        gain = (self.beta.exp() + _SNAKE_EPSILON).reciprocal()[:, None]
        y: Tensor = _SnakeFunction.apply(x, alpha, gain)  # type: ignore[no-untyped-call]
        return y


class ResidualUnit(nn.Module):
    """Snake, dilated convolution of width 7, Snake, pointwise convolution; added to the input."""

    KERNEL = 7

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.snake_wide = Snake(width)
        self.wide = NormedConv1d((width, width), self.KERNEL, dilation=dilation)
        self.snake_point = Snake(width)
        self.point = NormedConv1d((width, width), 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, S) -> (B, D, S)."""
        branch: Tensor = self.point(self.snake_point(self.wide(self.snake_wide(x))))
        return x + branch
