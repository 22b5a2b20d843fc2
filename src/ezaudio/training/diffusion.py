"""Train a diffusion transformer on cached latents.

One loop: draw a length T, fill a batch of latents with sound, draw a time step per row, and fit the
velocity. A share of the rows keeps part of the latent as context (masked audio modelling, paper
section 2.3), which is what editing uses; the loss counts only what is regenerated. A share of the
prompts is dropped for classifier-free guidance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ezaudio.checkpoints import load_module, save_module
from ezaudio.config import Config
from ezaudio.data.latents import LatentStore
from ezaudio.data.manifest import ClipRow
from ezaudio.data.prompts import training_prompts
from ezaudio.diffusion import Schedule, add_noise, velocity_loss, velocity_target, zero_snr_schedule
from ezaudio.dit import DiTConfig, EzAudioDiT
from ezaudio.dit.masking import sample_regenerate_mask
from ezaudio.text import FlanT5Config, MiniLMConfig, TextEncoder
from ezaudio.training.optim import OptimConfig, WeightAverage, update
from ezaudio.training.run import Run, RunConfig, use_threads
from ezaudio.types import TextEmbedding

PLACES = {"latents", "output", "start"}
"""Fields of a recipe that say where things lie on one machine: not kept with weights."""


class DiffusionRecipe(Config):
    """Everything that a diffusion run depends on.

    Attributes:
        model: Network.
        text: Text encoder, frozen.
        latents: Folder of a `LatentStore`.
        output: Folder for the run and for `dit.safetensors`.
        start: Checkpoint to begin from.
        seconds_per_step: Seconds of latent in a batch; longer rows mean fewer of them.
        duration_s: Shortest and longest row; the length is log-uniform in between.
        frequent_share, spread: See `LatentStore`.
        channel_power: The error of a channel is weighed by its raw standard deviation to this power
            (mean weight 1); above 0, channels that carry more of the sound count for more.
        step_power: A step is N * u ** step_power with u uniform; below 1, noisier steps, where it
            is decided what is heard, come more often.
        text_dropout: Share of rows with the empty prompt.
        context_share: Share of rows that keep part of the latent.
        ema: Decay of the weight average that is saved.
    """

    model: DiTConfig
    text: Annotated[MiniLMConfig | FlanT5Config, Field(discriminator="kind")]
    latents: Path
    output: Path
    start: Path | None = None
    seconds_per_step: float = 64.0
    duration_s: tuple[float, float] = (0.5, 10.0)
    frequent_share: float | None = None
    spread: float = 1.0
    channel_power: float = 0.0
    step_power: float = 1.0
    text_dropout: float = 0.1
    context_share: float = 0.25
    ema: float = 0.998
    optim: OptimConfig
    run: RunConfig


class PromptTable:
    """Embeddings of every wording that a run may use, computed once.

    Args:
        encoder: Text encoder.
        prompts: All wordings; the empty prompt is added.
    """

    def __init__(self, encoder: TextEncoder, prompts: Sequence[str], batch: int = 128) -> None:
        self._rows: dict[str, Tensor] = {}
        unique = sorted({"", *prompts}, key=len)  # similar lengths together: little padding
        for begin in range(0, len(unique), batch):
            part = unique[begin : begin + batch]
            embedding = encoder(part)
            for prompt, tokens, attend in zip(
                part, embedding.tokens, embedding.attend, strict=True
            ):
                self._rows[prompt] = tokens[attend].half()

    def __call__(self, prompts: Sequence[str]) -> TextEmbedding:
        """Embeddings of known prompts, padded to the longest."""
        rows = [self._rows[prompt].float() for prompt in prompts]
        singles = [
            TextEmbedding(row[None], torch.ones(1, len(row), dtype=torch.bool)) for row in rows
        ]
        return TextEmbedding.cat(singles)


class Batches:
    """Latents, masks, prompts, noise and time steps of one step after another."""

    def __init__(
        self, recipe: DiffusionRecipe, store: LatentStore, prompts: PromptTable, schedule: Schedule
    ) -> None:
        self.recipe, self.store, self.prompts, self.schedule = recipe, store, prompts, schedule

    def wording(self, row: ClipRow, generator: torch.Generator) -> str:
        """A random wording for a row, or the empty prompt."""
        if float(torch.rand((), generator=generator)) < self.recipe.text_dropout:
            return ""
        choices = training_prompts(row)
        return choices[int(torch.randint(len(choices), (), generator=generator))]

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, TextEmbedding]:
        """One batch: x0 (B, C, T), time steps (B,), regenerate (B, 1, T), text."""
        low, high = (math.log(s * self.store.frame_rate) for s in self.recipe.duration_s)
        frames = round(math.exp(low + (high - low) * float(torch.rand((), generator=generator))))
        size = max(4, round(self.recipe.seconds_per_step * self.store.frame_rate / frames))
        x0, rows = self.store.batch(size, frames, generator)
        text = self.prompts([self.wording(row, generator) for row in rows])
        regenerate = sample_regenerate_mask(
            size, frames, full_probability=1 - self.recipe.context_share, generator=generator
        )
        # stratified: one step in each of B equally likely parts of the range, in random order
        slots = torch.randperm(size, generator=generator) + torch.rand(size, generator=generator)
        share = (slots / size) ** self.recipe.step_power
        count = self.schedule.num_steps
        steps = (share * count).long().clamp(max=count - 1)
        return x0, steps, regenerate, text


def velocity_mse(
    model: EzAudioDiT,
    schedule: Schedule,
    batch: tuple[Tensor, Tensor, Tensor, TextEmbedding],
    generator: torch.Generator,
    weights: Tensor,
) -> Tensor:
    """Mean squared velocity error of a batch, over what is regenerated, by channel weights (C,)."""
    x0, steps, regenerate, text = batch
    noise = torch.randn(x0.shape, generator=generator)
    x_t = add_noise(x0, noise, steps, schedule)
    target = velocity_target(x0, noise, steps, schedule)
    velocity = model(x_t, steps, model.prepare(text), known=x0, regenerate=regenerate)
    root = weights.sqrt()[:, None]
    return velocity_loss(velocity * root, target * root, regenerate)


class Validation:
    """Mean loss of a model over the same four batches at every call."""

    def __init__(self, batches: Batches, weights: Tensor) -> None:
        self.batches, self.weights = batches, weights

    @torch.inference_mode()
    def __call__(self, model: EzAudioDiT) -> float:
        """Loss of a model."""
        generator = torch.Generator().manual_seed(1)
        schedule = self.batches.schedule
        losses = []
        for _ in range(4):
            batch = self.batches.draw(generator)
            losses.append(velocity_mse(model, schedule, batch, generator, self.weights))
        return float(torch.stack(losses).mean())


def train_diffusion(recipe: DiffusionRecipe) -> Path:
    """Run a recipe, or continue it where its folder left off.

    Returns:
        Path of the averaged weights, `dit.safetensors`.
    """
    use_threads(recipe.run)
    torch.manual_seed(recipe.run.seed)
    schedule = zero_snr_schedule()
    store = LatentStore(recipe.latents, frequent_share=recipe.frequent_share, spread=recipe.spread)
    held_out = LatentStore(recipe.latents, split="valid", spread=recipe.spread)
    prompts = PromptTable(
        recipe.text.build(), [p for row in store.rows for p in training_prompts(row)]
    )
    weights = store.scale**recipe.channel_power
    weights = weights / weights.mean()  # (C,)
    model = recipe.model.build().train()
    if recipe.start is not None:
        model.load_state_dict(load_module(recipe.start).tensors)
    average = WeightAverage(model, recipe.ema)
    optimizer = recipe.optim.build(model)
    batches = Batches(recipe, store, prompts, schedule)
    validation = Validation(Batches(recipe, held_out, prompts, schedule), weights)
    run = Run(
        recipe.output, recipe.run, {"model": model, "average": average, "optimizer": optimizer}
    )

    def step(run: Run) -> dict[str, float]:
        loss = velocity_mse(model, schedule, batches.draw(run.generator), run.generator, weights)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.optim.clip_norm)
        update(optimizer, rate=recipe.optim.rate_at(run.progress, run.step))
        average.update(model)
        return {"loss": float(loss.detach()), "gradient_norm": float(norm)}

    def at_save(run: Run) -> dict[str, float]:
        save_module(
            recipe.output / "dit.safetensors",
            average.model.state_dict(),
            kind="dit",
            config=recipe.model,
            extra={"recipe": recipe.model_dump(mode="json", exclude=PLACES), "step": run.step},
        )
        return {"valid_loss": validation(average.model)}

    run.loop(step, at_save)
    return recipe.output / "dit.safetensors"
