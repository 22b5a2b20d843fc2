import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ezaudio.diffusion import TIME_GRIDS, zero_snr_schedule
from ezaudio.errors import InputError

SCHEDULE = zero_snr_schedule()


@pytest.mark.parametrize("steps", [1, 10, 25, 50, 100])
def test_trailing_steps_are_the_authors(schedule, golden, steps):
    assert torch.equal(TIME_GRIDS["trailing"](schedule, steps), golden[f"out/timesteps_{steps}"])


def test_eight_nodes_even_in_log_snr(schedule):
    nodes = TIME_GRIDS["log-snr"](schedule, 8).tolist()
    assert nodes == [999, 808, 640, 394, 152, 34, 5, 0]


def test_uniform_angle_turns_by_equal_angles(schedule):
    nodes = TIME_GRIDS["uniform-angle"](schedule, 9).tolist()
    degrees = [schedule.degrees_at(t) for t in nodes]
    assert degrees == pytest.approx([90 - 10 * k for k in range(9)], abs=0.1)


def test_half_of_the_trailing_steps_are_spent_close_to_noise_as_documented(schedule):
    nodes = TIME_GRIDS["trailing"](schedule, 50).tolist()
    assert sum(schedule.degrees_at(t) > 80 for t in nodes) == 13
    assert nodes[-1] == 19


@pytest.mark.parametrize("name", TIME_GRIDS)
@settings(max_examples=40, deadline=None)
@given(steps=st.integers(1, 1000))
def test_every_grid_falls_from_pure_noise_for_any_number_of_steps(name, steps):
    nodes = TIME_GRIDS[name](SCHEDULE, steps)
    assert nodes.dtype == torch.int64
    assert nodes.shape == (steps,)
    assert int(nodes[0]) == 999
    assert int(nodes[-1]) >= 0
    assert bool((nodes.diff() < 0).all())


@pytest.mark.parametrize("name", TIME_GRIDS)
def test_a_thousand_steps_visit_every_step(schedule, name):
    assert TIME_GRIDS[name](schedule, 1000).tolist() == list(range(999, -1, -1))


@pytest.mark.parametrize("name", TIME_GRIDS)
@pytest.mark.parametrize("steps", [0, -1, 1001, 2.5, True, None, "8"])
def test_a_number_of_steps_that_is_not_allowed_is_named(schedule, name, steps):
    with pytest.raises(
        InputError, match=r"`steps`: got .*; allowed: a whole number from 1 to 1000\."
    ):
        TIME_GRIDS[name](schedule, steps)


@pytest.mark.parametrize("name", TIME_GRIDS)
def test_grids_work_on_a_shorter_schedule(name):
    short = zero_snr_schedule(50, beta_start=0.01, beta_end=0.2)
    for steps in (1, 2, 7, 50):
        nodes = TIME_GRIDS[name](short, steps)
        assert int(nodes[0]) == 49
        assert bool((nodes.diff() < 0).all())
