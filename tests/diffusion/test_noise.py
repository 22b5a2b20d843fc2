import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ezaudio.diffusion import SeededNoise
from ezaudio.errors import InputError

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=40, deadline=None)
@given(st.lists(seeds, min_size=1, max_size=4), st.integers(1, 9), st.integers(1, 9))
def test_a_row_depends_on_its_seed_alone_bit_for_bit(row_seeds, channels, frames):
    together = SeededNoise(row_seeds, channels, frames)
    alone = [SeededNoise([seed], channels, frames) for seed in row_seeds]
    for _ in range(2):  # later draws too
        rows = together()
        assert rows.shape == (len(row_seeds), channels, frames)
        assert all(torch.equal(rows[i], noise()[0]) for i, noise in enumerate(alone))


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 8), st.integers(1, 8), st.integers(0, 8))
def test_a_longer_clip_begins_with_the_noise_of_the_shorter(seed, channels, frames, more):
    short, long = (SeededNoise([seed], channels, n)() for n in (frames, frames + more))
    assert torch.equal(long[..., :frames], short)


def test_draws_and_seeds_differ():
    noise = SeededNoise([0, 1], 4, 4)
    first, second = noise(), noise()
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    SeededNoise([3], 4, 4)()
    assert torch.equal(torch.get_rng_state(), state)


def test_values_are_standard_normal():
    noise = SeededNoise([7], 128, 500)()
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(noise.std()) == pytest.approx(1.0, abs=0.02)
    across = torch.corrcoef(noise[0])
    assert float((across - torch.eye(128)).abs().max()) < 0.25


def test_precision_is_chosen_after_drawing():
    full, half = SeededNoise([5], 2, 3)(), SeededNoise([5], 2, 3, dtype=torch.bfloat16)()
    assert half.dtype == torch.bfloat16
    assert torch.equal(full.bfloat16(), half)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "0", None, True])
def test_a_seed_that_is_not_allowed_is_named(seed):
    with pytest.raises(InputError, match="seed"):
        SeededNoise([seed], 2, 2)


@pytest.mark.parametrize("shape", [([], 2, 2), ([1], 0, 2), ([1], 2, 0)])
def test_empty_noise_is_refused(shape):
    with pytest.raises(InputError, match="at least 1"):
        SeededNoise(*shape)
