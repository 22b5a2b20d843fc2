"""How fast is a training step beside that of a straightforward loop over the same network?

    python benchmarks/training_throughput.py --latents data/latents [--texts data/texts] [--bf16]

The straightforward loop is the one that is written first: each batch encodes its prompts, attention
is torch's kernel, nothing is compiled, the optimiser is `torch.optim.AdamW` as it comes, the
averaged weights are updated parameter by parameter. Both make steps in turns, in one process, on
batches of the same clips and prompts, of one length, in one precision; a turn's ratio is that of
its two times. The loop's own parts are replaced one by one. `--padded` also gives the loop the
clips as they are, padded to the longest of their batch, and counts seconds of sound instead of
steps.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from torch import nn

from ezaudio.data.batches import LatentBatch, LatentBatches
from ezaudio.diffusion import add_noise, velocity_target, zero_snr_schedule
from ezaudio.dit import EzAudioDiT
from ezaudio.dit.masking import sample_regenerate_mask
from ezaudio.nn import attention
from ezaudio.text import TextEncoder
from ezaudio.training.loop.distributed import Engine
from ezaudio.training.recipe import DiffusionRecipe, read_recipe
from ezaudio.training.tasks.compiling import compile_blocks
from ezaudio.training.tasks.diffusion import DiffusionTask, load_material
from ezaudio.types import TextEmbedding

DECAY = 0.999
WARM_UP = 3


@dataclass(frozen=True)
class Parts:
    """Which parts of the straightforward loop are replaced by this project's ways.

    Attributes:
        remembered: prompts are encoded once, not in every batch.
        fused: AdamW in one kernel.
        joined: averages of all weights in one call.
        written_out: attention computes with its weights written out.
        compiled: blocks are compiled.
    """

    remembered: bool = False
    fused: bool = False
    joined: bool = False
    written_out: bool = False
    compiled: bool = False


class Loop:
    """The straightforward loop.

    Args:
        network: fresh, trained in place.
        encoder: of the prompts.
        parts: what is not straightforward.
        half: compute products in bfloat16.
    """

    def __init__(
        self, network: EzAudioDiT, encoder: TextEncoder, parts: Parts, *, half: bool
    ) -> None:
        self.network, self.encoder, self.parts = network, encoder, parts
        self.schedule = zero_snr_schedule()
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=parts.fused or None)
        self.known: dict[str, TextEmbedding] = {}
        self.half = half
        compile_blocks(network, "inductor" if parts.compiled else None)

    def step(self, batch: LatentBatch) -> None:
        """Make one step."""
        most = attention.MOST_WRITTEN_OUT if self.parts.written_out else 0
        with mock.patch.object(attention, "MOST_WRITTEN_OUT", most):
            self.learn(batch)

    def learn(self, batch: LatentBatch) -> None:
        """Forward, backward, update."""
        x0 = batch.x0
        text = self.text(["" if torch.rand(()) < 0.1 else prompt for prompt in batch.prompts])
        noise = torch.randn_like(x0)
        steps = torch.randint(self.schedule.num_steps, (len(x0),))
        hidden = sample_regenerate_mask(len(x0), x0.shape[2], full_probability=0.75)
        x_t = add_noise(x0, noise, steps, self.schedule)
        target = velocity_target(x0, noise, steps, self.schedule)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            condition = self.network.prepare(text)
            v = self.network(x_t, steps, condition, known=x0, regenerate=hidden)
        weight = hidden * batch.weight  # (B, 1, T)
        error = (v.float() - target).square().mean(dim=1, keepdim=True)
        loss = (error * weight).sum() / weight.sum()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.remember()

    def text(self, prompts: list[str]) -> TextEmbedding:
        """Encode the prompts."""
        if not self.parts.remembered:
            return self.encoder(prompts)
        for prompt in prompts:
            if prompt not in self.known:
                self.known[prompt] = self.encoder([prompt])
        return TextEmbedding.cat([self.known[prompt] for prompt in prompts])

    @torch.no_grad()
    def remember(self) -> None:
        """Move the averaged weights."""
        old, new = list(self.average.parameters()), list(self.network.parameters())
        if self.parts.joined:
            torch._foreach_lerp_(old, new, 1 - DECAY)
            return
        for mean, value in zip(old, new, strict=True):
            mean.mul_(DECAY).add_(value, alpha=1 - DECAY)


def padded(batches: LatentBatches, index: int, rows: int) -> tuple[LatentBatch, float]:
    """Clips as they are, padded to the longest of the batch, and their seconds of sound."""
    store, generator = batches.store, torch.Generator().manual_seed(index)
    clips = [clip for group in store.takes("train").values() for clip in group]
    chosen = [clips[int(i)] for i in torch.randint(len(clips), (rows,), generator=generator)]
    longest = round(10 * store.frame_rate)
    sounds = [store.sample(clip, generator, 0, min(longest, store.frames(clip))) for clip in chosen]
    lengths = torch.tensor([len(sound) for sound in sounds])
    x0 = nn.utils.rnn.pad_sequence(sounds, batch_first=True).transpose(1, 2)
    weight = (torch.arange(x0.shape[2]) < lengths[:, None]).float()[:, None]
    prompts = tuple(store.rows[clip].caption for clip in chosen)
    batch = LatentBatch(x0.contiguous(), prompts, weight, prompts)
    return batch, float(lengths.sum()) / store.frame_rate


def seconds(call: Callable[[], object]) -> float:
    """Time of a call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def recipe_for(options: argparse.Namespace, *changes: str) -> DiffusionRecipe:
    """The stage with text of the starter's recipe, on the given latents."""
    texts = "null" if options.texts is None else str(options.texts)
    precision = "bf16" if options.bf16 else "fp32"
    recipe = read_recipe(
        "starter",
        [
            f"each.data.latents={options.latents}",
            f"each.data.texts={texts}",
            "stages.align.data.batch.mixed_share=0",
            "stages.align.data.batch.sequence_share=0",
            "stages.align.valid.batches=0",
            "each.listen=null",
            f"engine.precision={precision}",
            *changes,
        ],
    )
    assert isinstance(recipe, DiffusionRecipe)
    return recipe


