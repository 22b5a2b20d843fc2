"""Begin a network from the weights of a smaller one, so that it computes at first what that one did.

From a network without text to one with text (paper, section 2.3: stage 1 to stage 2), and from
latents of few channels to latents that have these and more.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from einops import rearrange
from torch import Tensor

from ezaudio.dit.model import EzAudioDiT
from ezaudio.errors import CheckpointError


def load_without_text(network: EzAudioDiT, state: Mapping[str, Tensor]) -> None:
    """Load the weights of a network without text into a fresh one with text, in place.

    The parts that read the text keep their fresh weights. Their output projections are zero, so the
    network computes at first what it computed without text.

    Args:
        network: a network with text whose other settings are those of `state`.
        state: the state dict of an `EzAudioDiT` without text.

    Raises:
        CheckpointError: another tensor is missing, unknown, or of another shape.
    """
    try:
        missing, unknown = network.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"the weights do not fit: {str(error).splitlines()[-1]}") from None
    missing = [name for name in missing if "text" not in name.split(".")]
    if missing or unknown:
        raise CheckpointError(f"the weights do not fit at {(missing + unknown)[0]!r}.")


def load_of_fewer_channels(network: EzAudioDiT, state: Mapping[str, Tensor]) -> None:
    """Load the weights of a network whose latents have the first channels alone, in place.

    The velocity of these channels is at first what it was, whatever the others hold, since those
    are read with zero weights; their own velocity is zero at first.

    Args:
        network: a fresh network whose other settings are those of `state`.
        state: the state dict of an `EzAudioDiT` of fewer channels.

    Raises:
        CheckpointError: another tensor is missing, unknown, or of another shape.
    """
    few, many = len(state["unknown"]), network.config.latent_channels
    grown = dict(state)
    patch = network.config.patch_size
    old = state["patches.weight"]  # (D, noisy | known | mask, patch)
    weight = old.new_zeros(len(old), 2 * many + 1, patch)
    weight[:, :few], weight[:, many : many + few] = old[:, :few], old[:, few : 2 * few]
    weight[:, -1] = old[:, -1]
    grown["patches.weight"] = weight
    grown["unknown"] = torch.cat([state["unknown"], old.new_zeros(many - few)])
    for name in ("output.linear.weight", "output.linear.bias"):
        rows = rearrange(state[name], "(p C) ... -> p C ...", p=patch)
        more = rows.new_zeros(patch, many - few, *rows.shape[2:])
        grown[name] = rearrange(torch.cat([rows, more], 1), "p C ... -> (p C) ...")
    convolution = network.state_dict()["output.conv.weight"].clone()  # fresh: passes through
    convolution[:few, :few] = state["output.conv.weight"]
    grown["output.conv.weight"] = convolution
    grown["output.conv.bias"] = torch.cat([state["output.conv.bias"], old.new_zeros(many - few)])
    try:
        network.load_state_dict(grown)
    except RuntimeError as error:
        raise CheckpointError(f"the weights do not fit: {str(error).splitlines()[-1]}") from None
