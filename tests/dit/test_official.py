import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ezaudio.dit.official import official_dit_config, official_dit_state
from ezaudio.dit.presets import DIT_PRESETS
from ezaudio.errors import CheckpointError
from ezaudio.types import TextEmbedding

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(path.name for path in GOLDEN.glob("dit_*.safetensors"))


def settings_of(name):
    with safe_open(GOLDEN / name, "pt") as file:
        return json.loads(file.metadata()["config"])


def load_golden(name):
    tensors = load_file(GOLDEN / name)
    weights = {key[8:]: value for key, value in tensors.items() if key.startswith("weights/")}
    network = official_dit_config(settings_of(name)).build().eval()
    network.load_state_dict(official_dit_state(weights), strict=True)
    return network, tensors


def text_of(tensors):
    if "in/context" not in tensors:
        return None
    return TextEmbedding(tensors["in/context"], tensors["in/context_mask"])


def test_all_eight_files_are_there():
    assert len(FILES) == 8


@pytest.mark.parametrize("name", FILES)
@torch.inference_mode()
def test_the_authors_weights_give_the_authors_velocity(name):
    network, tensors = load_golden(name)
    condition = network.prepare(text_of(tensors))
    steps = tensors["in/timesteps"]
    velocity = network(tensors["in/x"], steps, condition)
    assert (velocity - tensors["out/velocity"]).abs().max() <= 1e-4
    velocity = network(
        tensors["in/x"],
        steps,
        condition,
        known=tensors["in/known"],
        regenerate=tensors["in/mask"],
    )
    assert (velocity - tensors["out/velocity_inpaint"]).abs().max() <= 1e-4


@pytest.mark.parametrize(("name", "params"), [("l", 596_830_080), ("xl", 874_760_256)])
def test_the_released_tensors_load_strictly_into_the_preset(name, params):
    manifest = json.loads((GOLDEN / "manifests" / f"ezaudio-{name}.json").read_text())
    assert official_dit_config(manifest["config"]).model_dump(exclude={"adaln"}) == DIT_PRESETS[
        name
    ].model_dump(exclude={"adaln"})
    with torch.device("meta"):
        network = DIT_PRESETS[name].build()
        state = {key: torch.empty(shape) for key, shape in manifest["tensors"].items()}
    network.load_state_dict(official_dit_state(state), strict=True, assign=True)
    rotation = sum(t.numel() for key, t in state.items() if key.endswith("rotary.inv_freq"))
    assert sum(p.numel() for p in network.parameters()) == manifest["params"] == params
    assert sum(t.numel() for t in state.values()) == params + rotation


def test_the_presets_have_the_released_low_rank_adjustment():
    for name in ("l", "xl"):
        manifest = json.loads((GOLDEN / "manifests" / f"ezaudio-{name}.json").read_text())
        theirs, ours = official_dit_config(manifest["config"]).adaln, DIT_PRESETS[name].adaln
        assert (theirs.rank, theirs.table, theirs.scaling) == (ours.rank, ours.table, ours.scaling)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("time_fusion", "token"), ("context_fusion", "concat"), ("qkv_bias", True), ("in_chans", 8)],
)
def test_settings_that_no_released_network_uses_are_refused(setting, value):
    with pytest.raises(CheckpointError):
        official_dit_config(settings_of(FILES[0]) | {setting: value})


def test_missing_settings_are_named():
    settings = settings_of(FILES[0])
    del settings["embed_dim"]
    with pytest.raises(CheckpointError, match="embed_dim"):
        official_dit_config(settings)


def sola_weights():
    tensors = load_file(GOLDEN / "dit_ada_sola_bias.safetensors")
    return {key[8:]: value for key, value in tensors.items() if key.startswith("weights/")}


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("model.in_blocks.1.attn.to_k.weight", "to_k"),
        ("model.mid_block.adaln.lora_a.weight", "adaln.down"),
    ],
)
def test_a_tensor_missing_from_a_group_is_named(missing, message):
    weights = sola_weights()
    del weights[missing]
    with pytest.raises(CheckpointError, match=message):
        official_dit_state(weights)


@pytest.mark.parametrize("name", ["model.surprise.weight", "model.mid_block.surprise", "surprise"])
def test_an_unknown_tensor_is_named(name):
    with pytest.raises(CheckpointError, match="surprise"):
        official_dit_state(sola_weights() | {name: torch.zeros(1)})


def test_other_rotation_speeds_are_refused():
    weights = sola_weights()
    weights["model.mid_block.attn.rotary.inv_freq"] *= 2
    with pytest.raises(CheckpointError, match="rotation"):
        official_dit_state(weights)
