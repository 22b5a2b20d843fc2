"""Low-rank adapters: identity, arithmetic, merging, files."""

from __future__ import annotations

import copy
import json
import struct

import pytest
import torch
from torch import nn

from ezaudio.checkpoints import load_module, save_module
from ezaudio.dit import DIT_PRESETS, EzAudioDiT
from ezaudio.dit.lora import (
    LORA_TARGETS,
    AdaptedLinear,
    LoRAConfig,
    adapted_layers,
    adapter_names,
    adapter_state,
    add_adapter,
    drop_adapter,
    load_adapter_state,
    merge_adapters,
    remove_adapters,
    set_strengths,
    target_layers,
    train_only_adapters,
    unmerge_adapters,
)
from ezaudio.dit.lora_file import Adapter, Base, load_adapter, put_adapter, save_adapter
from ezaudio.errors import CheckpointError, InputError
from ezaudio.types import TextEmbedding

TINY = DIT_PRESETS["tiny"]
CONFIG = LoRAConfig(rank=3, alpha=6.0)
BASE = Base("tiny", "a" * 64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = TINY.build()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator()))
    return network.eval()


def velocity(network: EzAudioDiT):
    text = TextEmbedding(torch.randn(2, 5, 16, generator=generator(1)), torch.ones(2, 5) > 0)
    x_t = torch.randn(2, 4, 12, generator=generator(2))
    with torch.no_grad():
        return network(x_t, torch.tensor([10, 900]), network.prepare(text))


def shaken(network, name="adapter", seed=5, config=CONFIG):
    """Add an adapter that does something."""
    add_adapter(network, config, name=name, generator=generator(seed))
    state = {
        key: 0.1 * torch.randn(value.shape, generator=generator(seed + i))
        for i, (key, value) in enumerate(adapter_state(network, name).items())
    }
    load_adapter_state(network, state, name)
    return state


def far(one, other):
    return float((one - other).abs().max()) > 1e-3


def test_a_fresh_adapter_changes_nothing_bit_for_bit(network):
    before = velocity(network)
    add_adapter(network, CONFIG, generator=generator())
    assert torch.equal(velocity(network), before)
    merge_adapters(network)
    assert torch.equal(velocity(network), before)


def test_the_names_and_tensors_of_the_base_stay(network):
    before = dict(network.state_dict())
    add_adapter(network, CONFIG)
    after = network.state_dict()
    assert set(before) <= set(after)
    assert all(after[name] is value or torch.equal(after[name], value)
               for name, value in before.items())  # fmt: skip
    added = set(after) - set(before)
    assert added == {
        f"{layer}.adapters.adapter.{half}" for layer in adapted_layers(network)
        for half in ("down", "up")
    }  # fmt: skip
    remove_adapters(network)
    assert list(network.state_dict()) == list(before)
    assert not adapted_layers(network)


def test_an_adapter_computes_what_its_matrices_say(network):
    state = shaken(network)
    layer = network.blocks[1].attention.qkv
    assert isinstance(layer, AdaptedLinear)
    x = torch.randn(2, 7, 32, generator=generator(3))
    down, up = (state[f"blocks.1.attention.qkv.{half}"] for half in ("down", "up"))
    wanted = x @ (layer.weight + 2.0 * 0.3 * up @ down).T
    set_strengths(network, {"adapter": 0.3})
    torch.testing.assert_close(layer(x), wanted, atol=1e-5, rtol=1e-5)


def test_every_target_finds_its_layers_and_changes_the_output(network):
    before = velocity(network)
    for target in LORA_TARGETS:
        other = copy.deepcopy(network)
        config = LoRAConfig(rank=2, targets=(target,))
        shaken(other, config=config)
        assert far(velocity(other), before), target
        assert set(adapted_layers(other)) == set(target_layers(network, config))
    assert len(target_layers(network, LoRAConfig(rank=2))) == 3 * 7
    every = LoRAConfig(rank=2, targets=tuple(LORA_TARGETS))
    assert len(target_layers(network, every)) == 3 * 7 + 1


def test_merged_weights_give_the_same_output_and_unmerging_is_exact(network):
    before, weights = velocity(network), copy.deepcopy(network.state_dict())
    shaken(network, "one", 5)
    shaken(network, "two", 50, LoRAConfig(rank=2, targets=("feedforward",)))
    set_strengths(network, {"one": 0.7, "two": -0.4})
    beside = velocity(network)
    assert far(beside, before)
    merge_adapters(network)
    assert all(layer.merged for layer in adapted_layers(network).values())
    torch.testing.assert_close(velocity(network), beside, atol=1e-5, rtol=1e-4)
    unmerge_adapters(network)
    assert torch.equal(velocity(network), beside)
    now = network.state_dict()
    assert all(torch.equal(now[name], value) for name, value in weights.items())


