"""Put trained parts together as a model folder that can be shipped.

The folder holds half-precision weights and `model.json`; with a list of the recordings also that
list with the hash of every clip, and the attributions that the clips' licences ask for. It is
written beside its place and takes its name when it is whole.
"""

from __future__ import annotations

import csv
import json
import secrets
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from ezaudio.checkpoints import Loaded, load_module, save_module
from ezaudio.config import load_config
from ezaudio.data.clips import ClipRow
from ezaudio.data.collections import read_list
from ezaudio.data.latents import AUTOENCODER, LatentStore
from ezaudio.data.normalisation import KEY, Normalisation, normalisation_of
from ezaudio.errors import CheckpointError, InputError, OutputError
from ezaudio.files import atomic_write, sha256_file
from ezaudio.pipelines.catalogue import CARD_NAME, ModelCard, read_card
from ezaudio.training.encoder_weights import find_autoencoder
from ezaudio.training.model_folder import NETWORK, NO_LICENCE, text_settings, write_card

LIST_COLUMNS = (
    "file",
    "split",
    "label",
    "caption",
    "captions",
    "license",
    "author",
    "attribution_url",
    "source_repo",
    "source_path",
    "start",
    "end",
    "sha256",
)
_RECIPE = "recipe.yaml"


@dataclass(frozen=True)
class BundleOptions:
    """What the weights do not say.

    Attributes:
        name: Of the model; that of its folder when left out.
        licence: Of its weights.
        settings: A JSON or YAML file with further fields of `model.json`, such as `defaults`.
        autoencoder: A file, or the folder or name of a model; the one of the run when left out.
        latents: Folder of the latents, for weights that do not say what they were trained on.
        clips: List of the recordings that the model was trained on.
        note: A sentence on what was done with the recordings, for the attributions.
        about: A text that becomes the folder's README.md.
    """

    name: str | None = None
    licence: str | None = None
    settings: Path | None = None
    autoencoder: str | None = None
    latents: Path | None = None
    clips: Path | None = None
    note: str = ""
    about: Path | None = None


def bundle(source: Path, folder: Path, options: BundleOptions) -> list[Path]:
    """Write a model folder.

    Args:
        source: A finished run, a model folder, or the weights of a network.
        folder: Where to write; new or empty.
        options: What the weights do not say.

    Returns:
        The files that were written.

    Raises:
        InputError: Something is missing or not allowed; nothing was written.
        CheckpointError: Weights are damaged, or do not say what they were trained on.
        OutputError: The folder cannot be written; nothing is left behind.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("output", str(folder), "a new or empty folder")
    network, autoencoder = find_network(source), _autoencoder(source, options)
    card = card_of(source, folder, options)
    dit, vae = load_module(network, kind="dit"), load_module(autoencoder, kind="vae")
    normalisation = _normalisation(dit, options)
    rows = [] if options.clips is None else read_list(options.clips).rows
    about = None if options.about is None else _text(options.about)
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        _write_weights(part, dit, vae, normalisation)
        write_card(card, part)
        if options.clips is not None:
            write_clip_list(rows, options.clips.parent, part / "clips.csv")
            used = [row for row in rows if row.split == "train"]
            write_attributions(used, part / "ATTRIBUTIONS.md", name=card.name, note=options.note)
        if about is not None:
            (part / "README.md").write_text(about, encoding="utf-8")
        with suppress(FileNotFoundError):
            folder.rmdir()  # empty, or it would have been refused
        part.rename(folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return sorted(folder.iterdir())


def find_network(source: Path) -> Path:
    """The weights of a network: a file, or the one that a run or a model folder has.

    Raises:
        InputError: There is none.
    """
    if source.is_file():
        return source
    if (source / CARD_NAME).is_file():
        return source / read_card(source).dit
    if not (source / NETWORK).is_file():
        raise InputError("run", str(source), f"a finished run, a model folder, or {NETWORK}")
    return source / NETWORK


def card_of(source: Path, folder: Path, options: BundleOptions) -> ModelCard:
    """What `model.json` will say.

    Raises:
        InputError: A field is not allowed, or nobody says which text encoder belongs to it.
    """
    home = source.parent if source.is_file() else source
    values: dict[str, Any] = {"licence": NO_LICENCE}
    if (home / CARD_NAME).is_file():
        values = read_card(home).model_dump(mode="json")
    elif (home / _RECIPE).is_file():
        recipe = _mapping(home / _RECIPE, "run")
        values["text"] = text_settings(recipe.get("text") or {})
    if options.settings is not None:
        values |= _mapping(options.settings, "settings")
    given = {"name": options.name, "licence": options.licence}
    values |= {name: value for name, value in given.items() if value is not None}
    if options.name is None and (options.settings is None or "name" not in values):
        values["name"] = folder.resolve().name
    values |= {"dit": NETWORK, "vae": AUTOENCODER}
    values.setdefault("max_duration_s", 10.0)
    if not values.get("text"):
        raise InputError("settings", None, "a file with `text`, the settings of the text encoder")
    return load_config(ModelCard, values)


def half_precision(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices in float16; vectors and statistics stay as they are."""
    return {
        name: tensor.half() if tensor.ndim >= 2 and not name.startswith("latent_") else tensor
        for name, tensor in tensors.items()
    }


