import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ezaudio.diffusion import cfg, guide, rescale_guidance
from ezaudio.errors import InputError


def test_guidance_and_rescaling_are_the_authors(golden):
    v_pos, v_neg = golden["in/v_pos"], golden["in/v_neg"]
    v_cfg = cfg(v_pos, v_neg, w=5.0)
    torch.testing.assert_close(v_cfg, golden["out/v_cfg"], rtol=0, atol=1e-5)
    rescaled = rescale_guidance(v_cfg, v_pos, phi=0.75)
    torch.testing.assert_close(rescaled, golden["out/v_rescaled"], rtol=0, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 10), st.integers(0, 99))
def test_full_rescaling_gives_the_spread_of_the_positive_branch(w, seed):
    generator = torch.Generator().manual_seed(seed)
    v_pos, v_neg = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64).unbind(0)
    v = rescale_guidance(cfg(v_pos, v_neg, w=w), v_pos, phi=1.0)
    torch.testing.assert_close(v.std(dim=(1, 2)), v_pos.std(dim=(1, 2)))


def test_rescaling_is_row_by_row():
    generator = torch.Generator().manual_seed(0)
    v_cfg, v_pos = torch.randn(2, 3, 4, 5, generator=generator).unbind(0)
    together = rescale_guidance(v_cfg, v_pos, phi=0.75)
    alone = rescale_guidance(v_cfg[1:2], v_pos[1:2], phi=0.75)
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-6)


def test_a_velocity_without_spread_is_left_as_it_is():
    flat = torch.full((1, 2, 3), 4.0)
    assert torch.equal(rescale_guidance(flat, torch.randn(1, 2, 3), phi=0.5), flat)


def guided(schedule, **options):
    """A guided velocity over branches of 3 and 1, and the calls that it made."""
    calls = []

    def pair(x_t, t):
        calls.append(("pair", t))
        return torch.full_like(x_t, 3.0), torch.full_like(x_t, 1.0)

    def positive(x_t, t):
        calls.append(("positive", t))
        return torch.full_like(x_t, 3.0)

    options = {"scale": 5.0, "rescale": 0.0} | options
    return guide(pair, positive, schedule=schedule, **options), calls


def test_scale_one_runs_the_positive_branch_alone(schedule):
    velocity, calls = guided(schedule, scale=1.0, rescale=0.75)
    assert float(velocity(torch.zeros(1, 1, 2), 999)[0, 0, 0]) == 3.0
    assert calls == [("positive", 999)]


@pytest.mark.parametrize(("scale", "value"), [(0.0, 1.0), (3.0, 7.0), (5.0, 11.0)])
def test_the_scale_extrapolates_from_negative_to_positive(schedule, scale, value):
    velocity, _ = guided(schedule, scale=scale)
    assert float(velocity(torch.zeros(1, 1, 2), 0)[0, 0, 0]) == value


def test_outside_the_interval_the_positive_branch_runs_alone(schedule):
    inside = [schedule.degrees_at(t) for t in (640, 394)]
    velocity, calls = guided(schedule, interval=(min(inside), max(inside)))  # ends included
    for t in (999, 641, 640, 500, 394, 393, 0):
        velocity(torch.zeros(1, 1, 2), t)
    expected = ["positive", "positive", "pair", "pair", "pair", "positive", "positive"]
    assert [kind for kind, _ in calls] == expected


def test_the_whole_interval_includes_pure_noise(schedule):
    velocity, calls = guided(schedule, interval=(0.0, 90.0))
    velocity(torch.zeros(1, 1, 2), 999)
    velocity(torch.zeros(1, 1, 2), 0)
    assert [kind for kind, _ in calls] == ["pair", "pair"]


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("guidance_scale", {"scale": -1.0}),
        ("guidance_scale", {"scale": float("nan")}),
        ("guidance_scale", {"scale": float("inf")}),
        ("guidance_rescale", {"rescale": 1.5}),
        ("guidance_rescale", {"rescale": float("nan")}),
        ("guidance_interval", {"interval": (80.0, 20.0)}),
        ("guidance_interval", {"interval": (-1.0, 20.0)}),
        ("guidance_interval", {"interval": (0.0, 91.0)}),
        ("guidance_interval", {"interval": (float("nan"), 20.0)}),
    ],
)
def test_values_that_are_not_allowed_are_named(schedule, field, options):
    with pytest.raises(InputError, match=field):
        guided(schedule, **options)
