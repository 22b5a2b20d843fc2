"""The straightforward loop learns as it should, whichever of its parts are replaced."""

from __future__ import annotations

import pytest
import torch
import training_throughput as throughput
from tests.tiny_model import FakeText

from ezaudio.data.batches import LatentBatch
from ezaudio.dit import DIT_PRESETS


@pytest.mark.parametrize(
    "parts",
    [
        throughput.Parts(),
        throughput.Parts(remembered=True, fused=True, joined=True, written_out=True),
    ],
)
def test_a_step_moves_the_weights_and_a_little_their_average(parts):
    torch.manual_seed(0)
    config = DIT_PRESETS["tiny"].model_copy(update={"text_width": FakeText.width})
    loop = throughput.Loop(config.build(), FakeText(), parts, half=False)
    before = [parameter.clone() for parameter in loop.network.parameters()]
    x0 = torch.randn(3, config.latent_channels, 20)
    batch = LatentBatch(x0, ("a dog", "rain", "a dog"), torch.ones(3, 1, 20), ("1", "2", "3"))
    for _ in range(2):
        loop.step(batch)
    moved, lagged = (
        sum(
            float((x - y).detach().abs().sum())
            for x, y in zip(side.parameters(), before, strict=True)
        )
        for side in (loop.network, loop.average)
    )
    assert 0 < lagged < 0.01 * moved
    texts = len(loop.encoder.asked)
    assert texts <= 3 if parts.remembered else texts == 6