def write_clip_list(rows: Sequence[ClipRow], root: Path, path: Path) -> None:
    """Write the provenance of every clip with the SHA-256 of its file, as CSV."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, LIST_COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            own = {"captions": "|".join(row.captions), "sha256": sha256_file(root / row.file)}
            writer.writerow(row.model_dump() | own)


def write_attributions(rows: Sequence[ClipRow], path: Path, *, name: str, note: str = "") -> None:
    """Name every author, licence and address once, with the number of clips and the collection they
    came from.

    Args:
        rows: The recordings.
        path: Where to write.
        name: Of the model.
        note: What was done with them.
    """
    groups: dict[tuple[str, str, str, str], int] = defaultdict(int)
    for row in rows:
        author = row.author or f"unnamed author, published in {row.source_repo or 'no collection'}"
        groups[author, row.license, row.attribution_url, row.source_repo] += 1
    lines = [
        "# Attributions\n",
        f"{name} was trained on {len(rows)} recordings (split `train`). Their authors, as the",
        "publishers state them, with licence, address and the collection in which each was",
        f"published. The list of clips, with segments and hashes, is `clips.csv`. {note}".rstrip(),
        "",
        "| author | licence | clips | address | collection |",
        "|---|---|---|---|---|",
    ]
    for (author, licence, url, source), count in sorted(groups.items(), key=lambda item: item[0]):
        cells = (cell.replace("|", "/") for cell in (author, licence, str(count), url, source))
        lines.append("| " + " | ".join(cells) + " |")
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _autoencoder(source: Path, options: BundleOptions) -> Path:
    if options.autoencoder is not None:
        return find_autoencoder(options.autoencoder)
    home = source.parent if source.is_file() else source
    named = read_card(home).vae if (home / CARD_NAME).is_file() else AUTOENCODER
    if not (home / named).is_file():
        raise InputError("vae", None, f"an autoencoder: there is none in {home}")
    return home / named


def _normalisation(dit: Loaded, options: BundleOptions) -> Normalisation:
    known = normalisation_of(dit.path)
    if known is not None:
        return known
    if options.latents is None:
        raise CheckpointError(f"{dit.path}: does not say what latents it was trained on; --latents")
    spread = dit.extra.get("stage", {}).get("data", {}).get("spread", 1.0)
    return LatentStore(options.latents, spread=spread).normalisation


def _write_weights(folder: Path, dit: Loaded, vae: Loaded, known: Normalisation) -> None:
    statistics = {
        f"latent_{name}": value[:, None].clone() for name, value in known._asdict().items()
    }
    _require_channels(dit, vae, statistics)
    network = half_precision(dit.tensors)
    facts = {**dit.extra, KEY: known.facts()}
    save_module(folder / NETWORK, network, kind="dit", config=dit.config, extra=facts)
    autoencoder = half_precision({**vae.tensors, **statistics})
    save_module(folder / AUTOENCODER, autoencoder, kind="vae", config=vae.config, extra=vae.extra)


def _require_channels(dit: Loaded, vae: Loaded, statistics: Mapping[str, Tensor]) -> None:
    own = vae.tensors.get("latent_shift", torch.zeros(0, 1))
    if own.shape != statistics["latent_shift"].shape:
        raise CheckpointError(
            f"{vae.path}: has {len(own)} latent channels, {dit.path} was trained on "
            f"{len(statistics['latent_shift'])}"
        )


def _mapping(path: Path, field: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(_text(path))  # JSON is YAML, too
    except yaml.YAMLError:
        values = None
    if not isinstance(values, dict):
        raise InputError(field, str(path), "a JSON or YAML file with a mapping")
    return json.loads(json.dumps(values, default=str))  # type: ignore[no-any-return]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError("file", str(path), f"a readable text file ({reason})") from None