def task_of(recipe: DiffusionRecipe, options: argparse.Namespace) -> DiffusionTask:
    """This project's step."""
    engine = Engine(recipe.engine)
    stage = recipe.stages["align"]
    material = load_material(recipe.model, recipe.text, stage, engine)
    return DiffusionTask(material, stage, engine)


def same_batches(options: argparse.Namespace) -> dict[str, object]:
    """Ratios of the time of a step, on batches of the same clips, prompts and length."""
    rows = f"rows={options.rows}"
    length = f"duration_s=[{options.duration}, {options.duration}]"
    batch = "stages.align.data.batch."
    recipe = recipe_for(options, batch + rows, batch + length)
    task = task_of(recipe, options)
    encoder = recipe.text.build()
    variants = {
        "straightforward": Parts(),
        "prompts remembered": Parts(remembered=True),
        "fused AdamW": Parts(fused=True),
        "averages in one call": Parts(joined=True),
        "attention written out": Parts(written_out=True),
        "blocks compiled": Parts(compiled=True),
    }
    loops = {
        name: Loop(recipe.model.build(), encoder, parts, half=options.bf16)
        for name, parts in variants.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in ("this project", *loops)}
    for index in range(WARM_UP + options.turns):
        taken["this project"].append(seconds(lambda i=index: task.step(i, 1.0)))  # type: ignore[misc]
        for name, loop in loops.items():
            made = seconds(lambda i=index, loop=loop: loop.step(task.train.batches.batch(i)))  # type: ignore[misc]
            taken[name].append(made)
    kept = {name: values[WARM_UP:] for name, values in taken.items()}
    base = kept["straightforward"]
    return {
        "rows": options.rows,
        "duration_s": options.duration,
        "step_s": {name: round(statistics.median(values), 4) for name, values in kept.items()},
        "times_as_fast": {
            name: round(statistics.median(b / v for b, v in zip(base, values, strict=True)), 3)
            for name, values in kept.items()
            if name != "straightforward"
        },
    }


def sound_per_second(options: argparse.Namespace) -> dict[str, object]:
    """Seconds of sound per second: recipe's batches, and the loop's padded clips."""
    recipe = recipe_for(options)
    task = task_of(recipe, options)
    loop = Loop(recipe.model.build(), recipe.text.build(), Parts(), half=options.bf16)
    ours, theirs, share = [], [], []
    for index in range(WARM_UP + options.turns):
        rows, frames = task.train.batches.shape(index)
        taken = seconds(lambda i=index: task.step(i, 1.0))  # type: ignore[misc]
        ours.append((rows * frames / task.store.frame_rate, taken))
        began = time.perf_counter()
        batch, sound_s = padded(task.train.batches, index, options.rows)
        loop.step(batch)
        theirs.append((sound_s, time.perf_counter() - began))
        share.append(float(batch.weight.mean()))
    rates = [
        sum(sound for sound, _ in side[WARM_UP:]) / sum(time_s for _, time_s in side[WARM_UP:])
        for side in (ours, theirs)
    ]
    return {
        "sound_s_per_s": {
            "this project": round(rates[0], 1),
            "straightforward": round(rates[1], 1),
        },
        "times_as_fast": round(rates[0] / rates[1], 3),
        "share_of_sound_in_padded_batches": round(statistics.mean(share), 3),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print what came out as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--latents", type=Path, required=True, help="of `ezaudio data encode --vae`"
    )
    parser.add_argument("--texts", type=Path, help="of `ezaudio data encode --text minilm`")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--duration", type=float, default=3.0, help="of a row, in seconds")
    parser.add_argument("--padded", action="store_true", help="also: clips as they are, padded")
    parser.add_argument("--bf16", action="store_true", help="where the processor has it")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    found: dict[str, object] = {"threads": torch.get_num_threads(), "bf16": options.bf16}
    with contextlib.suppress(KeyboardInterrupt):
        found |= same_batches(options)
        if options.padded:
            found["padded"] = sound_per_second(options)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
