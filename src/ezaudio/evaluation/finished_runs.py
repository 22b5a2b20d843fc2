"""Finished runs as models: a run leaves a network; autoencoder and text encoder are given."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from ezaudio.checkpoints import write_bytes
from ezaudio.errors import InputError, OutputError
from ezaudio.pipelines.catalogue import CARD_NAME, find_model

NETWORK = "dit.safetensors"


def model_of_run(model: str, base: str, folder: Path) -> str:
    """Give what `find_model` finds for a run.

    Args:
        model: a name or a model folder, which is returned as it is; or the folder of a training run
            that holds `dit.safetensors`; or such a file.
        base: model whose other parts go with the network.
        folder: where the model is put together; the files are links.

    Raises:
        InputError: `base` is not a model folder.
        OutputError: the folder cannot be written.
    """
    path = Path(model)
    network = path / NETWORK if path.is_dir() and not (path / CARD_NAME).is_file() else path
    if network.suffix != ".safetensors" or not network.is_file():
        return model
    found = find_model(base)
    if found.folder is None:
        raise InputError("base", base, "a model whose files are in one folder")
    values = json.loads((found.folder / CARD_NAME).read_text(encoding="utf-8"))
    values |= {"name": folder.name, "dit": NETWORK}
    try:
        (folder / found.card.vae).parent.mkdir(parents=True, exist_ok=True)
        _link(network, folder / NETWORK)
        _link(found.folder / found.card.vae, folder / found.card.vae)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from None
    write_bytes(folder / CARD_NAME, (json.dumps(values, indent=2) + "\n").encode())
    return str(folder)


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.symlink(source.resolve(), target)
    except OSError:  # a system without links
        shutil.copyfile(source, target)
