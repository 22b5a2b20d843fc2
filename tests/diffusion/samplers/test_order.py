"""Samplers against the exact solution for Gaussian data: how fast does the error fall?

Fractional steps let the grid be as fine as needed. "dense_ends" places the nodes at 90 cos^2
degrees; with equal angles instead, the extrapolation of dpmpp-2m in log-SNR, which changes without
bound at both ends, adds a factor log n to its error.
"""

import math
from itertools import pairwise

import pytest
import torch

from ezaudio.diffusion import SAMPLERS, TIME_GRIDS, SeededNoise

ORDERS = {"ddim": 1, "dpmpp-2m": 2, "heun": 2}
NOISE = SeededNoise([0, 1], 6, 5, dtype=torch.float64)()


def relative_error(name, gaussian, timesteps):
    x0 = SAMPLERS[name](gaussian, NOISE, schedule=gaussian.schedule, timesteps=timesteps)
    exact = gaussian.end(NOISE)
    return float((x0 - exact).norm() / exact.norm())


def test_every_sampler_states_its_order():
    assert set(ORDERS) == set(SAMPLERS)


@pytest.mark.parametrize("name", SAMPLERS)
def test_halving_the_steps_divides_the_error_by_two_to_the_order(gaussian, fine_grid, name):
    errors = [relative_error(name, gaussian, fine_grid(n)) for n in (64, 128, 256)]
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders == pytest.approx([ORDERS[name]] * 2, abs=0.15)


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("heun", 2)])
def test_the_order_holds_at_equal_angles_too(gaussian, fine_grid, name, order):
    errors = [relative_error(name, gaussian, fine_grid(n, dense_ends=False)) for n in (128, 256)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_at_equal_angles_the_multistep_error_falls_faster_than_first_order(gaussian, fine_grid):
    errors = [
        relative_error("dpmpp-2m", gaussian, fine_grid(n, dense_ends=False)) for n in (64, 256)
    ]
    assert math.log2(errors[0] / errors[1]) / 2 > 1.5


def test_second_order_is_worth_its_name_at_the_steps_people_use(gaussian):
    """Whole steps: 16 of 2M, evenly spaced in log-SNR, beat 50 trailing ones of DDIM."""
    schedule = gaussian.schedule
    new = relative_error("dpmpp-2m", gaussian, TIME_GRIDS["log-snr"](schedule, 16))
    authors = relative_error("ddim", gaussian, TIME_GRIDS["trailing"](schedule, 50))
    assert new < authors


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("grid", TIME_GRIDS)
def test_a_hundred_whole_steps_come_close_to_the_exact_solution(gaussian, name, grid):
    error = relative_error(name, gaussian, TIME_GRIDS[grid](gaussian.schedule, 100))
    assert error < 0.03


def test_fresh_noise_keeps_the_distribution(gaussian):
    noise = SeededNoise([3], 6, 4000, dtype=torch.float64)
    timesteps = TIME_GRIDS["trailing"](gaussian.schedule, 1000)  # 100 narrow 0.2 by 15 %
    x0 = SAMPLERS["ddim"](
        gaussian,
        noise(),
        schedule=gaussian.schedule,
        timesteps=timesteps,
        eta=1.0,
        noise_source=noise,
    )
    mean, std = x0.mean(dim=2), x0.std(dim=2)
    torch.testing.assert_close(mean, gaussian.mean[..., 0], rtol=0, atol=0.1)
    torch.testing.assert_close(std[:, 1:], gaussian.std[:, 1:, 0], rtol=0.05, atol=0)
