"""What holds for every sampler on every grid."""

import pytest
import torch

from ezaudio.diffusion import SAMPLERS, TIME_GRIDS, SeededNoise, x0_from_v
from ezaudio.errors import Cancelled, InputError

EVERY = pytest.mark.parametrize("grid", TIME_GRIDS)
SAMPLER = pytest.mark.parametrize("name", SAMPLERS)
STOCHASTIC = [name for name, sampler in SAMPLERS.items() if sampler.stochastic]


def network(x_t, t):
    """Any smooth function that works row by row and depends on the step."""
    return torch.tanh(x_t / 2) * (0.5 + t / 2000)


@SAMPLER
@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_precision_are_kept_and_the_input_is_not_changed(schedule, name, grid, dtype):
    noise = SeededNoise([1, 2], 3, 5, dtype=dtype)()
    timesteps = TIME_GRIDS[grid](schedule, 7)
    before = noise.clone(), timesteps.clone()
    x0 = SAMPLERS[name](network, noise, schedule=schedule, timesteps=timesteps)
    assert (x0.shape, x0.dtype) == (noise.shape, dtype)
    assert bool(x0.isfinite().all())
    assert torch.equal(noise, before[0])
    assert torch.equal(timesteps, before[1])


@SAMPLER
@EVERY
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_few_steps_work(schedule, name, grid, steps):
    noise = SeededNoise([1], 3, 5)()
    timesteps = TIME_GRIDS[grid](schedule, steps)
    x0 = SAMPLERS[name](network, noise, schedule=schedule, timesteps=timesteps)
    assert bool(x0.isfinite().all())
    if steps == 1:  # from pure noise at once: the network's own x0
        assert torch.equal(x0, x0_from_v(noise, network(noise, 999), 999, schedule))


@SAMPLER
@EVERY
def test_a_row_is_the_same_alone_and_in_a_batch(schedule, name, grid):
    timesteps = TIME_GRIDS[grid](schedule, 5)

    def sample(seeds):
        noise = SeededNoise(seeds, 3, 5)
        options = {"eta": 1.0, "noise_source": noise} if SAMPLERS[name].stochastic else {}
        return SAMPLERS[name](network, noise(), schedule=schedule, timesteps=timesteps, **options)

    batch = sample([4, 5, 6])
    for row, seed in enumerate([4, 5, 6]):
        torch.testing.assert_close(batch[row : row + 1], sample([seed]), rtol=0, atol=1e-6)


@SAMPLER
@EVERY
def test_the_callback_sees_every_step_and_the_result_last(schedule, name, grid):
    seen = []
    timesteps = TIME_GRIDS[grid](schedule, 6)
    x0 = SAMPLERS[name](
        network,
        SeededNoise([1], 3, 5)(),
        schedule=schedule,
        timesteps=timesteps,
        callback=lambda *step: seen.append(step),
    )
    assert [index for index, *_ in seen] == list(range(6))
    assert {total for _, total, _, _ in seen} == {6}
    assert [t for _, _, t, _ in seen] == timesteps.tolist()
    torch.testing.assert_close(seen[-1][3], x0)


@SAMPLER
def test_cancelling_in_the_callback_ends_the_sampling(schedule, name):
    calls = []

    def counting(x_t, t):
        calls.append(t)
        return network(x_t, t)

    def cancel(index, total, t, x0):
        if index == 1:
            raise Cancelled

    timesteps = TIME_GRIDS["trailing"](schedule, 10)
    with pytest.raises(Cancelled):
        SAMPLERS[name](
            counting,
            SeededNoise([1], 2, 2)(),
            schedule=schedule,
            timesteps=timesteps,
            callback=cancel,
        )
    assert len(calls) == 2 * SAMPLERS[name].evaluations_per_step


@SAMPLER
@EVERY
def test_the_network_is_called_as_often_as_declared_with_whole_steps(schedule, name, grid):
    calls = []

    def counting(x_t, t):
        calls.append(t)
        return network(x_t, t)

    timesteps = TIME_GRIDS[grid](schedule, 8)
    SAMPLERS[name](counting, SeededNoise([1], 2, 2)(), schedule=schedule, timesteps=timesteps)
    assert len(calls) == 7 * SAMPLERS[name].evaluations_per_step + 1
    assert all(isinstance(t, int) for t in calls)
    assert set(calls) == set(timesteps.tolist())


@SAMPLER
@EVERY
def test_data_without_spread_is_reached_exactly_in_any_number_of_steps(schedule, name, grid):
    target = SeededNoise([9], 3, 5, dtype=torch.float64)()
    noise = SeededNoise([1], 3, 5, dtype=torch.float64)()

    def to_target(x_t, t):
        """The velocity of the straight way: noise and sound constant, so the path is a circle."""
        node = schedule.node(t)
        return (node.alpha * x_t - target) / node.sigma

    for steps in (1, 4, 9):
        timesteps = TIME_GRIDS[grid](schedule, steps)
        x0 = SAMPLERS[name](to_target, noise, schedule=schedule, timesteps=timesteps)
        torch.testing.assert_close(x0, target, rtol=0, atol=1e-9)


@SAMPLER
def test_sampling_can_be_differentiated(schedule, name):
    noise = SeededNoise([1], 2, 3)().requires_grad_()
    timesteps = TIME_GRIDS["uniform-angle"](schedule, 4)
    SAMPLERS[name](network, noise, schedule=schedule, timesteps=timesteps).sum().backward()
    assert bool(noise.grad.isfinite().all())


@SAMPLER
@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan")])
def test_eta_outside_its_range_is_named(schedule, name, eta):
    noise = SeededNoise([1], 2, 2)
    with pytest.raises(InputError, match="`eta`"):
        SAMPLERS[name](
            network, noise(), schedule=schedule, timesteps=[999], eta=eta, noise_source=noise
        )


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - set(STOCHASTIC)))
def test_a_deterministic_sampler_refuses_noise(schedule, name):
    noise = SeededNoise([1], 2, 2)
    with pytest.raises(InputError, match="adds no noise"):
        SAMPLERS[name](
            network, noise(), schedule=schedule, timesteps=[999], eta=0.5, noise_source=noise
        )


@pytest.mark.parametrize("name", STOCHASTIC)
def test_a_stochastic_sampler_needs_a_source_of_noise(schedule, name):
    with pytest.raises(InputError, match="noise_source"):
        SAMPLERS[name](
            network, SeededNoise([1], 2, 2)(), schedule=schedule, timesteps=[999], eta=0.5
        )
