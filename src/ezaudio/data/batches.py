"""Batches as a function of the step number: exact resume, any number of ranks, no padding.

Nothing here remembers what was drawn. Step `index` of a run with a `seed` has one global batch;
row r of its B rows lies on rank r // (B / world). A run that was killed, or continues on another
number of processes, asks for the next index and gets what it would have got.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ezaudio.data.crops import CropConfig, WaveformBatches
from ezaudio.data.keys import generator_at, permutation_at, seed_at, uniforms_at
from ezaudio.data.order import Balance, DrawOrder
from ezaudio.data.plan import BatchConfig, BatchPlan, Step
from ezaudio.data.prompts import caption_of, wording
from ezaudio.data.scenes import LatentSource, Recipe, Scene, SceneMaker
from ezaudio.errors import AudioFileError, InputError

__all__ = ["BatchConfig", "CropConfig", "LatentBatch", "LatentBatches", "WaveformBatches"]

_CLIPS, _MIXES, _PLACES, _ROW, _CUT, _SPARE = range(12, 18)
_MOST_SPARES = 16


class LatentBatch(NamedTuple):
    """One rank's rows of a batch.

    Attributes:
        x0: Normalised latents, float32 (B, C, T).
        prompts: What is heard, in a wording drawn for the row.
        weight: (B, 1, T), 1 where the loss counts in full.
        ids: Clips of each row, joined by "+".
    """

    x0: Tensor
    prompts: tuple[str, ...]
    weight: Tensor
    ids: tuple[str, ...]


class LatentBatches:
    """Batches of latents with prompts.

    Args:
        store: Of the latents.
        config: What a batch is made of.
        seed: Of everything random.
        rank, world: Which part of each batch is asked for.
        split: Which clips are drawn.

    Attributes:
        unreadable: Clips that could not be read, with the reason; others took their places.

    Raises:
        InputError: The ranks do not divide a batch, or the split lacks clips or mixes.
    """

    def __init__(
        self,
        store: LatentSource,
        config: BatchConfig,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        split: str = "train",
    ) -> None:
        divisor = config.rows or config.rows_multiple
        if divisor % world:
            name = "rows" if config.rows else "rows_multiple"
            raise InputError(name, divisor, f"a multiple of the {world} processes")
        self.store, self.config, self.seed = store, config, seed
        self.rank, self.world = rank, world
        self.unreadable: dict[str, str] = {}
        self._plan = BatchPlan(config, seed=seed, frame_rate=store.frame_rate)
        self._order = DrawOrder(store.takes(split), config.balance, seed=seed_at(seed, _CLIPS))
        self._mixes: DrawOrder | None = None
        if config.mixed_share:
            takes = store.takes(split, mixed=True)
            if not any(map(len, takes.values())):
                raise InputError("mixed_share", config.mixed_share, "0: the store has no mixes")
            self._mixes = DrawOrder(takes, Balance(), seed=seed_at(seed, _MIXES))
        self._scenes = SceneMaker(
            store,
            split=split,
            gap_s=config.gap_s,
            fill=config.fill,
            silence_weight=config.silence_weight,
        )

    def shape(self, index: int) -> tuple[int, int]:
        """Rows B and frames T of the global batch of a step."""
        step = self._plan.step(index)
        return step.rows, step.frames

    def batch(self, index: int) -> LatentBatch:
        """This rank's rows of the global batch of a step."""
        step = self._plan.step(index)
        recipes = self._recipes(index, step)
        own = step.rows // self.world
        made = [
            self._made(index, row, recipes[row], step.frames)
            for row in range(self.rank * own, (self.rank + 1) * own)
        ]
        return LatentBatch(
            x0=torch.stack([scene.sound for scene, _ in made]).transpose(1, 2).contiguous(),
            prompts=tuple(prompt for _, prompt in made),
            weight=torch.stack([scene.weight for scene, _ in made])[:, None],
            ids=tuple("+".join(row.id for row in scene.rows) for scene, _ in made),
        )

    def _recipes(self, index: int, step: Step) -> list[Recipe]:
        """What each row of a global batch is to be, in its order."""
        clips = self._order.at(step.first_clip, step.rows - step.mixes)
        mixes = self._mixes.at(step.first_mix, step.mixes) if self._mixes else []
        pairs = [clips[2 * pair : 2 * pair + 2] for pair in range(step.pairs)]
        found = [
            recipe
            for pair, (a, b) in enumerate(pairs)
            for recipe in self._both_orders(a, b, key=index * 65536 + pair)
        ]
        rest = clips[2 * step.pairs :]
        kinds = ["once"] * step.once + ["repeat"] * step.repeats
        kinds += ["single"] * (len(rest) - len(kinds))
        found += [Recipe(kind, (clip,)) for kind, clip in zip(kinds, rest, strict=True)]
        found += [Recipe("single", (clip,)) for clip in mixes]
        places = permutation_at(step.rows, self.seed, _PLACES, index)
        return [found[place] for place in places.tolist()]

    def _both_orders(self, a: int, b: int, *, key: int) -> tuple[Recipe, Recipe]:
        """A then B and B then A, cut at the same place; two of one label stay by themselves."""
        if self.store.rows[a].label == self.store.rows[b].label:
            return Recipe("single", (a,)), Recipe("single", (b,))
        cut = 0.3 + 0.4 * float(uniforms_at(np.asarray([key]), self.seed, _CUT)[0])
        return Recipe("sequence", (a, b), cut), Recipe("sequence", (b, a), 1 - cut)

    def _made(self, index: int, row: int, recipe: Recipe, frames: int) -> tuple[Scene, str]:
        for attempt in range(_MOST_SPARES):
            generator = generator_at(self.seed, _ROW, index, row, attempt)
            try:
                scene = self._scenes.make(recipe, frames, generator)
            except AudioFileError as error:
                name = "+".join(self.store.rows[clip].id for clip in recipe.clips)
                self.unreadable[name] = str(error)
                spare = seed_at(self.seed, _SPARE, index, row, attempt) % self._order.epoch_draws
                recipe = Recipe("single", tuple(self._order.at(spare, 1)))
                continue
            return scene, self._prompt(scene, generator)
        raise AudioFileError(f"{_MOST_SPARES} clips in a row cannot be read; is the store damaged?")

    def _prompt(self, scene: Scene, generator: torch.Generator) -> str:
        if self.config.prompts == "captions" and scene.kind == "single":
            return caption_of(scene.rows[0], generator=generator)
        return wording(
            scene.kind,
            scene.rows,
            generator=generator,
            times=scene.times,
            held_out=self.config.held_out_wordings,
        )
