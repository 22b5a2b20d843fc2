"""`ezaudio bundle`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bundle(
    run: Annotated[
        Path,
        typer.Argument(
            help="A finished run, a model folder, or the weights of a network.", show_default=False
        ),
    ],
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="A new folder.")],
    name: Annotated[
        str | None, typer.Option(help="Of the model; else the folder's.", show_default=False)
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Of the weights, such as CC-BY-4.0.", show_default=False)
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(
            help="JSON or YAML with further fields of model.json, such as defaults.",
            show_default=False,
        ),
    ] = None,
    vae: Annotated[
        str | None,
        typer.Option(help="An autoencoder, or a model with one; else the run's.",
                     show_default=False),
    ] = None,
    latents: Annotated[
        Path | None,
        typer.Option(help="What the network learned from, where its weights do not say.",
                     show_default=False),
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(help="List of the recordings: shipped with hashes and attributions.",
                     show_default=False),
    ] = None,
    note: Annotated[
        str, typer.Option(help="A sentence on the recordings, for the attributions.")
    ] = "",
    about: Annotated[
        Path | None, typer.Option(help="A text that becomes README.md.", show_default=False)
    ] = None,
) -> None:  # fmt: skip
    """Put a finished run together as a model folder that can be shipped."""
    from ezaudio.training.bundle import BundleOptions
    from ezaudio.training.bundle import bundle as write

    options = BundleOptions(
        name=name,
        licence=licence,
        settings=settings,
        autoencoder=vae,
        latents=latents,
        clips=clips,
        note=note,
        about=about,
    )
    for path in write(run, output, options):
        print(path)
