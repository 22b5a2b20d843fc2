"""Finished runs as models: a run leaves networks; autoencoder and text encoder are given.

A run's folder, as `ezaudio train` leaves it: `dit.safetensors` (the average that measured best,
with its configuration inside), `checkpoints/STEP/state.pt` (what training goes on from: the network
and its averages at that step), `log.jsonl` (a line of numbers per logged step).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ezaudio.checkpoints import load_foreign, read_module_info, save_module
from ezaudio.errors import CheckpointError, InputError, OutputError
from ezaudio.files import write_bytes
from ezaudio.pipelines.catalogue import CARD_NAME, find_model

NETWORK = "dit.safetensors"
STATE = "state.pt"
LOG = "log.jsonl"
PRESENT = "present"
_IN_AVERAGE = "network."


def model_of_run(model: str, base: str, folder: Path) -> str:
    """Give what `find_model` finds for a run.

    Args:
        model: a name or a model folder, which is returned as it is; or the folder of a training run
            that holds `dit.safetensors`; or such a file; or one of the run's `checkpoints/STEP`.
        base: model whose other parts go with the network.
        folder: where the model is put together; the files are links.

    Raises:
        InputError: `base` is not a model folder.
        CheckpointError: a checkpoint cannot be read, or its run has left no `dit.safetensors`.
        OutputError: the folder cannot be written.
    """
    path = Path(model)
    of_step = (path / STATE).is_file()
    network = path / NETWORK if path.is_dir() and not (path / CARD_NAME).is_file() else path
    if not of_step and (network.suffix != ".safetensors" or not network.is_file()):
        return model
    found = find_model(base)
    if found.folder is None:
        raise InputError("base", base, "a model whose files are in one folder")
    values = json.loads((found.folder / CARD_NAME).read_text(encoding="utf-8"))
    values |= {"name": folder.name, "dit": NETWORK}
    try:
        (folder / found.card.vae).parent.mkdir(parents=True, exist_ok=True)
        if of_step:
            (folder / NETWORK).unlink(missing_ok=True)
            _write_network(path, folder / NETWORK)
        else:
            _link(network, folder / NETWORK)
        _link(found.folder / found.card.vae, folder / found.card.vae)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from None
    write_bytes(folder / CARD_NAME, (json.dumps(values, indent=2) + "\n").encode())
    return str(folder)


def memory_of_run(path: Path) -> float | None:
    """The most memory in GiB that a run logged; None where it has no such log."""
    folder = path.parent if path.is_file() else path
    folder = folder.parent.parent if (folder / STATE).is_file() else folder
    if not folder.is_dir() or not (folder / LOG).is_file():
        return None
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    return max((held for line in lines if (held := _memory(line)) is not None), default=None)


def _memory(line: str) -> float | None:
    try:
        held = json.loads(line).get("memory_gib")
    except (ValueError, AttributeError):
        return None
    return float(held) if isinstance(held, int | float) else None


def _write_network(step: Path, target: Path) -> None:
    """Write the network of a checkpoint, under the configuration that its run has left."""
    left = step.parent.parent / NETWORK
    if not left.is_file():
        raise CheckpointError(f"{left} is missing: the run of {step} has not ended")
    info = read_module_info(left)
    state = load_foreign(step / STATE)
    tensors, average = best_average(state)
    if not tensors:
        raise CheckpointError(f"{step / STATE}: no whole network in it")
    facts = {"average": average, "checkpoint": step.name}
    save_module(target, tensors, kind="dit", config=info.config, extra=facts)


def best_average(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], str]:
    """The tensors that measured best at that step, and their name; `present` is no average."""
    shadows = (state.get("averages") or {}).get("shadows") or {}
    losses: dict[str, float] = {
        name: loss
        for name, loss in (state.get("choice") or {}).items()
        if name == PRESENT or name in shadows
    }
    best = min(losses, key=lambda name: losses[name], default=PRESENT)
    own = {key.removeprefix(_IN_AVERAGE): value for key, value in shadows.get(best, {}).items()}
    return {**(state.get("network") or {}), **own}, best


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.symlink(source.resolve(), target)
    except OSError:  # a system without links
        shutil.copyfile(source, target)
