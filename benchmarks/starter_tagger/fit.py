"""Training of the tagger: kinds by cross-entropy, captions by contrast over all labels.

Recordings are drawn, changed and described once, as a pool; the network then learns from the pool.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from benchmarks.starter_tagger.examples import NO_KIND, Batches, Examples
from torch import Generator, Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from ezaudio.extractors.sound_statistics import sound_statistics
from ezaudio.extractors.starter_tagger import (
    FRAME_RATE,
    StarterTagger,
    StarterTaggerConfig,
    levelled,
)

log = logging.getLogger(__name__)

TEMPERATURE = 0.07
TEXT_SPREAD = 0.05
MEASURED_S = 4.0


@dataclass(frozen=True)
class Fit:
    """How the tagger is trained.

    Attributes:
        draws: batches of 32 changed recordings in the pool.
        steps: optimiser steps.
        batch: sounds of a step.
        rate: highest learning rate.
        decay: weight decay.
        seed: of weights and draws.
    """

    draws: int = 700
    steps: int = 3000
    batch: int = 128
    rate: float = 3e-3
    decay: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class Pool:
    """Changed recordings as statistics.

    Attributes:
        described: (N, 736).
        rows: the recording of each, (N,).
    """

    described: Tensor
    rows: Tensor


@torch.inference_mode()
def fill_pool(examples: Examples, fit: Fit) -> Pool:
    """Draw, change and describe recordings."""
    batches = Batches(examples, torch.Generator().manual_seed(fit.seed), 32)
    described, rows = [], []
    for draw in range(fit.draws):
        mels, own = batches.draw()
        described.append(sound_statistics(levelled(mels)))
        rows.append(own)
        if (draw + 1) % 100 == 0:
            log.info("%d of %d batches described", draw + 1, fit.draws)
    return Pool(torch.cat(described).clone(), torch.cat(rows).clone())


def train(
    config: StarterTaggerConfig, examples: Examples, vectors: Tensor, pool: Pool, fit: Fit
) -> StarterTagger:
    """Train a tagger.

    Args:
        config: sizes and kinds.
        examples: recordings.
        vectors: unit sentence vectors of each label, (labels, wordings, E).
        pool: what is learnt from.
        fit: how.
    """
    torch.manual_seed(fit.seed)
    generator = torch.Generator().manual_seed(fit.seed)
    tagger = config.build().train()
    tagger.centre.copy_(pool.described.mean(0))
    tagger.spread.copy_(pool.described.std(0) + 1e-3)
    weights = torch.where(examples.kinds[pool.rows] == NO_KIND, 1.0, 1.5)
    optimiser = AdamW(tagger.parameters(), lr=fit.rate, weight_decay=fit.decay)
    schedule = OneCycleLR(optimiser, fit.rate, total_steps=fit.steps, pct_start=0.1)
    started, smooth = time.monotonic(), 0.0
    for step in range(fit.steps):
        chosen = torch.multinomial(weights, fit.batch, replacement=True, generator=generator)
        loss = _mixed_loss(
            tagger, examples, vectors, (pool.described, pool.rows, chosen), generator
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        smooth = loss.item() if step == 0 else 0.98 * smooth + 0.02 * loss.item()
        if (step + 1) % 500 == 0:
            log.info("step %d: loss %.3f, %.0f s", step + 1, smooth, time.monotonic() - started)
    return tagger.eval()


def _mixed_loss(
    tagger: StarterTagger,
    examples: Examples,
    vectors: Tensor,
    pool: tuple[Tensor, Tensor, Tensor],
    generator: Generator,
) -> Tensor:
    """Loss of sounds that are mixed with another, which keeps `1 - share` of the say."""
    described, rows, chosen = pool
    share = min(1.0, 0.6 + 0.8 * torch.rand((), generator=generator).item())
    sounds, own = described[chosen], rows[chosen]
    features = tagger.understand(torch.lerp(sounds.flip(0), sounds, share))
    wording = torch.randint(vectors.shape[1], (len(vectors),), generator=generator)
    sentences = vectors[torch.arange(len(vectors)), wording]
    first = _loss(tagger, features, examples, own, sentences)
    second = _loss(tagger, features, examples, own.flip(0), sentences)
    return share * first + (1 - share) * second


def _loss(
    tagger: StarterTagger, features: Tensor, examples: Examples, rows: Tensor, sentences: Tensor
) -> Tensor:
    kinds, texts = examples.kinds[rows], examples.texts[rows]
    likeness = F.normalize(tagger.to_text_space(features), dim=1) @ sentences.T
    # Labels that mean nearly the same share the target.
    target = (sentences[texts] @ sentences.T / TEXT_SPREAD).softmax(1)
    text = F.cross_entropy(likeness / TEMPERATURE, target)
    known = kinds != NO_KIND
    if not known.any():
        return text
    logits = tagger.to_logits(features[known])
    return text + F.cross_entropy(logits, kinds[known], label_smoothing=0.05)


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
    others = examples.texts.roll(7)
    shuffled = cosines.gather(1, others[:, None])
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
