import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ezaudio.diffusion import (
    add_noise,
    eps_from_v,
    v_from_x0_eps,
    velocity_target,
    x0_from_v,
    zero_snr_schedule,
)

SCHEDULE = zero_snr_schedule()


def pair(dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, 4, 5, generator=generator, dtype=dtype).unbind(0)


def test_noising_and_velocity_target_are_the_authors(schedule, golden):
    x0, noise, t = golden["in/x0"], golden["in/latent"], golden["in/t_pair"]
    kept = {"rtol": 0, "atol": 1e-5}
    torch.testing.assert_close(add_noise(x0, noise, t, schedule), golden["out/add_noise"], **kept)
    target = velocity_target(x0, noise, t, schedule)
    torch.testing.assert_close(target, golden["out/velocity_target"], **kept)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.integers(0, 99))
def test_sound_and_noise_come_back_from_the_velocity_at_every_step(t, seed):
    x0, eps = pair(seed=seed)
    x_t, v = add_noise(x0, eps, t, SCHEDULE), v_from_x0_eps(x0, eps, t, SCHEDULE)
    torch.testing.assert_close(x0_from_v(x_t, v, t, SCHEDULE), x0, rtol=0, atol=1e-12)
    torch.testing.assert_close(eps_from_v(x_t, v, t, SCHEDULE), eps, rtol=0, atol=1e-12)


def test_in_pure_noise_the_latent_is_the_noise_and_the_velocity_minus_the_sound(schedule):
    x0, eps = pair(torch.float32)
    assert torch.equal(add_noise(x0, eps, 999, schedule), eps)
    assert torch.equal(velocity_target(x0, eps, 999, schedule), -x0)
    assert torch.equal(x0_from_v(eps, -x0, 999, schedule), x0)
    assert torch.equal(eps_from_v(eps, -x0, 999, schedule), eps)


def test_the_velocity_is_the_derivative_by_the_noise_angle(schedule):
    x0, eps = pair()
    t, small = 500.25, 1e-4
    later, sooner = (add_noise(x0, eps, t + sign * small, schedule) for sign in (1, -1))
    turned = schedule.angle_at(t + small) - schedule.angle_at(t - small)
    derivative = (later - sooner) / turned
    torch.testing.assert_close(derivative, v_from_x0_eps(x0, eps, t, schedule), rtol=0, atol=1e-7)


def test_each_row_has_its_own_step(schedule):
    x0, eps = pair()
    steps = torch.tensor([0, 500, 999])
    together = add_noise(x0, eps, steps, schedule)
    alone = torch.cat(
        [add_noise(x0[i : i + 1], eps[i : i + 1], int(steps[i]), schedule) for i in range(3)]
    )
    assert torch.equal(together, alone)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_precision_is_kept(schedule, dtype):
    x0, eps = pair(dtype=torch.float32)
    assert add_noise(x0.to(dtype), eps.to(dtype), torch.tensor([1, 2, 3]), schedule).dtype == dtype
