import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ezaudio.diffusion import CLEAN, Schedule, time_of_angle, zero_snr_schedule
from ezaudio.errors import InputError

SCHEDULE = zero_snr_schedule()


def test_alphas_cumprod_is_the_authors(schedule, golden):
    difference = schedule.alphas_cumprod - golden["out/alphas_cumprod"].double()
    assert float(difference.abs().max()) < 6e-7  # the authors' rounding in float32


def test_the_last_step_is_noise_alone(schedule):
    assert float(schedule.alpha[-1]) == 0.0
    assert float(schedule.sigma[-1]) == 1.0
    assert schedule.degrees_at(999) == 90.0
    assert schedule.node(999).log_snr == -math.inf
    assert CLEAN.log_snr == math.inf


def test_alpha_and_sigma_lie_on_the_unit_circle(schedule):
    torch.testing.assert_close(schedule.alpha**2 + schedule.sigma**2, torch.ones(1000).double())


def test_the_first_step_keeps_its_noise(schedule):
    assert float(schedule.alphas_cumprod[0]) == pytest.approx(1 - 0.00085, abs=1e-12)


def test_whole_steps_give_the_table_itself(schedule):
    steps = torch.arange(1000)
    assert torch.equal(schedule.alpha_at(steps), schedule.alpha)
    assert torch.equal(schedule.sigma_at(steps), schedule.sigma)
    assert torch.equal(schedule.angle_at(steps), schedule.angle)
    assert schedule.alpha_at(steps.reshape(10, 100)).shape == (10, 100)


def test_the_clean_sound_is_step_minus_one(schedule):
    assert (float(schedule.alpha_at(-1)), float(schedule.sigma_at(-1))) == (1.0, 0.0)
    assert float(schedule.angle_at(-1)) == 0.0


@settings(max_examples=40, deadline=None)
@given(st.floats(-1, 999))
def test_fractional_steps_stay_on_the_circle_and_between_their_neighbours(t):
    alpha, sigma = float(SCHEDULE.alpha_at(t)), float(SCHEDULE.sigma_at(t))
    assert alpha**2 + sigma**2 == pytest.approx(1.0, abs=1e-12)
    low, high = SCHEDULE.angle_at(math.floor(t)), SCHEDULE.angle_at(math.ceil(t))
    assert float(low) - 1e-12 <= float(SCHEDULE.angle_at(t)) <= float(high) + 1e-12


@settings(max_examples=40, deadline=None)
@given(st.floats(0, math.pi / 2))
def test_time_and_angle_are_inverse(phi):
    assert float(SCHEDULE.angle_at(time_of_angle(SCHEDULE, phi))) == pytest.approx(phi, abs=1e-9)


@pytest.mark.parametrize("t", [-1.5, 1000, 999.01, math.nan, math.inf])
def test_steps_outside_the_schedule_are_refused(schedule, t):
    with pytest.raises(ValueError, match="outside"):
        schedule.alpha_at(t)


@pytest.mark.parametrize("phi", [-0.1, 1.6])
def test_angles_outside_the_schedule_are_refused(schedule, phi):
    with pytest.raises(ValueError, match="outside"):
        time_of_angle(schedule, phi)


@pytest.mark.parametrize("steps", [[], [5, 5], [3, 4], [1000, 3], [4, -1], torch.zeros(2, 2)])
def test_a_path_must_fall_within_the_schedule(schedule, steps):
    with pytest.raises(InputError, match="timesteps"):
        schedule.path(steps)


def test_a_path_keeps_whole_steps_whole(schedule):
    path = schedule.path(torch.tensor([999, 5]))
    assert [node.t for node in path] == [999, 5, -1]
    assert all(isinstance(node.t, int) for node in path)


@pytest.mark.parametrize(
    "table",
    [
        torch.tensor([0.5, 0.6]).double(),
        torch.tensor([1.0, 0.5]).double(),
        torch.tensor([0.5, -0.1]).double(),
        torch.tensor([0.5, 0.1]),
        torch.zeros(0).double(),
        torch.tensor([math.nan, 0.1]).double(),
    ],
)
def test_a_table_that_is_no_schedule_is_refused(table):
    with pytest.raises(ValueError, match="alphas_cumprod"):
        Schedule(table)


@pytest.mark.parametrize("betas", [(0.0, 0.1), (0.2, 0.1), (0.1, 1.0)])
def test_impossible_betas_are_refused(betas):
    with pytest.raises(ValueError, match="beta"):
        zero_snr_schedule(beta_start=betas[0], beta_end=betas[1])
