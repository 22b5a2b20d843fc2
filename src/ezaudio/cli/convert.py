"""`ezaudio convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from ezaudio.cli.progress import note
from ezaudio.errors import InputError
from ezaudio.pipelines.catalogue import CARD_NAME


def convert(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            help="The authors' files: a transformer, an autoencoder, or both.", show_default=False
        ),
    ],
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="The model's folder.")],
    name: Annotated[str | None, typer.Option(help="Of the model.")] = None,
    licence: Annotated[str, typer.Option(help="Of the weights.")] = "MIT",
    max_duration: Annotated[float, typer.Option(help="Longest sound in seconds.")] = 10.0,
    text: Annotated[
        str | None,
        typer.Option(help="Text encoder: a kind, or settings such as '{kind: flan-t5, path: t5}'."),
    ] = None,
    dit_config: Annotated[
        Path | None, typer.Option(help="The authors' settings, when it is neither L nor XL.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Key of the weights, such as ema or model; averages go first."),
    ] = None,
    vae_config: Annotated[
        Path | None, typer.Option(help="The authors' settings, when it is not the released one.")
    ] = None,
) -> None:
    """Turn the authors' checkpoints into a model folder; pickles are read without running code."""
    from ezaudio.pipelines.convert import Settings, read_settings
    from ezaudio.pipelines.convert import convert as convert_files

    settings = Settings(
        dit=None if dit_config is None else read_settings(dit_config),
        vae=None if vae_config is None else read_settings(vae_config),
        text=_text(text),
        name=name,
        licence=licence,
        max_duration_s=max_duration,
        weights=weights,
    )
    for path in convert_files(checkpoints, output, settings, tell=note):
        print(path)
    for part in (CARD_NAME, "dit.safetensors", "vae.safetensors"):
        if not (output / part).exists():
            note(f"note: {output} has no {part} yet; it comes with the other checkpoint.")


def _text(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if isinstance(value, str):
        return {"kind": value}
    if not isinstance(value, dict):
        raise InputError("text", text, "a kind of text encoder, or a mapping with its kind")
    return value
