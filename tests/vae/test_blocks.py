"""Snake with its own way back: the values and the gradients of the formula, and nothing kept."""

import torch

from ezaudio.vae.blocks import Snake


def plain(x, snake):
    gain = 1 / (snake.beta.exp() + 1e-9)
    return x + gain[:, None] * (snake.alpha.exp()[:, None] * x).sin().square()


def snake_of(width, dtype):
    torch.manual_seed(0)
    snake = Snake(width).to(dtype)
    torch.nn.init.normal_(snake.alpha)
    torch.nn.init.normal_(snake.beta)
    return snake


def test_the_gradients_of_snake_are_those_of_finite_differences():
    snake = snake_of(3, torch.float64)
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    inputs = (x, snake.alpha, snake.beta)
    assert torch.autograd.gradcheck(lambda x, _a, _b: snake(x), inputs)


def test_snake_and_the_written_out_formula_agree_forwards_and_backwards():
    snake = snake_of(4, torch.float32)
    x = torch.randn(3, 4, 200)
    outer = torch.randn(3, 4, 200)
    results = []
    for function in (snake, lambda x: plain(x, snake)):
        y = function(given := x.clone().requires_grad_())
        leaves = (given, snake.alpha, snake.beta)
        results.append((y, *torch.autograd.grad(y, leaves, outer)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_snake_keeps_nothing_of_the_size_of_its_input_but_the_input():
    snake, x = snake_of(4, torch.float32), torch.randn(2, 4, 100, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        snake(x)
    large = [tensor for tensor in kept if tensor.numel() >= x.numel()]
    assert [tensor.data_ptr() for tensor in large] == [x.data_ptr()]


def test_snake_changes_neither_its_input_nor_the_gradient_that_comes_back():
    snake, x = snake_of(4, torch.float32), torch.randn(2, 4, 100)
    outer, given = torch.ones(2, 4, 100), x.clone().requires_grad_()
    snake(given).backward(outer)
    torch.testing.assert_close(given.detach(), x, rtol=0, atol=0)
    assert (outer == 1).all()
