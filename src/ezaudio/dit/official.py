"""Adapters from the authors' checkpoints (release of October 2025) to this project's networks.

The authors' file holds `{"model": state}`; here `state` and the authors' `model` settings come in,
and settings
and a state dict that loads strictly go out. What differs: queries, keys and values are fused; the
modulation of all blocks is stacked; the rotation speeds are not weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ezaudio.dit.adaln import AdaLNConfig, FullAdaLN, SingleAdaLN, SolaAdaLN
from ezaudio.dit.config import DiTConfig
from ezaudio.dit.controlnet import ControlNetConfig
from ezaudio.errors import CheckpointError
from ezaudio.nn.rope import inverse_frequencies

_REQUIRED: dict[str, tuple[object, ...]] = {
    "input_type": ("1d",),
    "qkv_bias": (False,),
    "qk_scale": (None,),
    "act_layer": ("geglu",),
    "context_norm": (True,),
    "cls_dim": (None,),
    "context_fusion": ("cross",),
    "context_pe_method": ("none",),
    "pe_method": ("none",),
    "rope_mode": ("shared",),
    "use_conv": (True,),
}
"""Settings of the authors' code of which every released network uses one value."""

_OUTER = {
    "mask_embed": "unknown",
    "patch_embed.proj": "patches",
    "time_embed.mlp.0": "step.input",
    "time_embed.mlp.2": "step.output",
    "time_ada": "adaln.shared",
    "time_ada_final": "output.modulation",
    "context_embed.0": "text.0",
    "context_embed.2": "text.2",
    "final_block.norm": "output.norm",
    "final_block.linear": "output.linear",
    "final_block.final_layer": "output.conv",
}
_BLOCK = {
    "norm1": "attention_norm",
    "attn.norm_q": "attention.query_norm",
    "attn.norm_k": "attention.key_norm",
    "attn.proj": "attention.output",
    "norm2": "text.norm",
    "norm_context": "text.context_norm",
    "cross_attn.to_q": "text.attention.query",
    "cross_attn.norm_q": "text.attention.query_norm",
    "cross_attn.norm_k": "text.attention.key_norm",
    "cross_attn.proj": "text.attention.output",
    "norm3": "feedforward_norm",
    "mlp.net.0.proj": "feedforward.input",
    "mlp.net.2": "feedforward.output",
}
_FUSED = {
    "attention.qkv.weight": ("attn.to_q.weight", "attn.to_k.weight", "attn.to_v.weight"),
    "text.attention.key_value.weight": ("cross_attn.to_k.weight", "cross_attn.to_v.weight"),
}
_STACKED = {
    "adaln.time_ada.weight": "adaln.weight",
    "adaln.time_ada.bias": "adaln.bias",
    "adaln.scale_shift_table": "adaln.table",
    "adaln.lora_a.weight": "adaln.down",
    "adaln.lora_b.weight": "adaln.up",
}
_CONTROL = {
    "controlnet_pre.mask_embed": "control.hidden",
    "controlnet_pre.conv_in": "control.input",
    "controlnet_pre.blocks": "control.stages",
    "controlnet_pre.conv_out": "control.output",
    "controlnet_zero_blocks": "residuals",
}
_SKIP = {"skip_norm": "norm", "skip_linear": "linear"}


def official_dit_config(settings: Mapping[str, Any]) -> DiTConfig:
    """Settings of a network that the authors' `settings` describe.

    Raises:
        CheckpointError: a setting is missing, or asks for what no released network uses.
    """
    for name, allowed in _REQUIRED.items():
        if settings.get(name, allowed[0]) not in allowed:
            raise CheckpointError(f"official setting {name}={settings[name]!r} is not supported.")
    try:
        if settings["in_chans"] != 2 * settings["out_chans"] + 1:
            raise CheckpointError("official DiT without masked-latent input is not supported.")
        return DiTConfig(
            latent_channels=settings["out_chans"],
            width=settings["embed_dim"],
            depth=settings["depth"],
            heads=settings["num_heads"],
            mlp_ratio=settings["mlp_ratio"],
            patch_size=settings["patch_size"],
            text_width=settings["context_dim"],
            adaln=_adaln(settings),
            long_skips=settings["skip"],
            skip_norm=settings["skip_norm"],
            qk_norm=settings["qk_norm"] or "none",
            norm=settings["norm_layer"],
        )
    except KeyError as error:
        raise CheckpointError(f"official settings lack {error}.") from None


