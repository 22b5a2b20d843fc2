"""What makes the weights of a run a model: an autoencoder beside them, and `model.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ezaudio.config import Config
from ezaudio.data.latents import AUTOENCODER, LatentStore
from ezaudio.files import link_or_copy, write_bytes
from ezaudio.pipelines.catalogue import CARD_NAME, ModelCard, read_card
from ezaudio.training.tasks.stages import TextConfig

NETWORK = "dit.safetensors"
NO_LICENCE = "not stated"


def complete_model(
    folder: Path, store: LatentStore, text: TextConfig, max_duration_s: float
) -> None:
    """Put beside the weights of a run what makes them a model, where the autoencoder is at hand.

    Args:
        folder: Of the run, with `dit.safetensors`.
        store: What it learned from; the autoencoder lies beside it.
        text: Settings of its text encoder.
        max_duration_s: Longest sound that it learned.

    Raises:
        OutputError: The folder cannot be written.
    """
    if not (store.folder / AUTOENCODER).is_file():
        return
    link_or_copy(store.folder / AUTOENCODER, folder / AUTOENCODER)
    card = ModelCard(
        name=folder.resolve().name,
        licence=NO_LICENCE,
        dit=NETWORK,
        vae=AUTOENCODER,
        text=text_settings(cast(Config, text).model_dump(mode="json")),
        max_duration_s=max_duration_s,
        defaults={"duration_s": max_duration_s},
    )
    write_card(card, folder)


def text_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a text encoder that hold wherever the model is moved on this machine."""
    path = values.get("path")
    return {**values, "path": str(Path(path).resolve())} if isinstance(path, str) else dict(values)


def point_to_stage(folder: Path, stage: Path) -> None:
    """Make the folder of several stages the model that its last stage is.

    Args:
        folder: Of the stages.
        stage: Folder of the last one; nothing happens where it is no model.

    Raises:
        OutputError: The folder cannot be written.
    """
    if not (stage / CARD_NAME).is_file():
        return
    card, place = read_card(stage), stage.relative_to(folder)
    changes = {
        "name": folder.resolve().name,
        "dit": (place / card.dit).as_posix(),
        "vae": (place / card.vae).as_posix(),
    }
    write_card(card.model_copy(update=changes), folder)


def write_card(card: ModelCard, folder: Path) -> None:
    """Write `model.json`."""
    write_bytes(folder / CARD_NAME, f"{card.model_dump_json(indent=2)}\n".encode())
