"""Which models there are, and where each one's files lie. Nothing here needs torch.

A model is a folder with `model.json` and two safetensors files. The authors' L and XL are the
exception: their checkpoints are fetched from the hub as they are, and `CATALOGUE` holds what
`model.json` would say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field

from ezaudio.config import Config, load_config
from ezaudio.errors import CheckpointError, InputError
from ezaudio.hub import OFFICIAL_FILES, TEXT_ENCODER_FILES, RemoteFile, find_cached
from ezaudio.pipelines.choices import allowed_names

CARD_NAME = "model.json"
_WEIGHTS = Path(__file__).parents[1] / "weights"


class ModelCard(Config):
    """What `model.json` says.

    Attributes:
        format: of this file.
        name: of the model.
        licence: of its weights.
        dit: file of the diffusion transformer, in the folder.
        vae: file of the autoencoder, in the folder.
        text: settings of the text encoder; a relative `path` is one inside the folder. Of kind
            `none` where the network has no text input.
        max_duration_s: longest sound that can be asked for.
        defaults: options that suit the model.
        summary: one line for lists.
        dtype: precision of the network where the user asks for none.
    """

    format: Literal[1] = 1
    name: str = Field(min_length=1)
    licence: str
    dit: str = "dit.safetensors"
    vae: str = "vae.safetensors"
    text: dict[str, Any] = Field(default_factory=lambda: {"kind": "none"})
    max_duration_s: float = Field(gt=0, allow_inf_nan=False)
    defaults: dict[str, Any] = Field(default_factory=dict)
    summary: str = ""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"


@dataclass(frozen=True)
class Model:
    """A model that was found.

    Attributes:
        card: what it is.
        folder: where its files lie; None for a model of the authors.
        official: name of the diffusion transformer in `OFFICIAL_FILES`, else None.
    """

    card: ModelCard
    folder: Path | None = None
    official: str | None = None

    @property
    def remote_files(self) -> tuple[RemoteFile, ...]:
        """What has to be fetched."""
        if self.official is None:
            return ()
        text = TEXT_ENCODER_FILES.get(self.card.text.get("name", ""), ())
        return (OFFICIAL_FILES[self.official], OFFICIAL_FILES["vae"], *text)


HEADLINE: Mapping[str, Any] = MappingProxyType(
    {"steps": 100, "guidance_scale": 5.0, "guidance_rescale": 0.75, "eta": 1.0}
)
"""How the authors sample what they report, in float32: paper, section 3.5; eta as in their code."""


def _official(name: str, text: str, summary: str) -> ModelCard:
    return ModelCard(
        name=name,
        licence="MIT",
        text={"kind": "flan-t5", "name": text},
        max_duration_s=10.0,
        defaults={"duration_s": 10.0, **HEADLINE},
        summary=summary,
        dtype="float32",
    )


CATALOGUE: Mapping[str, ModelCard | Path] = MappingProxyType(
    {
        "starter": _WEIGHTS / "starter",
        "l": _official("l", "google/flan-t5-large", "EzAudio-L, the authors' weights"),
        "xl": _official("xl", "google/flan-t5-xl", "EzAudio-XL, the authors' weights"),
    }
)
"""Models that have a name: a bundled folder, or what is known of the authors' files."""


def find_model(name: str | Path) -> Model:
    """Find a model by its name or its folder.

    Raises:
        InputError: neither a name nor a folder.
        CheckpointError: the folder's `model.json` is missing or damaged.
    """
    if not isinstance(name, str | Path):
        raise InputError("model", name, f"one of {', '.join(CATALOGUE)}, or a folder")
    entry = CATALOGUE.get(str(name))
    if isinstance(entry, ModelCard):
        return Model(entry, official=str(name))
    if entry is not None:
        if not (entry / CARD_NAME).is_file():
            raise CheckpointError(f"the weights of {name} are not in this installation ({entry})")
        return Model(read_card(entry), folder=entry)
    folder = Path(name)
    if str(name).strip() and _is_folder(folder):
        return Model(read_card(folder), folder=folder)
    allowed = f"{allowed_names(name, CATALOGUE)}, or a folder with {CARD_NAME}"
    raise InputError("model", str(name), allowed)


def read_card(folder: Path) -> ModelCard:
    """Read a folder's `model.json`.

    Raises:
        CheckpointError: missing, damaged, or with fields that are not allowed.
    """
    path = folder / CARD_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("not an object")
        return load_config(ModelCard, values)
    except InputError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; a model is a folder with it") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise CheckpointError(f"{path}: not valid JSON") from None


@dataclass(frozen=True)
class Availability:
    """Where a model's files are.

    Attributes:
        state: `bundled`, `cached`, `downloadable`, or `not included`.
        size_bytes: of all files, as far as known.
    """

    state: Literal["bundled", "cached", "downloadable", "not included"]
    size_bytes: int


def availability(name: str) -> Availability:
    """Say where the files of a catalogued model are."""
    entry = CATALOGUE[name]
    if isinstance(entry, Path):
        if not (entry / CARD_NAME).is_file():
            return Availability("not included", 0)
        card = read_card(entry)
        files = [entry / card.dit, entry / card.vae]
        return Availability("bundled", sum(f.stat().st_size for f in files if f.is_file()))
    remote = Model(entry, official=name).remote_files
    found = [find_cached(f.repo_id, f.filename, f.revision) for f in remote]
    sizes = [
        f.size_bytes if at is None else at.stat().st_size
        for f, at in zip(remote, found, strict=True)
    ]
    return Availability("downloadable" if None in found else "cached", sum(sizes))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that is too long, or holds a zero byte
        return False
