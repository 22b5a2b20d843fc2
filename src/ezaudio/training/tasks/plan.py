"""What a run would take, from its settings alone: nothing is loaded and nothing is computed.

The network is built without memory (PyTorch's `meta` device) and called there once with the longest
batch, which counts its operations and the bytes that the backward pass would keep. A backward pass
takes twice the operations of a forward pass, and recomputing the blocks one more.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from ezaudio.dit import DiTConfig
from ezaudio.training.loop.task import Plan
from ezaudio.training.tasks.stages import StageConfig
from ezaudio.training.tasks.velocity import Rows, VelocityError

FRAME_RATE = 50.0
"""Latent frames per second where the latents that would say so are not there yet."""

_FLOAT = 4
_OPTIMISER = 4
"""Copies of the weights beside the averages: weights, gradients, two moments."""
_TOKENS = 16
"""Tokens of a usual prompt."""


class Store(NamedTuple):
    """What is known of a folder of latents.

    Attributes:
        frame_rate: Latent frames per second.
        shards: How many.
        clips: How many.
        note: The same in words.
    """

    frame_rate: float
    shards: int
    clips: int
    note: str


def plan_stage(model: DiTConfig, stage: StageConfig, world: int) -> Plan:
    """Count what a stage takes.

    Args:
        model: Network of the stage, with or without text.
        stage: The stage.
        world: Processes.
    """
    store = read_store(stage.data.latents)
    rows, frames = longest_batch(stage, store.frame_rate)
    own = max(1, math.ceil(rows / world))
    micro = min(own, stage.compute.micro_rows or own)
    parameters, flops, kept = measure(model, stage, rows=micro, frames=frames)
    copies = _OPTIMISER + len(stage.averages.half_lives)
    mean_share = _mean_frames(stage, store.frame_rate) / (rows * frames)
    passes = 4.0 if stage.compute.gradient_checkpointing else 3.0
    texts = "encoded when they come" if stage.data.texts is None else str(stage.data.texts)
    return Plan(
        parameters=parameters,
        trainable=parameters,
        state_bytes=parameters * _FLOAT * copies,
        activation_bytes=kept,
        step_flops=passes * flops / micro * rows * mean_share,
        steps=stage.run.steps,
        notes={
            "latents": f"{stage.data.latents}: {store.note}",
            "prompts": texts if stage.text else "none",
            "batch": f"up to {rows} rows of {frames / store.frame_rate:.3g} s",
        },
    )


def read_store(folder: Path) -> Store:
    """What the head of a folder of latents says."""
    try:
        head = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        rate, shards, clips = float(head["frame_rate"]), len(head["shards"]), int(head["clips"])
    except (OSError, ValueError, KeyError, TypeError):
        return Store(FRAME_RATE, 0, 0, "not there yet")
    hours = float(head.get("frames", 0)) / rate / 3600
    return Store(rate, shards, clips, f"{shards} shards, {clips} clips, {hours:.3g} h")


def read_waveforms(folder: Path) -> str:
    """What the head of a folder of packed recordings says, in words."""
    try:
        head = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        return f"{folder}: {len(head['shards'])} shards, {int(head['clips'])} clips"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{folder}: not there yet"


def longest_batch(stage: StageConfig, frame_rate: float) -> tuple[int, int]:
    """Rows and frames of the batch with the longest rows."""
    batch = stage.data.batch
    return _rows(stage, batch.duration_s[1], frame_rate), round(batch.duration_s[1] * frame_rate)


def measure(
    model: DiTConfig, stage: StageConfig, *, rows: int, frames: int
) -> tuple[int, int, int]:
    """Parameters, operations of a forward pass, and bytes kept for the backward pass."""
    with torch.device("meta"):
        network = model.build()
        error = VelocityError(network, torch.empty(model.latent_channels))
        inputs = _rows_like(model, rows=rows, frames=frames)
    seen: dict[int, tuple[int, object]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        # the storage is held, so that no other gets its address
        seen[storage._cdata] = (tensor.numel() * tensor.element_size(), storage)
        return tensor

    held = [*network.parameters(), *network.buffers()]
    with FlopCounterMode(display=False) as counter, saved_tensors_hooks(keep, lambda x: x):
        error(inputs)
    for tensor in held:
        seen.pop(tensor.untyped_storage()._cdata, None)
    kept = sum(size for size, _ in seen.values())
    if stage.compute.gradient_checkpointing:  # the inputs of all blocks, and the inside of one
        blocks = len(network.blocks)
        kept = kept // blocks + blocks * rows * -(-frames // model.patch_size) * model.width * 4
    parameters = sum(p.numel() for p in network.parameters())
    return parameters, int(counter.get_total_flops()), kept


def _rows(stage: StageConfig, seconds: float, frame_rate: float) -> int:
    batch = stage.data.batch
    if batch.rows is not None:
        return batch.rows
    frames = max(2, round(seconds * frame_rate))
    wanted = batch.seconds * frame_rate / frames / batch.rows_multiple
    return batch.rows_multiple * max(1, round(wanted))


def _mean_frames(stage: StageConfig, frame_rate: float) -> float:
    """Frames of an average batch: lengths are log-uniform."""
    low, high = (math.log(s) for s in stage.data.batch.duration_s)
    lengths = [math.exp(low + (high - low) * (i + 0.5) / 32) for i in range(32)]
    return sum(_rows(stage, s, frame_rate) * s * frame_rate for s in lengths) / len(lengths)


def _rows_like(model: DiTConfig, *, rows: int, frames: int) -> Rows:
    channels, column = model.latent_channels, torch.empty(rows, 1, 1)
    latent, frame = torch.empty(rows, channels, frames), torch.empty(rows, 1, frames)
    text = model.text_width
    return Rows(
        x0=latent,
        noise=latent,
        steps=torch.empty(rows, dtype=torch.long),
        alpha=column,
        sigma=column,
        regenerate=frame.bool(),
        weight=frame,
        tokens=None if text is None else torch.empty(rows, _TOKENS, text),
        attend=None if text is None else torch.empty(rows, _TOKENS, dtype=torch.bool),
    )
