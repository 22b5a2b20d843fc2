"""The authors' checkpoints, turned into a model folder.

Which file holds what is seen from the names of its tensors, wherever the weights lie in it (see
`layouts`). The transformer's configuration is not in the file; the released L and XL are recognised
by their width, others need their settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from ezaudio.checkpoints import load_foreign, save_module
from ezaudio.data.normalisation import KEY, Normalisation
from ezaudio.dit import DIT_PRESETS, DiTConfig
from ezaudio.dit.official import official_dit_config, official_dit_state
from ezaudio.errors import CheckpointError, InputError
from ezaudio.files import sha256_file, write_bytes
from ezaudio.pipelines.catalogue import CARD_NAME, CATALOGUE, HEADLINE, ModelCard
from ezaudio.pipelines.layouts import WIDTH_TENSOR, all_weights, find_weights
from ezaudio.pipelines.outputs import Files
from ezaudio.text import TEXT_ENCODERS
from ezaudio.vae import OobleckConfig
from ezaudio.vae.official import official_vae_config, official_vae_state

_PUBLISHED = ("l", "xl")


@dataclass(frozen=True)
class Settings:
    """What the files do not say.

    Attributes:
        dit: the authors' settings of the transformer; None for the released L and XL.
        vae: the authors' settings of the autoencoder; None for the released one.
        text: settings of the text encoder; None takes the published model's.
        name: of the model; None takes the published model's.
        licence: of the weights.
        max_duration_s: longest sound that can be asked for.
        weights: key or prefix of the weights, where a file holds several; None takes averages.
    """

    dit: Mapping[str, Any] | None = None
    vae: Mapping[str, Any] | None = None
    text: Mapping[str, Any] | None = None
    name: str | None = None
    licence: str = "MIT"
    max_duration_s: float = 10.0
    weights: str | None = None


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read the authors' settings, JSON or YAML.

    Raises:
        InputError: the file cannot be read, or is not a mapping.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        values = None
    if not isinstance(values, dict):
        raise InputError("settings", str(path), "a readable JSON or YAML file with a mapping")
    return values


def convert(
    checkpoints: Sequence[str | Path],
    folder: str | Path,
    settings: Settings,
    *,
    tell: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write what the checkpoints hold into a folder, and `model.json` when it is then complete.

    Args:
        checkpoints: files of the authors; at most one of each kind.
        folder: is made when it is not there.
        settings: what the files do not say.
        tell: hears which weights were taken of a file that holds several.

    Returns:
        The files that were written.

    Raises:
        CheckpointError: a file is missing, damaged, refused, or does not fit its settings.
        InputError: two files of one kind, or settings are missing.
        OutputError: a file cannot be written.
    """
    folder = Path(folder)
    read: dict[str, Converted] = {}
    for path in map(Path, checkpoints):
        made = convert_file(path, settings, tell=tell)
        if made.kind in read:
            raise InputError("checkpoint", str(path), f"one file of kind {made.kind}")
        read[made.kind] = made
    if not read:
        raise InputError("checkpoints", [], "at least one file")
    card = _card(read["dit"], settings) if "dit" in read else None
    names = [*(f"{kind}.safetensors" for kind in read), *([CARD_NAME] if card else [])]
    files = Files(tuple(folder / name for name in names))
    with files.prepared():
        for made, target in zip(read.values(), files.paths, strict=False):
            save_module(target, made.tensors, kind=made.kind, config=made.config, extra=made.extra)
        if card is not None:
            write_bytes(files.paths[-1], f"{card.model_dump_json(indent=2)}\n".encode())
    return list(files.paths)


@dataclass(frozen=True)
class Converted:
    """What a file of the authors holds, in the names and the form of this project.

    Attributes:
        kind: `dit` or `vae`.
        tensors: by name.
        config: settings that build the module.
        extra: the file that they came from.
    """

    kind: str
    tensors: dict[str, Tensor]
    config: DiTConfig | OobleckConfig
    extra: dict[str, Any]


def convert_file(
    path: Path, settings: Settings, *, tell: Callable[[str], None] | None = None
) -> Converted:
    """Read one of the authors' files.

    Raises:
        CheckpointError: missing, damaged, refused, or it does not fit its settings.
        InputError: settings are missing.
    """
    content = load_foreign(path)
    found = find_weights(content, path, settings.weights)
    others = [x.place for x in all_weights(content) if x.place != found.place]
    if tell is not None and others:
        tell(f"{path.name}: took {found.place}; --weights chooses: {', '.join(others)}")
    extra: dict[str, Any] = {"source": path.name, "source_sha256": sha256_file(path)}
    extra |= {"source_weights": found.place} if others else {}
    theirs = _tensors(found.tensors, path)
    config: DiTConfig | OobleckConfig
    if found.kind == "vae":
        config = OobleckConfig() if settings.vae is None else official_vae_config(settings.vae)
        prefixed = {f"autoencoder.{n.removeprefix('autoencoder.')}": x for n, x in theirs.items()
                    if n.startswith(("autoencoder.", "encoder.", "decoder."))}  # fmt: skip
        tensors = official_vae_state(prefixed, config)
    else:
        config = _dit_config(theirs, settings, path)
        tensors = official_dit_state(theirs)
        # The authors normalise nothing.
        extra |= {KEY: Normalisation.none(config.latent_channels).facts()}
    _check(config, tensors, path)
    return Converted(found.kind, tensors, config, extra)


def _tensors(state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    if odd := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise CheckpointError(f"{path}: {odd[0]!r} is not a tensor")
    return dict(state)


def _dit_config(state: Mapping[str, Tensor], settings: Settings, path: Path) -> DiTConfig:
    if settings.dit is not None:
        return official_dit_config(settings.dit.get("model", settings.dit))
    width = next(len(x) for name, x in state.items() if name.endswith(WIDTH_TENSOR))
    for name in _PUBLISHED:
        if DIT_PRESETS[name].width == width:
            return DIT_PRESETS[name]
    raise CheckpointError(
        f"{path}: a transformer of width {width} is neither L nor XL; give its settings "
        "(--dit-config)"
    )


def _check(config: DiTConfig | OobleckConfig, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load strictly into an empty network, which costs nothing."""
    with torch.device("meta"):
        network: torch.nn.Module = config.build()
    try:
        network.load_state_dict({name: x.to("meta") for name, x in tensors.items()}, strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
        raise CheckpointError(f"{path}: does not fit its settings ({lines[0][:120]})") from None


def _card(dit: Converted, settings: Settings) -> ModelCard:
    published = next((name for name in _PUBLISHED if DIT_PRESETS[name] == dit.config), None)
    known = CATALOGUE[published] if published is not None else None
    text = settings.text
    if dit.config.text_width is None:  # type: ignore[union-attr]
        text = {"kind": "none"}
    if text is None and isinstance(known, ModelCard):
        text = known.text
    if text is None:
        raise InputError(
            "text",
            None,
            f"settings of the text encoder, its kind one of {', '.join(TEXT_ENCODERS)}",
        )
    return ModelCard(
        name=settings.name or published or "converted",
        licence=settings.licence,
        text=dict(text),
        max_duration_s=settings.max_duration_s,
        defaults={"duration_s": min(10.0, settings.max_duration_s), **HEADLINE},
        dtype="float32",
    )
