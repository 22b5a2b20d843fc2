"""The discriminator as a player: how it learns, and what it makes the generator pay for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ezaudio.training.loop.distributed import Engine
from ezaudio.training.loop.optim import OptimConfig, update
from ezaudio.training.loop.task import Measured
from ezaudio.vae.losses import ADVERSARIES, LossConfig, feature_matching


@contextmanager
def held(module: nn.Module) -> Iterator[None]:
    """Let gradients pass through a module and leave none in its weights."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def descend(optimizer: torch.optim.Optimizer, *, rate: float, norm: float) -> bool:
    """Step at a learning rate, unless the norm of the gradients is not finite; then forget them.

    Returns:
        Whether a step was made.
    """
    if math.isfinite(norm):
        update(optimizer, rate=rate)
        return True
    optimizer.zero_grad(set_to_none=True)
    return False


class DiscriminatorStep:
    """The discriminator with its optimiser.

    Args:
        network: The discriminator.
        losses: What both players are paid for.
        optim: Its optimiser.
        engine: Where it runs.
    """

    def __init__(
        self, network: nn.Module, losses: LossConfig, optim: OptimConfig, engine: Engine
    ) -> None:
        self.losses, self.optim, self.engine = losses, optim, engine
        self.game = ADVERSARIES[losses.adversary]
        self.network = network.to(engine.device)
        self._judge = engine.prepare(self.network)
        self.optimizer = self.optim.build(self.network)

    def learn(self, wave: Tensor, output: Tensor, rate: float) -> Measured:
        """One step towards telling recordings (B, 1, S) from outputs (B, 1, S)."""
        logits, _ = self._judge(torch.cat([wave, output]))
        real, fake = ([x.float() for x in part] for part in zip(*map(_halves, logits), strict=True))
        loss = self.game.discriminator(real, fake)
        self.engine.backward(loss)
        norm = self.engine.clip(self.network, self.optim.clip_norm)
        descend(self.optimizer, rate=self.optim.rate * rate, norm=norm)
        return {
            "loss": loss.detach(),
            "discriminator": loss.detach(),
            "logit_real": torch.stack([x.detach().mean() for x in real]).mean(),
            "logit_output": torch.stack([y.detach().mean() for y in fake]).mean(),
            "discriminator_gradient_norm": norm,
        }

    def opinion(self, wave: Tensor, output: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum of what the generator is paid for by the discriminator, and its parts."""
        with held(self.network):
            with torch.no_grad():
                _, real_maps = self.network(wave)
            logits, maps = self.network(output)
            terms = {
                "adversarial": self.game.generator([x.float() for x in logits]),
                "feature": feature_matching(
                    real_maps, maps, relative=self.losses.relative_features
                ).float(),
            }
        weights = self.losses.weights
        total = weights.adversarial * terms["adversarial"] + weights.feature * terms["feature"]
        return total, terms


def _halves(both: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of recordings and of outputs, which were judged together."""
    real, fake = both.chunk(2)
    return real, fake