def _adaln(settings: Mapping[str, Any]) -> AdaLNConfig:
    mode = settings["time_fusion"]
    if mode == "ada":
        return FullAdaLN()
    if mode == "ada_single":
        return SingleAdaLN()
    if mode in ("ada_sola", "ada_sola_bias"):
        return SolaAdaLN(
            rank=settings["ada_sola_rank"],
            alpha=settings["ada_sola_alpha"],
            table=mode == "ada_sola_bias",
        )
    raise CheckpointError(f"official setting time_fusion={mode!r} is not supported.")


def official_controlnet_config(settings: Mapping[str, Any]) -> ControlNetConfig:
    """Settings of a control branch that the authors' `settings` describe.

    Raises:
        CheckpointError: a setting is missing, or asks for what no released network uses.
    """
    try:
        return ControlNetConfig(
            network=official_dit_config(settings),
            control_channels=settings["cond_in"],
            widths=tuple(settings["cond_blocks"]),
            hideable=settings["cond_mask"],
        )
    except KeyError as error:
        raise CheckpointError(f"official settings lack {error}.") from None


def official_dit_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of an `EzAudioDiT` from the authors' `state`; they load strictly.

    Raises:
        CheckpointError: a name is unknown, or a tensor that belongs to a group is missing.
    """
    return _trunk_state({name.removeprefix("model."): x for name, x in state.items()}, _OUTER)


def official_controlnet_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a `ControlNet` from the authors' `state`; they load strictly.

    Raises:
        CheckpointError: a name is unknown, or a tensor that belongs to a group is missing.
    """
    outer = dict(_OUTER)
    for name in state:
        stem = name if name == "controlnet_pre.mask_embed" else name.rpartition(".")[0]
        for theirs, ours in _CONTROL.items():
            if stem.startswith(theirs):
                outer[stem] = ours + stem.removeprefix(theirs)
    return _trunk_state(state, outer)


def _trunk_state(state: Mapping[str, Tensor], outer: Mapping[str, str]) -> dict[str, Tensor]:
    left = dict(state)
    order = _block_order(left)
    converted: dict[str, Tensor] = {}
    stacks: dict[str, list[Tensor]] = {}
    for index, block_name in enumerate(order):
        block = _taken(left, f"{block_name}.")
        _check_rotation(block.pop("attn.rotary.inv_freq", None))
        for theirs in _STACKED.keys() & block.keys():
            stacks.setdefault(_STACKED[theirs], []).append(block.pop(theirs))
        for ours, group in _FUSED.items():
            if group[0] in block:
                parts = [_popped(block, name) for name in group]
                converted[f"blocks.{index}.{ours}"] = torch.cat(parts)
        skip = {name: block.pop(name) for name in list(block) if name.startswith("skip_")}
        converted |= _renamed(skip, _SKIP, block_name.replace("out_blocks.", "skips."))
        converted |= _renamed(block, _BLOCK, f"blocks.{index}")
    for name, tensors in stacks.items():
        if len(tensors) != len(order):
            raise CheckpointError(f"{len(order)} blocks but {len(tensors)} tensors for {name}.")
        converted[name] = torch.stack(tensors)
    return converted | _renamed(left, outer)


def _block_order(state: Mapping[str, Tensor]) -> list[str]:
    found = {match[0] for name in state if (match := re.match(r"(in|out)_blocks\.\d+", name))}
    first, last = (
        sorted((name for name in found if name.startswith(half)), key=_number)
        for half in ("in_blocks", "out_blocks")
    )
    return [*first, *(["mid_block"] if last else []), *last]


def _number(block_name: str) -> int:
    return int(block_name.rpartition(".")[2])


def _taken(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    names = [name for name in state if name.startswith(prefix)]
    return {name.removeprefix(prefix): state.pop(name) for name in names}


def _popped(block: dict[str, Tensor], name: str) -> Tensor:
    if name not in block:
        raise CheckpointError(f"official weights lack {name} in some block.")
    return block.pop(name)


def _renamed(
    tensors: Mapping[str, Tensor], table: Mapping[str, str], prefix: str = ""
) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        stem, dot, leaf = (name, "", "") if name in table else name.rpartition(".")
        if stem not in table:
            raise CheckpointError(f"official weights hold an unknown tensor {name!r}.")
        renamed[f"{prefix}.{table[stem]}{dot}{leaf}".lstrip(".")] = tensor
    return renamed


def _check_rotation(speeds: Tensor | None) -> None:
    """Refuse rotation speeds that are not the ones that this project computes."""
    if speeds is None or speeds.is_meta:
        return
    ours = inverse_frequencies(2 * len(speeds)).to(speeds.device)
    if not torch.allclose(speeds.float(), ours, rtol=1e-2):
        raise CheckpointError("official weights use other rotation speeds than base 10000.")
