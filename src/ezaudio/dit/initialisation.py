"""How a fresh network starts: this project's way, or the authors'."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import nn

from ezaudio.dit.adaln.full import FullModulation
from ezaudio.dit.block import Block
from ezaudio.dit.model import EzAudioDiT
from ezaudio.nn.initialisation import xavier, zeroed

_STACKED = {"qkv": 3, "key_value": 2}
"""Layers that hold several of the authors' layers, and how many."""


def zero_output(network: EzAudioDiT) -> None:
    """Leave a network as it is built: its branches scaled down by its depth, its velocity zero."""


def plain_xavier(network: EzAudioDiT) -> None:
    """Start every layer from Xavier's distribution, in place, as the authors' code does.

    Zero are: all biases, what the diffusion step does to the blocks, and the output projections of
    the cross-attention. The first velocity has about the deviation of its target, and the stream
    grows with the depth.

    Args:
        network: as it was built, whose tables and stacked modulations are right for both ways.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            xavier(module, parts=_STACKED.get(name.rpartition(".")[2], 1))
    xavier(network.patches)
    if not isinstance(network.adaln, FullModulation):
        zeroed(network.adaln.shared)
    zeroed(network.output.modulation)
    for block in network.blocks:
        if (text := cast(Block, block).text) is not None:
            zeroed(text.attention.output)
    nn.init.xavier_uniform_(network.output.conv.weight)  # its fans count the kernel's width
    assert network.output.conv.bias is not None
    nn.init.zeros_(network.output.conv.bias)


INITIALISATIONS: dict[str, Callable[[EzAudioDiT], None]] = {
    "zero-output": zero_output,
    "xavier": plain_xavier,
}
"""Name to what is done to a network that was just built."""
