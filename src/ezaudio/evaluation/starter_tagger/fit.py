"""Training of the tagger: kinds by cross-entropy, captions by contrast over all labels."""

from __future__ import annotations

import copy
import logging
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from ezaudio.evaluation.starter_tagger.examples import NO_KIND, Batches, Examples
from ezaudio.extractors.starter_tagger import (
    FRAME_RATE,
    StarterTagger,
    StarterTaggerConfig,
    levelled,
)

log = logging.getLogger(__name__)

TEMPERATURE = 0.07
MEASURED_S = 4.0


@dataclass(frozen=True)
class Fit:
    """How the tagger is trained.

    Attributes:
        steps: optimiser steps.
        batch: recordings of a step.
        rate: highest learning rate.
        decay: weight decay.
        seed: of weights and draws.
    """

    steps: int = 3000
    batch: int = 32
    rate: float = 3e-3
    decay: float = 0.05
    seed: int = 0


def train(
    config: StarterTaggerConfig, examples: Examples, vectors: Tensor, fit: Fit
) -> StarterTagger:
    """Train a tagger; the running average of its weights is returned.

    Args:
        config: sizes and kinds.
        examples: recordings.
        vectors: unit sentence vectors of each label, (labels, wordings, E).
        fit: how.
    """
    torch.manual_seed(fit.seed)
    generator = torch.Generator().manual_seed(fit.seed)
    tagger = config.build().train()
    average = copy.deepcopy(tagger).eval()
    optimiser = AdamW(tagger.parameters(), lr=fit.rate, weight_decay=fit.decay)
    schedule = OneCycleLR(optimiser, fit.rate, total_steps=fit.steps, pct_start=0.1)
    batches = Batches(examples, generator, fit.batch)
    started, smooth = time.monotonic(), 0.0
    for step in range(fit.steps):
        mels, rows = batches.draw()
        share = min(1.0, 0.6 + 0.8 * torch.rand((), generator=generator).item())
        shown = levelled(mels)
        features = tagger.listen(torch.lerp(shown.flip(0), shown, share))
        wording = torch.randint(vectors.shape[1], (vectors.shape[0],), generator=generator)
        sentences = vectors[torch.arange(len(vectors)), wording]
        own = _loss(tagger, features, examples, rows, sentences)
        other = _loss(tagger, features, examples, rows.flip(0), sentences)
        loss = share * own + (1 - share) * other
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(tagger.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        _follow(average, tagger, min(0.995, (step + 1) / (step + 10)))
        smooth = loss.item() if step == 0 else 0.98 * smooth + 0.02 * loss.item()
        if (step + 1) % 100 == 0:
            log.info("step %d: loss %.3f, %.0f s", step + 1, smooth, time.monotonic() - started)
    return average


def _loss(
    tagger: StarterTagger, features: Tensor, examples: Examples, rows: Tensor, sentences: Tensor
) -> Tensor:
    kinds, texts = examples.kinds[rows], examples.texts[rows]
    likeness = F.normalize(tagger.to_text_space(features), dim=1) @ sentences.T
    # Labels that mean nearly the same share the target.
    target = (sentences[texts] @ sentences.T / 0.05).softmax(1)
    text = F.cross_entropy(likeness / TEMPERATURE, target)
    known = kinds != NO_KIND
    if not known.any():
        return text
    logits = tagger.to_logits(features[known])
    return text + F.cross_entropy(logits, kinds[known], label_smoothing=0.05)


@torch.no_grad()
def _follow(average: StarterTagger, tagger: StarterTagger, memory: float) -> None:
    for kept, now in zip(average.state_dict().values(), tagger.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(now, 1 - memory)
        else:
            kept.copy_(now)


@torch.inference_mode()
def measure(tagger: StarterTagger, examples: Examples, vectors: Tensor) -> dict[str, float]:
    """How often the tagger is right about recordings: kinds, and captions among all labels."""
    size = round(MEASURED_S * FRAME_RATE)
    shown = [mel.float().repeat(1, -(-size // mel.shape[1]))[:, :size] for mel in examples.mels]
    features = torch.cat([tagger.listen(levelled(mel[None])) for mel in shown])
    known = examples.kinds != NO_KIND
    kinds = examples.kinds[known]
    ranked = tagger.to_logits(features[known]).argsort(1, descending=True)
    sentences = F.normalize(vectors.mean(1), dim=1)
    cosines = F.normalize(tagger.to_text_space(features), dim=1) @ sentences.T
    own = cosines.gather(1, examples.texts[:, None])
    rank = (cosines > own).sum(1)
    shuffled = own.new_tensor(
        [cosines[i, examples.texts[(i + 7) % len(cosines)]].item() for i in range(len(cosines))]
    )
    return {
        "clips_of_known_kinds": int(known.sum()),
        "kind_top1": round((ranked[:, 0] == kinds).float().mean().item(), 4),
        "kind_top3": round((ranked[:, :3] == kinds[:, None]).any(1).float().mean().item(), 4),
        "clips": len(features),
        "labels": len(vectors),
        "caption_top1": round((rank == 0).float().mean().item(), 4),
        "caption_top10": round((rank < 10).float().mean().item(), 4),
        "caption_cosine": round(own.mean().item(), 4),
        "caption_cosine_shuffled": round(shuffled.mean().item(), 4),
    }
