"""The small discriminators: shapes, compression, what they hear."""

import pytest
import torch
from pydantic import ValidationError

from ezaudio.vae.discriminators import DISCRIMINATORS, CompressedStftDiscriminatorConfig

SMALL = CompressedStftDiscriminatorConfig(widths=(4, 4, 4, 4, 4), n_ffts=(320, 80))


def noise(rows, samples, seed=0):
    return torch.randn(rows, 1, samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return SMALL.build()


def test_it_is_found_by_its_kind():
    assert DISCRIMINATORS[SMALL.kind] is CompressedStftDiscriminatorConfig


def test_each_scale_gives_one_map_of_logits_and_five_inner_ones(network):
    logits, maps = network(noise(3, 1600))
    frames = (1600 - 320) // 80 + 1
    assert [len(scale) for scale in maps] == [5, 5]
    assert tuple(maps[0][0].shape) == (3, 4, frames, 40)  # 160 bins, four to a place
    assert logits[0].shape[:2] == (3, 1) and logits[0].shape[-1] == 5  # halved three times


def test_magnitudes_are_compressed_and_phase_stays(network):
    scale = network.scales[0]
    wave = 0.1 * noise(1, 1600)
    loud, quiet = scale.spectrum(wave), scale.spectrum(wave / 10)
    ratio = (loud.norm() / quiet.norm()).item()
    assert ratio == pytest.approx(10**0.3, rel=0.05)
    torch.testing.assert_close(scale.spectrum(-wave), -loud)


def test_silence_has_finite_gradients(network):
    wave = torch.zeros(1, 1, 1600, requires_grad=True)
    sum(x.mean() for x in network(wave)[0]).backward()
    assert torch.isfinite(wave.grad).all()


def test_windows_that_do_not_fold_are_refused():
    with pytest.raises(ValidationError, match="multiples of 8"):
        CompressedStftDiscriminatorConfig(n_ffts=(100,))
