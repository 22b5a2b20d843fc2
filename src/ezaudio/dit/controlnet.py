"""A control branch: a curve over time steers a trained DiT.

The branch is the first half of a DiT that also sees the control. The output of each of its blocks
passes a linear layer that starts at zero and is added to the long skip of the same block of the
DiT:

    condition, control = branch.prepare(text, timesteps), branch.embed_control(curve)
    residuals = branch(dit.compose(x_t), t, condition, control, scale=0.8)
    velocity = dit(x_t, t, dit.prepare(text, timesteps), residuals=residuals)
"""

from __future__ import annotations

from itertools import pairwise

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from ezaudio.config import Config
from ezaudio.dit.condition import Condition
from ezaudio.dit.config import DiTConfig
from ezaudio.dit.trunk import Timestep, Trunk
from ezaudio.nn.initialisation import xavier, zeroed


class ControlNetConfig(Config):
    """What a control branch is made of.

    Attributes:
        network: settings of the DiT that is steered.
        control_channels: channels of the control.
        widths: channels of the control's stages. The first has the control's frame rate, each
            further one half of it; the last has one frame per position of the DiT.
        hideable: whether parts of the control can be hidden, so that the network decides there
            itself.
    """

    network: DiTConfig
    control_channels: int = Field(default=1, ge=1)
    widths: tuple[int, ...] = Field(default=(64, 128), min_length=1)
    hideable: bool = True

    def build(self) -> ControlNet:
        """Make the branch with fresh weights."""
        return ControlNet(self)


class ControlEmbedding(nn.Module):
    """From a control to something that is added to the stream; zero with fresh weights."""

    def __init__(self, config: ControlNetConfig) -> None:
        super().__init__()
        widths = list(config.widths)
        self.input = nn.Conv1d(config.control_channels, widths[0], kernel_size=1)
        self.hidden = nn.Parameter(torch.zeros(widths[0])) if config.hideable else None
        widths[0] += config.hideable
        self.stages = nn.Sequential(*(_halving(narrow, wide) for narrow, wide in pairwise(widths)))
        self.output = zeroed(nn.Conv1d(widths[-1], config.network.width, kernel_size=1))

    def forward(self, control: Tensor, hide: Tensor | None = None) -> Tensor:
        """Map a control `(B, channels, F)` to `(B, t, D)`.

        Args:
            control: the curves.
            hide: True where the control is not given, bool `(B, 1, F)`; None to give it everywhere.

        Raises:
            ValueError: `hide` is given to a branch whose control cannot be hidden.
        """
        features = self.input(control)
        if self.hidden is not None:
            hide = torch.zeros_like(control[:, :1], dtype=torch.bool) if hide is None else hide
            features = torch.where(hide, self.hidden[:, None], features)
            features = torch.cat([features, hide.to(features.dtype)], dim=1)
        elif hide is not None:
            raise ValueError("the control of this branch cannot be hidden")
        stream: Tensor = rearrange(self.output(self.stages(features)), "B D t -> B t D")
        return stream


class ControlNet(Trunk):
    """First half of a DiT, with a control at its input and one residual per block at its output.

    Args:
        config: sizes and variants; kept as `control_config`.
    """

    def __init__(self, config: ControlNetConfig) -> None:
        super().__init__(config.network, blocks=config.network.half)
        self.control_config = config
        width = config.network.width
        self.control = ControlEmbedding(config)
        self.residuals = nn.ModuleList(zeroed(nn.Linear(width, width)) for _ in self.blocks)

    def embed_control(self, control: Tensor, *, hide: Tensor | None = None) -> Tensor:
        """What the control adds to the stream, `(B, t, D)`; the same for every step.

        Args:
            control: curves `(B, channels, F)`.
            hide: True where the control is not given, bool `(B, 1, F)`.
        """
        embedded: Tensor = self.control(control, hide)
        return embedded

    def forward(
        self,
        composed: Tensor,
        timestep: Timestep,
        condition: Condition,
        control: Tensor,
        *,
        scale: float = 1.0,
    ) -> list[Tensor]:
        """Compute the residuals for the DiT.

        Args:
            composed: what `EzAudioDiT.compose` returned, `(B, 2 C + 1, T)`.
            timestep: as for the DiT.
            condition: what this branch's `prepare` returned.
            control: what `embed_control` returned; one row serves all latents.
            scale: factor on the residuals.

        Returns:
            one `(B, t, D)` for each block of the DiT's first half, first to last.

        Raises:
            ValueError: the control does not have one frame per position.
        """
        stream = self.embed(composed)
        if control.shape[1] != stream.shape[1]:
            raise ValueError(
                f"a control for {stream.shape[1]} positions expected, got {control.shape[1]}"
            )
        stream = stream + control
        call = self.call(stream, timestep, condition)
        residuals: list[Tensor] = []
        for index, linear in enumerate(self.residuals):
            stream = self.run(index, stream, call)
            residuals.append(scale * linear(stream))
        return residuals


def _halving(narrow: int, wide: int) -> nn.Sequential:
    return nn.Sequential(
        xavier(nn.Conv1d(narrow, narrow, kernel_size=3, padding=1)),
        nn.SiLU(),
        xavier(nn.Conv1d(narrow, wide, kernel_size=3, padding=1, stride=2)),
        nn.SiLU(),
    )
