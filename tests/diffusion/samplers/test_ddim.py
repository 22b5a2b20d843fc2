import importlib
import warnings

import pytest
import torch

from ezaudio.diffusion import SAMPLERS, TIME_GRIDS, SeededNoise

CLOSE = {"rtol": 0, "atol": 1e-5}


def network(golden):
    """The golden file's stand-in for a network (its metadata give the formula)."""
    return lambda x, t: torch.tanh(x / 2) + 0.1 * golden["in/x0"] * torch.cos(torch.tensor(t / 100))


def trajectory(golden, schedule, eta):
    """The ten latents after each step, with the golden noise."""
    draws = iter(golden["in/noise"])
    steps = SAMPLERS["ddim"].walk(
        network(golden),
        golden["in/latent"],
        path=schedule.path(TIME_GRIDS["trailing"](schedule, 10)),
        eta=eta,
        noise_source=lambda: next(draws),
    )
    return torch.stack([step.x_next for step in steps])


def test_the_deterministic_trajectory_is_the_authors(schedule, golden):
    made = trajectory(golden, schedule, eta=0.0)
    torch.testing.assert_close(made, golden["out/trajectory_eta0"], **CLOSE)


def test_the_ancestral_trajectory_is_finite_where_the_authors_is_not(schedule, golden):
    # the reference took the square root of a rounding error below zero in its first step
    assert bool(golden["out/trajectory_eta1"].isnan().all())
    assert bool(trajectory(golden, schedule, eta=1.0).isfinite().all())


def test_eta_one_is_ancestral_sampling(schedule, golden):
    """Against mean and variance of q(x_s | x_t, x0), in betas (Ho et al. 2020, 6 and 7)."""
    cumulative = golden["out/alphas_cumprod"].double()
    timesteps = golden["out/timesteps_10"].tolist()
    x = golden["in/latent"].double()
    expected = []
    for index, (t, s) in enumerate(zip(timesteps, [*timesteps[1:], None], strict=True)):
        at_t, at_s = cumulative[t], cumulative.new_ones(()) if s is None else cumulative[s]
        beta = 1 - at_t / at_s
        x0 = at_t.sqrt() * x - (1 - at_t).sqrt() * network(golden)(x, t)
        mean = (at_s.sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - at_s) * x) / (1 - at_t)
        variance = beta * (1 - at_s) / (1 - at_t)
        x = mean + variance.sqrt() * golden["in/noise"][index]
        expected.append(x)
    made = trajectory(golden, schedule, eta=1.0).double()
    torch.testing.assert_close(made, torch.stack(expected), rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def diffusers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("diffusers")


def oracle(diffusers, steps):
    scheduler = diffusers.DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
    )
    scheduler.set_timesteps(steps)
    return scheduler


@pytest.mark.parametrize("steps", [1, 4, 10, 25, 50])
@pytest.mark.parametrize("eta", [0.0, 0.5, 0.9])
def test_it_follows_diffusers(diffusers, schedule, golden, steps, eta):
    scheduler, velocity = oracle(diffusers, steps), network(golden)
    ours, theirs = (SeededNoise([1, 2], 8, 16) for _ in range(2))
    x = golden["in/latent"]
    for t in scheduler.timesteps:
        fresh = theirs() if eta > 0 else None
        x = scheduler.step(velocity(x, int(t)), t, x, eta=eta, variance_noise=fresh).prev_sample
    made = SAMPLERS["ddim"](
        velocity,
        golden["in/latent"],
        schedule=schedule,
        timesteps=TIME_GRIDS["trailing"](schedule, steps),
        eta=eta,
        noise_source=ours,
    )
    torch.testing.assert_close(made, x, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "steps", [1, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 125, 200, 333, 999, 1000]
)
def test_trailing_steps_follow_diffusers(diffusers, schedule, steps):
    assert torch.equal(TIME_GRIDS["trailing"](schedule, steps), oracle(diffusers, steps).timesteps)
