"""What is particular to one solver."""

import math

import pytest
import torch

from ezaudio.diffusion import SAMPLERS, TIME_GRIDS, SeededNoise, time_of_angle
from ezaudio.diffusion.samplers.dpm_solver import _correction


def network(x_t, t):
    return torch.tanh(x_t / 2) * (0.5 + t / 2000)


def latents(name, schedule, noise, timesteps, velocity=network):
    walk = SAMPLERS[name].walk(velocity, noise, path=schedule.path(timesteps))
    return [step.x_next for step in walk]


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_last_step_returns_the_networks_x0(schedule, name):
    noise = SeededNoise([1], 2, 3, dtype=torch.float64)()
    path = schedule.path(TIME_GRIDS["uniform-angle"](schedule, 5))
    *_, last = SAMPLERS[name].walk(network, noise, path=path)
    torch.testing.assert_close(last.x_next, last.x0)


def test_the_first_two_steps_of_2m_from_pure_noise_are_those_of_ddim(schedule):
    """The first for want of history; the second because log-SNR came from minus infinity."""
    noise = SeededNoise([1], 2, 3, dtype=torch.float64)()
    timesteps = TIME_GRIDS["log-snr"](schedule, 8)
    multistep, first_order = (latents(n, schedule, noise, timesteps) for n in ("dpmpp-2m", "ddim"))
    for step in (0, 1):
        torch.testing.assert_close(multistep[step], first_order[step])
    assert not torch.allclose(multistep[2], first_order[2])


def test_2m_extrapolates_x0_linearly_in_log_snr(schedule):
    """Where x0 is linear in log-SNR, the extrapolation is its value half a step ahead."""
    before, here, there = (schedule.node(t) for t in (700, 500, 250))
    ahead = _correction(before, here, there) * (here.log_snr - before.log_snr)
    assert ahead == pytest.approx((there.log_snr - here.log_snr) / 2)


def test_2m_does_not_extrapolate_from_pure_noise_or_to_the_clean_sound(schedule):
    noise, here, clean = schedule.path([999, 500])
    assert _correction(noise, here, schedule.node(100)) == 0.0
    assert _correction(schedule.node(700), here, clean) == 0.0


def test_heun_is_plain_heun_on_small_steps_and_exact_on_a_circle(schedule):
    x0, eps = SeededNoise([1, 2], 2, 3, dtype=torch.float64)().split(1)

    def circle(x_t, t):
        node = schedule.node(t)
        return node.alpha * eps - node.sigma * x0

    reached = latents("heun", schedule, eps, [999, 300], circle)[0]
    node = schedule.node(300)
    torch.testing.assert_close(reached, node.alpha * x0 + node.sigma * eps)

    start, end = schedule.node(500), schedule.node(499)
    delta = end.phi - start.phi
    v = network(eps, 500)
    plain = eps + delta / 2 * (v + network(eps + delta * v, 499))
    fitted = latents("heun", schedule, eps, [500, 499])[0]
    assert float((plain - fitted).abs().max()) < 10 * abs(delta) ** 3


def test_sampling_may_begin_below_pure_noise(schedule, gaussian):
    """A sound noised to 45 degrees and taken back along the flow keeps its quantile."""
    t = 340
    noise = SeededNoise([1, 2], 6, 5, dtype=torch.float64)()
    node = schedule.node(t)
    spread = torch.sqrt((node.alpha * gaussian.std) ** 2 + node.sigma**2)
    x_t = node.alpha * gaussian.mean + spread * noise
    share = torch.cos(math.pi / 2 * torch.arange(100) / 100) ** 2
    timesteps = time_of_angle(schedule, node.phi * share.double())
    x0 = SAMPLERS["heun"](gaussian, x_t, schedule=schedule, timesteps=timesteps)
    assert schedule.degrees_at(t) == pytest.approx(45, abs=2)
    torch.testing.assert_close(x0, gaussian.end(noise), rtol=0, atol=2e-3)
