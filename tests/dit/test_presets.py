import typing

import pytest
import torch

from ezaudio.config import dump_config, load_config
from ezaudio.dit import DIT_PRESETS, DiTConfig
from ezaudio.dit.adaln import ADALN_VARIANTS, AdaLNConfig


@pytest.mark.parametrize("name", DIT_PRESETS)
def test_every_preset_builds_and_survives_yaml(name, tmp_path):
    path = tmp_path / "dit.yaml"
    path.write_text(dump_config(DIT_PRESETS[name]))
    config = load_config(DiTConfig, path)
    assert config == DIT_PRESETS[name]
    with torch.device("meta"):
        assert len(config.build().blocks) == config.depth + 1


def test_the_starter_stays_small():
    with torch.device("meta"):
        network = DIT_PRESETS["starter"].build()
    assert sum(p.numel() for p in network.parameters()) < 20_000_000


def test_the_union_of_variants_and_the_registry_agree():
    union = typing.get_args(typing.get_args(AdaLNConfig)[0])
    assert set(union) == set(ADALN_VARIANTS.values())
    for kind, variant in ADALN_VARIANTS.items():
        assert variant().kind == kind


@pytest.mark.parametrize("kind", ADALN_VARIANTS)
def test_fresh_modulation_leaves_all_gates_open_and_nothing_shifted(kind):
    modulation = ADALN_VARIANTS[kind]().build(width=8, blocks=3)
    six = modulation(torch.randn(2, 8))
    assert six.shape == (2, 3, 6, 8)
    assert six.abs().max() == 0


def test_the_low_rank_adjustment_is_scaled_by_alpha_over_rank():
    config = ADALN_VARIANTS["sola"](rank=4, alpha=2.0, table=False)
    modulation = config.build(width=8, blocks=3)
    torch.nn.init.normal_(modulation.up)
    step = torch.randn(2, 8)
    expected = 0.5 * (modulation.up[1] @ modulation.down[1] @ step[0])
    assert torch.allclose(modulation(step)[0, 1].flatten(), expected, atol=1e-5)
