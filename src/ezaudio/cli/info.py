"""`ezaudio info`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from ezaudio.checkpoints import load_foreign, read_module_info
from ezaudio.cli.streams import sound_file
from ezaudio.errors import CheckpointError, InputError
from ezaudio.files import sha256_file
from ezaudio.pipelines.catalogue import CARD_NAME, CATALOGUE, ModelCard, find_model, read_card

_PICKLED = (".pt", ".pth", ".ckpt", ".bin")


def info(
    file: Annotated[
        str,
        typer.Argument(
            help="A sound file (- is the standard input), a checkpoint, a model or its folder.",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what made a sound, or what is in a checkpoint."""
    facts = facts_of(file)
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        print(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True).rstrip())


def facts_of(file: str) -> dict[str, Any]:
    """Collect what is known of a file, a folder or a name.

    Raises:
        AudioFileError: not a sound file, or damaged.
        CheckpointError: not a checkpoint, or damaged.
    """
    entry = CATALOGUE.get(file)
    if isinstance(entry, ModelCard):
        return entry.model_dump(mode="json", exclude={"dit", "vae"})
    path = find_model(file).folder if entry is not None else Path(file)
    assert path is not None
    if path.name == CARD_NAME:
        path = path.parent
    if "\0" in file or not file.strip():
        raise InputError("file", file, "the name of a file or folder")
    if path.is_dir():
        return _model(path)
    if path.suffix == ".safetensors":
        return _module(path)
    if path.suffix in _PICKLED:
        return _foreign(path)
    with sound_file(path) as source:
        return _sound(source)


def _model(folder: Path) -> dict[str, Any]:
    card = read_card(folder)
    facts = card.model_dump(mode="json")
    for part in ("dit", "vae"):
        try:
            facts[part] = _module(folder / facts[part])
        except CheckpointError as error:
            facts[part] = {"missing": str(error)}
    return facts


def _module(path: Path) -> dict[str, Any]:
    found = read_module_info(path)
    return {
        "file": str(path),
        "kind": found.kind,
        "parameters": found.parameters,
        "size_bytes": path.stat().st_size,
        "sha256": found.sha256,
        "config": found.config,
        **{key: value for key, value in found.extra.items() if key != "config"},
    }


def _foreign(path: Path) -> dict[str, Any]:
    content = load_foreign(path)
    inner = next(
        (content[k] for k in ("model", "state_dict") if isinstance(content.get(k), dict)), content
    )
    shapes = {name: list(x.shape) for name, x in inner.items() if hasattr(x, "shape")}
    return {
        "file": str(path),
        "kind": "checkpoint of another project; `ezaudio convert` may read it",
        "tensors": len(shapes),
        "first_tensors": dict(list(shapes.items())[:5]),
        "size_bytes": path.stat().st_size,
        "sha256": sha256_file(path),
    }


def _sound(path: Path) -> dict[str, Any]:
    from ezaudio.audio import read_audio, read_metadata

    clip = read_audio(path, mono=False)
    return {
        "file": str(path),
        "sample_rate": clip.sample_rate,
        "channels": int(clip.samples.shape[0]),
        "duration_s": clip.duration_s,
        "peak": round(float(abs(clip.samples).max()), 4),
        "made_by": read_metadata(path) or "nothing that ezaudio wrote",
    }
