"""From prompts and seeds to a latent: the paper's Figure 1, for one batch.

    text       = encoder(prompts)                    # once per distinct prompt
    condition  = dit.prepare(text, timesteps)        # once per batch; the steps once per generation
                                                     # events in order: each read in its own part
    velocity   = guide(positive and negative branch in one forward pass)
    latent     = sampler(velocity, noise of the seeds)

A row depends on its prompt, its seed and the settings alone: what else is in the batch changes
nothing but rounding.

When a part of a sound is kept (editing), the velocity of the kept frames is not asked for:
v = (alpha x_t - known) / sigma ends in `known`. So the kept frames carry `known` with the noise of
the present step, as in training, and end as `known` with every sampler.

Deviation: the authors let the network move the kept frames too, where training gave it no loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import torch
from einops import rearrange
from torch import Tensor

from ezaudio.diffusion import (
    SAMPLERS,
    TIME_GRIDS,
    Schedule,
    SeededNoise,
    StepCallback,
    Velocity,
    derived_seed,
    guide,
)
from ezaudio.dit import Condition
from ezaudio.pipelines.components import Networks
from ezaudio.pipelines.options import SamplingOptions

if TYPE_CHECKING:
    from ezaudio.dit.condition import PreparedSteps
    from ezaudio.types import TextEmbedding
    from ezaudio.vae import Autoencoder

_EXCITATION = 1

EVENT_OVERLAP_S = 0.25
"""So long before and after a boundary between events, both are read: a cross-fade of 0.5 s."""

Prompt: TypeAlias = str | tuple[str, ...]
"""What is read along the whole sound, or texts that are read in turn, in equal parts of it."""


@dataclass(frozen=True)
class Batch:
    """Sounds that are denoised together.

    Attributes:
        prompts: B of them.
        negative_prompts: B of them.
        seeds: B of them.
        frames: latent frames, T.
        options: how; its prompt and seed are not looked at.
    """

    prompts: Sequence[Prompt]
    negative_prompts: Sequence[str]
    seeds: Sequence[int]
    frames: int
    options: SamplingOptions


@dataclass(frozen=True)
class Kept:
    """A part of a sound that stays.

    Attributes:
        known: latent of the sound, `(B, C, T)`.
        regenerate: True where it is made anew, bool `(B, 1, T)`.
    """

    known: Tensor
    regenerate: Tensor


@dataclass
class Denoiser:
    """Denoises batches, and remembers the prepared diffusion steps between them.

    Attributes:
        parts: the model, or a network in training and what belongs to it.
    """

    parts: Networks
    _steps: dict[tuple[int, ...], PreparedSteps | None] = field(default_factory=dict)

    @torch.no_grad()  # not inference mode, whose tensors a network in training could not use later
    def __call__(
        self, batch: Batch, *, kept: Kept | None = None, callback: StepCallback | None = None
    ) -> Tensor:
        """Make latents `(B, C, T)`, float32 on the model's device."""
        parts, options = self.parts, batch.options
        timesteps = TIME_GRIDS[options.grid](parts.schedule, options.steps)
        noise = SeededNoise(
            batch.seeds, parts.vae.latent_channels, batch.frames, device=parts.device
        )
        latent = SAMPLERS[options.sampler](
            _steadied(self._velocity(batch, timesteps, kept), kept, parts.schedule),
            noise(),
            schedule=parts.schedule,
            timesteps=timesteps,
            noise_source=noise,
            eta=options.eta,
            callback=callback,
        )
        return latent if kept is None else torch.where(kept.regenerate, latent, kept.known)

    def _velocity(self, batch: Batch, timesteps: Tensor, kept: Kept | None) -> Velocity:
        options = batch.options
        positive = self._condition(batch.prompts, timesteps, batch.frames)
        network = _Network(self.parts, kept)
        if options.guidance_scale == 1.0 or self.parts.dit.config.text_width is None:
            return lambda x_t, t: network(x_t, t, positive)
        negative = self._condition(batch.negative_prompts, timesteps, batch.frames)
        both = Condition.cat([positive, negative])

        def pair(x_t: Tensor, t: float) -> tuple[Tensor, Tensor]:
            v_pos, v_neg = network(torch.cat([x_t, x_t]), t, both).chunk(2)
            return v_pos, v_neg

        return guide(
            pair,
            lambda x_t, t: network(x_t, t, positive),
            scale=options.guidance_scale,
            rescale=options.guidance_rescale,
            interval=options.guidance_interval,
            schedule=self.parts.schedule,
        )

    def _condition(self, prompts: Sequence[Prompt], timesteps: Tensor, frames: int) -> Condition:
        """Prepare each distinct text once, and the steps once per generation."""
        if self.parts.text_encoder is None or self.parts.dit.config.text_width is None:
            return self._prepared(None, timesteps)
        texts = [(prompt,) if isinstance(prompt, str) else prompt for prompt in prompts]
        distinct = list(dict.fromkeys(text for row in texts for text in row))
        condition = self._prepared(self.parts.text_encoder(distinct), timesteps)
        if all(len(row) == 1 for row in texts):
            return condition.select([distinct.index(row[0]) for row in texts])
        patch, vae = self.parts.dit.config.patch_size, self.parts.vae
        positions = -(-frames // patch)
        overlap = round(EVENT_OVERLAP_S * vae.sample_rate / vae.hop_samples / patch)
        singles = {text: condition.select([row]) for row, text in enumerate(distinct)}
        return Condition.cat(
            [
                Condition.in_turn([singles[text] for text in row], positions, overlap=overlap)
                for row in texts
            ]
        )

    def _prepared(self, text: TextEmbedding | None, timesteps: Tensor) -> Condition:
        key = tuple(int(t) for t in timesteps)
        if key in self._steps:
            return replace(self.parts.dit.prepare(text), steps=self._steps[key])
        condition = self.parts.dit.prepare(text, timesteps)
        self._steps[key] = condition.steps
        return condition


def excitation(vae: Autoencoder, seeds: Sequence[int], frames: int) -> Tensor | None:
    """The white noise that a decoder is excited by, from the takes' seeds.

    It is independent of the noise that the latents of the same seeds are made from; a longer sound
    begins with the noise of the shorter one.

    Args:
        vae: autoencoder.
        seeds: one per row.
        frames: T.

    Returns:
        (B, 1, T * hop_samples); None for an autoencoder that takes none.
    """
    if not vae.excited:
        return None
    own = [derived_seed(seed, _EXCITATION) for seed in seeds]
    noise = SeededNoise(own, vae.hop_samples, frames)()
    return rearrange(noise, "b h t -> b 1 (t h)")


class _Network:
    """The network as a velocity in float32, whatever its own precision; 0 in kept frames.

    With zeros there, guidance and its rescaling see the frames that are made, and no others.
    """

    def __init__(self, parts: Networks, kept: Kept | None) -> None:
        self.parts, self.kept = parts, kept

    def __call__(self, x_t: Tensor, t: float, condition: Condition) -> Tensor:
        low = x_t.to(self.parts.dtype)
        if self.kept is None:
            free: Tensor = self.parts.dit(low, t, condition)
            return free.float()
        copies = len(x_t) // len(self.kept.known)
        known = self.kept.known.repeat(copies, 1, 1).to(self.parts.dtype)
        regenerate = self.kept.regenerate.repeat(copies, 1, 1)
        velocity = self.parts.dit(low, t, condition, known=known, regenerate=regenerate)
        masked: Tensor = velocity.float() * regenerate
        return masked


def _steadied(velocity: Velocity, kept: Kept | None, schedule: Schedule) -> Velocity:
    """Give kept frames the velocity that ends in what is known."""
    if kept is None:
        return velocity

    def steady(x_t: Tensor, t: float) -> Tensor:
        here = schedule.node(t)
        to_known = (here.alpha * x_t - kept.known) / here.sigma
        return torch.where(kept.regenerate, velocity(x_t, t), to_known)

    return steady
