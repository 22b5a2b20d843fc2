"""Which autoencoder makes latents. It is kept beside them, so that whatever learns from them can be
listened to.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ezaudio.checkpoints import load_module, save_module
from ezaudio.data.latents import AUTOENCODER
from ezaudio.data.shards import INDEX
from ezaudio.errors import InputError
from ezaudio.files import atomic_write, make_folder, sha256_file
from ezaudio.pipelines.catalogue import Model, find_model
from ezaudio.pipelines.components import weight_files
from ezaudio.pipelines.convert import Settings, convert_file
from ezaudio.vae import Autoencoder
from ezaudio.vae.load import load_vae


def load_autoencoder(path: Path, device: str = "cpu") -> tuple[Autoencoder, str]:
    """Load an autoencoder checkpoint for encoding, and give its hash.

    Raises:
        CheckpointError: The file is damaged or no autoencoder.
    """
    return load_vae(path, device=device), sha256_file(path)


def find_autoencoder(source: str) -> Path:
    """Find an autoencoder of this project by its file, or by the folder or name of a model.

    Raises:
        InputError: There is no such file or model, or it is the authors', which has to be encoded
            with (`bring_autoencoder`) or converted first.
    """
    if Path(source).is_file() or source.endswith(".safetensors"):
        return Path(source)
    model = _model(source)
    if model.official is not None:
        raise InputError("vae", source, "a model folder (`ezaudio convert` makes one of it)")
    return weight_files(model, ("vae",))["vae"]


def bring_autoencoder(source: str, folder: Path) -> Path:
    """Put an autoencoder into the folder that its latents go to.

    Args:
        source: A file, a model folder, or the name of a model, also of the authors'.
        folder: Of the latents.

    Returns:
        Its place there.

    Raises:
        InputError: No such file or model, or the folder holds latents of another autoencoder.
        CheckpointError: It is damaged, or no autoencoder.
        OutputError: The folder cannot be written.
    """
    target = folder / AUTOENCODER
    if not Path(source).exists() and _model(source).official is not None:
        if not target.is_file():
            make_folder(folder)
            made = convert_file(weight_files(_model(source), ("vae",))["vae"], Settings())
            save_module(target, made.tensors, kind="vae", config=made.config, extra=made.extra)
        return target
    path = find_autoencoder(source)
    load_module(path, kind="vae")
    if target.is_file() and sha256_file(target) == sha256_file(path):
        return target
    if (folder / INDEX).is_file():
        raise InputError("output", str(folder), "a new folder: this holds another autoencoder's")
    make_folder(folder)
    with atomic_write(target) as temporary:
        shutil.copyfile(path, temporary)
    return target


def _model(source: str) -> Model:
    try:
        return find_model(source)
    except InputError as error:
        raise InputError("vae", source, f"a file, or as a model {error.allowed}") from None
