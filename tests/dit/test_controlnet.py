import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ezaudio.controls import EnergyConfig
from ezaudio.dit.controlnet import ControlNetConfig
from ezaudio.dit.official import (
    official_controlnet_config,
    official_controlnet_state,
    official_dit_config,
    official_dit_state,
)
from ezaudio.dit.presets import DIT_PRESETS
from ezaudio.errors import CheckpointError
from ezaudio.types import TextEmbedding

GOLDEN = Path(__file__).parents[1] / "golden"
FILE = GOLDEN / "controlnet_energy.safetensors"


def weights_of(tensors, prefix):
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }


@torch.inference_mode()
def test_a_waveform_becomes_the_authors_energy_skips_and_velocity():
    tensors = load_file(FILE)
    with safe_open(FILE, "pt") as file:
        metadata = file.metadata()
    settings = json.loads(metadata["config"])
    dit = official_dit_config(settings).build().eval()
    dit.load_state_dict(official_dit_state(weights_of(tensors, "weights/")))
    branch = official_controlnet_config(settings).build().eval()
    branch.load_state_dict(official_controlnet_state(weights_of(tensors, "controlnet_weights/")))

    energy = EnergyConfig().build()(tensors["in/waveform"].unsqueeze(1))
    assert (energy - tensors["out/energy"]).abs().max() <= 1e-4

    text = TextEmbedding(tensors["in/context"], tensors["in/context_mask"])
    x_t, steps = tensors["in/x"], tensors["in/timesteps"]
    residuals = branch(
        dit.compose(x_t),
        steps,
        branch.prepare(text),
        branch.embed_control(energy),
        scale=float(metadata["conditioning_scale"]),
    )
    assert len(residuals) == 2
    for index, residual in enumerate(residuals):
        assert (residual - tensors[f"out/skip_{index}"]).abs().max() <= 1e-4
    velocity = dit(x_t, steps, dit.prepare(text), residuals=residuals)
    assert (velocity - tensors["out/velocity"]).abs().max() <= 1e-4


def test_the_released_tensors_load_strictly():
    manifest = json.loads((GOLDEN / "manifests" / "controlnet-energy-l.json").read_text())
    with torch.device("meta"):
        branch = official_controlnet_config(manifest["config"]).build()
        state = {key: torch.empty(shape) for key, shape in manifest["tensors"].items()}
    branch.load_state_dict(official_controlnet_state(state), strict=True, assign=True)
    assert sum(p.numel() for p in branch.parameters()) == manifest["params"] == 291_225_732
    conditioner = manifest["conditioner"]
    energy = EnergyConfig()
    assert energy.kind == conditioner["condition_type"]
    assert energy.hop_samples == conditioner["hop_size"]
    assert energy.window_samples == conditioner["window_size"]
    assert energy.floor_db == conditioner["min_db"]
    assert energy.relative == conditioner["norm"]


def tiny_branch(**settings):
    torch.manual_seed(0)
    return ControlNetConfig(network=DIT_PRESETS["tiny"], widths=(3, 4), **settings).build().eval()


def tiny_inputs(frames=10):
    generator = torch.Generator().manual_seed(0)
    text = TextEmbedding(
        torch.randn(2, 3, 16, generator=generator), torch.ones(2, 3, dtype=torch.bool)
    )
    x_t = torch.randn(2, 4, frames, generator=generator)
    control = torch.rand(2, 1, 2 * frames, generator=generator)
    return x_t, text, control


def test_a_fresh_branch_changes_nothing():
    branch, dit = tiny_branch(), DIT_PRESETS["tiny"].build().eval()
    torch.nn.init.normal_(dit.output.linear.weight)
    x_t, text, control = tiny_inputs()
    condition = dit.prepare(text)
    residuals = branch(dit.compose(x_t), 500, branch.prepare(text), branch.embed_control(control))
    steered = dit(x_t, 500, condition, residuals=residuals)
    assert torch.equal(steered, dit(x_t, 500, condition))


def test_a_hidden_control_has_no_influence():
    branch = tiny_branch()
    torch.nn.init.normal_(branch.control.output.weight)
    _, _, control = tiny_inputs()
    hide = torch.ones_like(control, dtype=torch.bool)
    hidden = branch.embed_control(control, hide=hide)
    assert torch.equal(hidden, branch.embed_control(1 - control, hide=hide))
    assert not torch.equal(hidden, branch.embed_control(control))


def test_a_control_that_cannot_be_hidden_says_so():
    _, _, control = tiny_inputs()
    with pytest.raises(ValueError, match="hidden"):
        tiny_branch(hideable=False).embed_control(control, hide=control > 0)


def test_a_control_of_another_length_is_refused():
    branch, dit = tiny_branch(), DIT_PRESETS["tiny"].build()
    x_t, text, control = tiny_inputs()
    with pytest.raises(ValueError, match="positions"):
        branch(dit.compose(x_t), 3, branch.prepare(text), branch.embed_control(control[..., :-2]))


def test_a_dit_without_long_skips_is_steered_too():
    config = DIT_PRESETS["tiny"].model_copy(update={"long_skips": False})
    dit = config.build().eval()
    torch.nn.init.normal_(dit.output.linear.weight)
    x_t, text, _ = tiny_inputs()
    condition = dit.prepare(text)
    steered = dit(x_t, 3, condition, residuals=[torch.ones(2, 10, 32)])
    plain = dit(x_t, 3, condition)
    assert not torch.equal(steered, plain)
    assert torch.equal(dit(x_t, 3, condition, residuals=[torch.zeros(2, 10, 32)]), plain)


def test_settings_of_a_plain_dit_are_no_control_branch():
    with safe_open(GOLDEN / "dit_ada_sola_bias.safetensors", "pt") as file:
        settings = json.loads(file.metadata()["config"])
    with pytest.raises(CheckpointError, match="cond_in"):
        official_controlnet_config(settings)
