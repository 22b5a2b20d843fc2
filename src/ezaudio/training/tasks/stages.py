"""What a stage of diffusion training is: a value. There is one task and one loop for all of them.

| stage | text | made as a whole | begins from |
|---|---|---|---|
| masked audio modelling | no | by chance only | nothing |
| alignment | yes | 75 % | stage 1, with cross-attention that adds nothing at first |
| fine-tuning | yes | 75 % | stage 2 |

Source: paper, section 2.3; the values are those of the recipes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pydantic import Field

from ezaudio.config import Config
from ezaudio.data.batches import BatchConfig
from ezaudio.pipelines.options import SamplingOptions
from ezaudio.text import TextEncoder
from ezaudio.training.loop.ema import AveragesConfig
from ezaudio.training.loop.optim import OptimConfig
from ezaudio.training.loop.trainer import RunConfig
from ezaudio.training.tasks.corruption import DrawConfig


class TextConfig(Protocol):
    """Settings of a text encoder."""

    def build(self) -> TextEncoder:
        """Load it."""


class DataConfig(Config):
    """Where the sounds come from.

    Attributes:
        latents: Folder of encoded sounds.
        texts: Folder of encoded prompts; prompts that are not in it are encoded when they come.
        spread: Share of the posterior's standard deviation that draws have; 0 takes its mean.
        batch: What a batch is made of.
    """

    latents: Path
    texts: Path | None = None
    spread: float = Field(1.0, ge=0)
    batch: BatchConfig = BatchConfig()


class LossConfig(Config):
    """How errors are weighed.

    Attributes:
        channel_power: The error of a channel is weighed by its raw standard deviation to this power
            (mean weight 1); above 0, channels that carry more of the sound count for more.
        min_snr: Gamma of min-SNR weighting; off by default, since it is zero in pure noise.
    """

    channel_power: float = Field(0.0, ge=0)
    min_snr: float | None = Field(None, gt=0)


class ValidConfig(Config):
    """How a stage is measured on the validation split.

    Attributes:
        batches: How many; 0 measures nothing.
        levels: Equal parts of the range of diffusion steps whose losses are told apart.
    """

    batches: int = Field(8, ge=0)
    levels: int = Field(10, ge=1)


class PlayConfig(Config):
    """Sounds of fixed prompts that a run makes for listening, at `run.listen_every`.

    Attributes:
        prompts: What is to be heard; a stage without text makes one sound per entry all the same.
        duration_s: Length.
        steps: Of the sampler.
        guidance_scale, guidance_rescale: Of classifier-free guidance.
        seed: Of the first sound's noise; the next has the next seed.
    """

    prompts: tuple[str, ...] = ("a dog barking", "rain on a tin roof", "a door slamming shut")
    duration_s: float = Field(4.0, gt=0)
    steps: int = Field(20, ge=1)
    guidance_scale: float = Field(3.0, ge=0)
    guidance_rescale: float = Field(0.75, ge=0, le=1)
    seed: int = Field(0, ge=0)

    def sampling(self) -> SamplingOptions:
        """How they are denoised."""
        return SamplingOptions(
            steps=self.steps,
            sampler="dpmpp-2m",
            grid="log-snr",
            guidance_scale=self.guidance_scale,
            guidance_rescale=self.guidance_rescale,
        )


class ListenConfig(PlayConfig):
    """The same, for a network that has no autoencoder yet.

    Attributes:
        vae: Autoencoder checkpoint.
    """

    vae: Path


class ComputeConfig(Config):
    """Trades of time for memory.

    Attributes:
        micro_rows: Rows that a process computes at once; gradients are added up over a batch.
        gradient_checkpointing: Recompute blocks in the backward pass.
        compile: Backend of `torch.compile` for the blocks, such as `inductor`.
        prefetch: Batches that are made ahead in a thread.
    """

    micro_rows: int | None = Field(None, ge=1)
    gradient_checkpointing: bool = False
    compile: str | None = None
    prefetch: int = Field(0, ge=0)


class FitConfig(Config):
    """How a network is fitted to latents, whatever they are and wherever it comes from.

    Attributes:
        draws: Masks, dropped prompts, diffusion steps.
        loss: Weights of errors.
        averages: Of weights.
        optim: Optimiser and learning rate.
        valid: How it is measured.
        compute: Trades of time for memory.
        run: Bounds and rhythm.
    """

    draws: DrawConfig = DrawConfig()
    loss: LossConfig = LossConfig()
    averages: AveragesConfig = AveragesConfig()
    optim: OptimConfig
    valid: ValidConfig = ValidConfig()
    compute: ComputeConfig = ComputeConfig()
    run: RunConfig


class StageConfig(FitConfig):
    """A stage.

    Attributes:
        text: Whether the network reads text; without, it has no cross-attention.
        start: Checkpoint to begin from; the stage before it when left out.
        data: Sounds.
        listen: What it plays.
    """

    text: bool = True
    start: Path | None = None
    data: DataConfig
    listen: ListenConfig | None = None
