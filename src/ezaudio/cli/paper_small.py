"""The paper's experiments in small: networks of seconds, and data that is at hand.

The recipes are those of the full size, with fewer channels, blocks, rows and steps. The data come
from a list of recordings, or are made by the bundled model; what the paper takes from AudioSet,
AudioCaps, WavCaps and its own captions is taken from them: recordings without text, with captions,
with labels alone, and the pairs of which the shipped tagger finds that sound and caption agree.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ezaudio.data.clips import ClipRow
from ezaudio.errors import InputError

if TYPE_CHECKING:
    from ezaudio.training.recipe import DiffusionRecipe

SECONDS = 2.0
TRAIN, VALID = 160, 32
KEPT = {"captions-035": 1.0, "captions-040": 0.5, "captions-045": 0.2}
"""Share of the pairs at each threshold, about as in the paper."""

_ENCODED = {"trim": False, "peak": 1.0, "pad_s": SECONDS}
_DONE = "data.json"
_COLUMNS = ("file", "split", "label", "caption", "duration")


@dataclass(frozen=True)
class Small:
    """An experiment in small.

    Attributes:
        folder: of its data.
        clips: list of recordings; None lets the bundled model make them.
        train_steps: of each network.
        autoencoder: a model or a file.
        text: settings of the text encoder, and its width.
    """

    folder: Path
    clips: Path | None
    train_steps: int
    autoencoder: str = "starter"
    text: tuple[str, int] = ("{kind: minilm}", 384)

    def prepared(self) -> Path:
        """The list of the data, which is made when it is not there."""
        if not (self.folder / _DONE).is_file():
            if self.clips is None:
                make_sounds(self.folder)
            else:
                choose_clips(self.clips, self.folder)
            write_stores(self.folder, self.autoencoder)
        return self.folder / "clips.csv"

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Channels of the latents, and pairs in each store."""
        self.prepared()
        found: dict[str, Any] = json.loads((self.folder / _DONE).read_text(encoding="utf-8"))
        return found

    def pairs(self, recipe: str) -> int:
        """Pairs of sound and caption that a recipe aligns with."""
        from ezaudio.training.recipe import read_recipe

        stage = read_recipe(recipe).stages["align"]  # type: ignore[attr-defined]
        return int(self.facts["pairs"][stage.data.latents.parent.name])

    def recipe(self, name: str, output: Path) -> DiffusionRecipe:
        """A recipe of the paper, scaled down.

        Args:
            name: of the recipe.
            output: of its runs.
        """
        from ezaudio.training.recipe import DiffusionRecipe, read_recipe

        full = read_recipe(name)
        assert isinstance(full, DiffusionRecipe)
        changes = [
            f"output={output}",
            "engine={precision: fp32}",
            f"text={self.text[0]}",
            *(f"model.{field}={value}" for field, value in self._model(full).items()),
        ]
        total = sum(stage.run.steps for stage in full.stages.values())
        for stage, config in full.stages.items():
            steps = max(2, round(self.train_steps * config.run.steps / total))
            latents = self.folder / "latents" / config.data.latents.parent.name
            changes += [f"stages.{stage}.{change}" for change in _stage(latents, steps)]
            changes.append(f"stages.{stage}.optim.rate={10 * config.optim.rate}")
        scaled = read_recipe(name, changes)
        assert isinstance(scaled, DiffusionRecipe)
        return scaled

    def _model(self, full: DiffusionRecipe) -> dict[str, Any]:
        changes = {"latent_channels": self.facts["channels"], "width": 64, "depth": 4, "heads": 4}
        changes |= {"text_width": self.text[1], "patch_size": 2}
        return changes | ({"adaln.rank": 2} if full.model.adaln.kind == "sola" else {})