def test_merging_twice_is_merging_once_and_removing_keeps_it(network):
    shaken(network)
    merge_adapters(network)
    merged = velocity(network)
    merge_adapters(network)
    remove_adapters(network)
    assert torch.equal(velocity(network), merged)
    assert adapter_names(network) == ()


def test_what_is_added_to_the_weights_is_linear_in_the_strength(network):
    shaken(network)
    own = network.blocks[0].feedforward.input.weight.detach().clone()
    added = {}
    for strength in (0.0, 0.5, 1.0, -1.0):
        set_strengths(network, {"adapter": strength})
        merge_adapters(network)
        added[strength] = network.blocks[0].feedforward.input.weight.detach() - own
        unmerge_adapters(network)
    assert torch.equal(added[0.0], torch.zeros_like(own))
    torch.testing.assert_close(added[0.5], 0.5 * added[1.0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(added[-1.0], -added[1.0], atol=1e-6, rtol=1e-5)


def test_strength_0_is_the_base_bit_for_bit(network):
    before = velocity(network)
    shaken(network)
    set_strengths(network, {"adapter": 0.0})
    assert torch.equal(velocity(network), before)


def test_two_adapters_add_up_in_any_order(network):
    pairs = [("one", 5), ("two", 50)]
    outputs = []
    for order in (pairs, pairs[::-1]):
        other = copy.deepcopy(network)
        for name, seed in order:
            shaken(other, name, seed)
        outputs.append(velocity(other))
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-4)


def test_an_adapter_is_taken_off_alone(network):
    plain = velocity(network)
    shaken(network, "one", 5)
    before = velocity(network)
    shaken(network, "two", 50, LoRAConfig(rank=2, targets=("long-skips", "feedforward")))
    drop_adapter(network, "two")
    assert torch.equal(velocity(network), before)
    assert type(network.skips[0].linear) is nn.Linear
    drop_adapter(network, "one")
    assert torch.equal(velocity(network), plain) and not adapted_layers(network)


def test_only_the_adapters_learn(network):
    add_adapter(network, CONFIG, generator=generator())
    parameters = train_only_adapters(network)
    assert {id(p) for p in network.parameters() if p.requires_grad} == {id(p) for p in parameters}
    assert len(parameters) == 2 * 3 * 7
    before = copy.deepcopy(network.state_dict())
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    for _ in range(2):  # `up` is zero at first, so that `down` learns from the second step on
        optimizer.zero_grad()
        text = TextEmbedding(torch.ones(1, 2, 16), torch.ones(1, 2) > 0)
        network(torch.ones(1, 4, 6), 500, network.prepare(text)).square().mean().backward()
        optimizer.step()
    moved = {name for name, x in network.state_dict().items() if not torch.equal(x, before[name])}
    assert moved and all(".adapters." in name for name in moved)
    assert {name.rsplit(".")[-1] for name in moved} == {"up", "down"}


def test_a_base_in_half_precision_keeps_its_adapters_in_float32(network):
    network.bfloat16()
    add_adapter(network, CONFIG)
    layer = network.blocks[0].attention.output
    assert {p.dtype for p in layer.adapters.parameters()} == {torch.float32}
    assert layer(torch.ones(1, 2, 32, dtype=torch.bfloat16)).dtype == torch.bfloat16
    merge_adapters(network)
    assert layer.weight.dtype == torch.bfloat16


def test_a_copy_has_adapters_of_its_own(network):
    shaken(network)
    other, before = copy.deepcopy(network), velocity(network)
    set_strengths(other, {"adapter": 0.0})
    assert torch.equal(velocity(network), before)
    assert far(velocity(other), before)


def test_the_same_generator_gives_the_same_fresh_adapter(network):
    states = []
    for seed in (1, 1, 2):
        other = copy.deepcopy(network)
        add_adapter(other, CONFIG, generator=generator(seed))
        states.append(adapter_state(other)["blocks.0.attention.qkv.down"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rank": 0}, "rank"),
        ({"alpha": 0}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"targets": []}, "targets"),
        ({"targets": ["attention", "attention"]}, "targets"),
        ({"targets": ["atention"]}, "targets"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, field):
    from ezaudio.config import load_config

    with pytest.raises(InputError) as error:
        load_config(LoRAConfig, change)
    assert error.value.field == field


def test_layers_that_are_not_there_are_named(network):
    bare = TINY.model_copy(update={"text_width": None, "long_skips": False}).build()
    for target in ("cross-attention", "long-skips"):
        with pytest.raises(InputError, match=target):
            add_adapter(bare, LoRAConfig(rank=1, targets=(target,)))
    with pytest.raises(InputError, match="at most 32"):
        add_adapter(network, LoRAConfig(rank=33))
    assert not adapted_layers(network)


def test_misuse_is_an_error(network):
    shaken(network)
    with pytest.raises(ValueError, match="already"):
        add_adapter(network, CONFIG)
    for name in ("a.b", "", "keys"):
        with pytest.raises(ValueError, match="called"):
            add_adapter(network, CONFIG, name=name)
    with pytest.raises(ValueError, match="no adapter 'other'"):
        set_strengths(network, {"other": 1.0})
    merge_adapters(network)
    with pytest.raises(ValueError, match="unmerge"):
        set_strengths(network, {"adapter": 0.5})
    with pytest.raises(ValueError, match="unmerge"):
        add_adapter(network, CONFIG, name="two")


@pytest.fixture
def file(network, tmp_path):
    other = copy.deepcopy(network)
    state = shaken(other)
    save_adapter(tmp_path / "a.safetensors", Adapter(CONFIG, state, BASE, {"steps": 3}))
    return tmp_path / "a.safetensors"


def test_a_file_holds_all_that_an_adapter_is(network, file):
    found = load_adapter(file)
    assert (found.config, found.base, found.facts) == (CONFIG, BASE, {"steps": 3})
    put_adapter(network, file, base=BASE, strength=0.5)
    by_hand = copy.deepcopy(network)
    remove_adapters(by_hand)
    shaken(by_hand)
    set_strengths(by_hand, {"adapter": 0.5})
    assert torch.equal(velocity(network), velocity(by_hand))


def test_another_base_is_an_error_that_names_both(network, file):
    before = velocity(network)
    with pytest.raises(CheckpointError) as error:
        put_adapter(network, file, base=Base("dogs", "b" * 64))
    for said in ("a.safetensors", "tiny (sha256 aaaaaaaaaaaa…)", "dogs (sha256 bbbbbbbbbbbb…)"):
        assert said in str(error.value)
    assert torch.equal(velocity(network), before) and not adapted_layers(network)


def test_a_converted_base_is_the_same_base(network, file):
    put_adapter(network, file, base=Base("converted", "b" * 64, source_sha256="a" * 64))


def change(tensors, what):
    name = "blocks.0.attention.qkv.down"
    if what == "missing":
        del tensors[name]
    elif what == "unknown":
        tensors["blocks.9.attention.qkv.down"] = tensors[name]
    elif what == "shape":
        tensors[name] = tensors[name][:, :-1]
    else:
        tensors[name] = tensors[name] * torch.nan
    return tensors


@pytest.mark.parametrize("what", ["missing", "unknown", "shape", "NaN"])
def test_tensors_that_do_not_fit_are_named_and_nothing_is_loaded(network, file, what):
    found = load_adapter(file)
    save_adapter(file, Adapter(CONFIG, change(dict(found.tensors), what), BASE))
    with pytest.raises(CheckpointError, match=what):
        put_adapter(network, file, base=BASE)
    assert not adapted_layers(network)


def test_a_network_of_another_size_is_refused(file):
    other = TINY.model_copy(update={"width": 48}).build()
    with pytest.raises(CheckpointError, match="shape"):
        put_adapter(other, file, base=BASE)
    bare = TINY.model_copy(update={"text_width": None}).build()
    with pytest.raises(CheckpointError, match="cross-attention"):
        put_adapter(bare, file, base=BASE)


def test_a_damaged_file_is_one_line(network, file, tmp_path):
    whole = file.read_bytes()
    for cut in (0, 7, 100, len(whole) - 5):
        file.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match=r"a\.safetensors") as error:
            put_adapter(network, file, base=BASE)
        assert "\n" not in str(error.value)
    tensors = {"x": torch.zeros(1)}
    save_module(file, tensors, kind="dit", config={})
    with pytest.raises(CheckpointError, match="expected a `lora`"):
        load_adapter(file)
    save_module(file, tensors, kind="lora", config={"rank": 2})
    with pytest.raises(CheckpointError, match="what it was fitted to"):
        load_adapter(file)
    save_module(file, tensors, kind="lora", config={"rnk": 2}, extra={"base": vars(BASE)})
    with pytest.raises(CheckpointError, match="rnk"):
        load_adapter(file)


def test_the_metadata_is_plain_json_in_the_header(file):
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    head = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["ezaudio"])
    assert head["kind"] == "lora" and head["config"]["rank"] == 3
    assert head["base"] == {"name": "tiny", "sha256": "a" * 64}
    assert load_module(file, kind="lora").parameters == sum(
        p.numel() for p in load_adapter(file).tensors.values()
    )


def test_an_adapted_layer_is_still_a_linear_layer(network):
    add_adapter(network, CONFIG)
    assert all(isinstance(layer, nn.Linear) for layer in adapted_layers(network).values())