def _stage(latents: Path, steps: int) -> list[str]:
    every = max(1, steps // 12)
    return [
        f"data.latents={latents}",
        "data.normalise=channels",
        f"data.encoded={json.dumps(_ENCODED)}",
        "data.batch.rows=8",
        f"data.batch.duration_s=[{SECONDS}, {SECONDS}]",
        f"averages={{half_lives: [{every}], every: 1}}",
        f"optim.warmup_steps={max(1, steps // 20)}",
        "compute={micro_rows: null, compile: null, prefetch: null}",
        "valid={batches: 2}",
        "listen=null",
        f"run={{steps: {steps}, save_every: {every}, keep_last: 99, log_every: {every}, "
        "listen_every: null, tensorboard: false}",
    ]


def choose_clips(source: Path, folder: Path) -> None:
    """Take clips of a list, evenly spread over it, into a list of the experiment's own.

    Raises:
        InputError: it has too few clips with captions.
    """
    from ezaudio.data.collections import read_list

    rows = [row for row in read_list(source).rows if row.caption]
    chosen: list[ClipRow] = []
    for split, count in (("train", TRAIN), ("valid", VALID)):
        own = [row for row in rows if row.split == split]
        if len(own) < 4:
            allowed = f"a list with at least 4 captioned clips of the split {split}"
            raise InputError("clips", str(source), allowed)
        kept = min(count, len(own))
        chosen += [own[i * len(own) // kept] for i in range(kept)]
    root = source.parent.resolve()
    _write_list(folder, [row.model_copy(update={"file": str(root / row.file)}) for row in chosen])


def make_sounds(folder: Path) -> None:
    """Let the bundled model make the sounds, of the kinds that it knows best."""
    from ezaudio.pipelines import EzAudio
    from ezaudio.pipelines.catalogue import CATALOGUE
    from ezaudio.pipelines.generate import Request
    from ezaudio.pipelines.options import GenerateOptions, resolve_options

    home = CATALOGUE["starter"]
    assert isinstance(home, Path)
    with (home / "clips.csv").open(newline="", encoding="utf-8") as file:
        known = [(row["label"], row["caption"]) for row in csv.DictReader(file) if row["label"]]
    kinds = [pair for pair, _ in Counter(known).most_common(32)]
    wanted = [(kinds[i % len(kinds)], i) for i in range(TRAIN + VALID)]
    model = EzAudio.from_pretrained("starter")
    options = {"duration_s": SECONDS, "steps": 10, "num": 1}
    requests = [
        Request(caption, resolve_options(GenerateOptions, model.parts.card.defaults,
                                         {**options, "seed": seed}))
        for (_, caption), seed in wanted
    ]  # fmt: skip
    (folder / "sounds").mkdir(parents=True, exist_ok=True)
    rows: dict[int, ClipRow] = {}
    for index, sound in model.generate_each(requests, batch_size=8):
        (label, caption), seed = wanted[index]
        name = f"sounds/{seed:03d}.wav"
        sound.save(folder / name)
        split = "train" if seed < TRAIN else "valid"
        rows[index] = ClipRow(file=name, split=split, label=label, caption=caption)
    _write_list(folder, [rows[index] for index in sorted(rows)])


def _write_list(folder: Path, rows: Sequence[ClipRow]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({**row.model_dump(), "duration": SECONDS})


def write_stores(folder: Path, autoencoder: str) -> None:
    """Encode the data as the paper's recipes name them, once for each."""
    from ezaudio.data.checks import LENIENT
    from ezaudio.data.collections import read_list
    from ezaudio.data.pack import PackConfig, pack_clips
    from ezaudio.data.waveforms import WaveformStore
    from ezaudio.training.encode import EncodeConfig, LatentEncoder, encode_latents
    from ezaudio.training.encoder_weights import bring_autoencoder, load_autoencoder

    rows = read_list(folder / "clips.csv").rows
    sets = stores_of(rows, agreement(folder / "clips.csv"))
    channels = 0
    for name, own in sets.items():
        packed, latents = folder / "packed" / name, folder / "latents" / name
        pack_clips(own, folder, packed, PackConfig(check=LENIENT))
        vae, source = load_autoencoder(bring_autoencoder(autoencoder, latents))
        config = EncodeConfig.model_validate(_ENCODED)
        encoder = LatentEncoder(WaveformStore(packed), vae, config, source=source)
        encode_latents(encoder, latents)
        channels = vae.latent_channels
    pairs = {name: sum(row.split == "train" for row in own) for name, own in sets.items()}
    (folder / _DONE).write_text(json.dumps({"channels": channels, "pairs": pairs}) + "\n")


def stores_of(rows: Sequence[ClipRow], agrees: Mapping[str, float]) -> dict[str, list[ClipRow]]:
    """Which clips stand for which of the paper's collections.

    Args:
        rows: all clips.
        agrees: how well sound and caption agree, by file.
    """
    train = sorted(
        (row for row in rows if row.split == "train"), key=lambda row: -agrees.get(row.file, 0.0)
    )
    valid = [row for row in rows if row.split != "train"]
    labels = [row.model_copy(update={"caption": row.label or row.caption}) for row in rows]
    sets = {"audioset": list(rows), "audiocaps": list(rows), "wavcaps": labels}
    for name, share in KEPT.items():
        sets[name] = [*train[: max(4, round(share * len(train)))], *valid]
    return sets


def agreement(manifest: Path) -> dict[str, float]:
    """How well each sound of a list and its caption agree, as the shipped tagger hears it."""
    import numpy as np

    from ezaudio.data.collections import read_list
    from ezaudio.evaluation.cache import FeatureCache
    from ezaudio.evaluation.clips import ClipSet, Item
    from ezaudio.evaluation.feature_store import FeatureStore
    from ezaudio.evaluation.protocol import Panel, Protocol

    rows = read_list(manifest).rows
    files = [manifest.parent / row.file for row in rows]
    items = tuple(Item(row.file, row.caption) for row in rows)
    panel = Panel(extractor="starter-tagger", metrics=("caption",))
    store = FeatureStore(Protocol(name="agreement", panels=(panel,)), FeatureCache(None))
    heard = store.features_of(ClipSet("clips", items, tuple(files)))["starter-tagger"]
    assert heard.audio is not None and heard.text is not None
    norms = np.linalg.norm(heard.audio, axis=1) * np.linalg.norm(heard.text, axis=1)
    cosines = (heard.audio * heard.text).sum(1) / np.maximum(norms, 1e-9)
    return {row.file: float(cosine) for row, cosine in zip(rows, cosines, strict=True)}
