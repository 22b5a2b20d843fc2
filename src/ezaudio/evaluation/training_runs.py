"""Training runs as models, whole runs and single checkpoints of them.

A run's folder, as `ezaudio train` leaves it: `dit.safetensors` (the average that measured best,
with its configuration and the statistics of its latents inside), `vae.safetensors` and `model.json`
(with them it is a model already), `checkpoints/STEP/state.pt` (what training goes on from: the
network and its averages at that step), `log.jsonl` (a line of numbers per logged step).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ezaudio.checkpoints import ModuleInfo, load_foreign, read_module_info, save_module
from ezaudio.data.normalisation import KEY, Normalisation
from ezaudio.errors import CheckpointError, InputError, OutputError
from ezaudio.files import link_or_copy, write_bytes
from ezaudio.pipelines.catalogue import CARD_NAME, find_model, read_card

NETWORK = "dit.safetensors"
STATE = "state.pt"
FACTS = "facts.json"
LOG = "log.jsonl"
PRESENT = "present"
_IN_AVERAGE = "network."


def model_of_run(model: str, base: str | None, folder: Path) -> str:
    """Give what `find_model` finds for a run.

    Args:
        model: a name or a model folder, which is returned as it is; or the folder of a training run
            that holds `dit.safetensors`; or such a file; or one of the run's `checkpoints/STEP`.
        base: model whose autoencoder and text encoder go with the network; the run's own when left
            out. What the network's latents are normalised by comes from the run in either case.
        folder: where the model is put together.

    Raises:
        InputError: `base` is not a model folder, or it is left out and the run has no parts of its
            own.
        CheckpointError: a checkpoint cannot be read, or its run has left no `dit.safetensors`.
        OutputError: the folder cannot be written.
    """
    path = Path(model)
    of_step = (path / STATE).is_file()
    if path.is_dir() and (path / CARD_NAME).is_file() and base is None:
        return model
    network = path / NETWORK if path.is_dir() else path
    if not of_step and (network.suffix != ".safetensors" or not network.is_file()):
        return model
    home = path.parent.parent if of_step else network.parent
    parts = _parts(home, base)
    card = read_card(parts)
    values = card.model_dump(mode="json") | {"name": folder.name, "dit": NETWORK}
    try:
        (folder / card.vae).parent.mkdir(parents=True, exist_ok=True)
        if of_step:
            _write_network(path, folder / NETWORK)
        else:
            _require_statistics(read_module_info(network))
            link_or_copy(network.resolve(), folder / NETWORK)
        link_or_copy((parts / card.vae).resolve(), folder / card.vae)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from None
    write_bytes(folder / CARD_NAME, (json.dumps(values, indent=2) + "\n").encode())
    return str(folder)


def _parts(home: Path, base: str | None) -> Path:
    """The folder whose autoencoder and text encoder go with a network."""
    if base is None:
        if not (home / CARD_NAME).is_file():
            allowed = f"a model whose autoencoder and text encoder go with the network of {home}"
            raise InputError("base", None, allowed)
        return home
    found = find_model(base)
    if found.folder is None:
        raise InputError("base", base, "a model whose files are in one folder")
    return found.folder


def _require_statistics(info: ModuleInfo) -> dict[str, Any]:
    """What a network says of the latents that it was trained on.

    Raises:
        CheckpointError: it does not say; another model's statistics would give other sounds.
    """
    known = Normalisation.of_facts(info.extra, info.path)
    if known is None:
        raise CheckpointError(f"{info.path}: does not say what latents it was trained on")
    return {KEY: known.facts()}


def memory_of_run(path: Path) -> float | None:
    """The most memory in GiB that a run logged; None where it has no such log."""
    folder = path.parent if path.is_file() else path
    folder = folder.parent.parent if (folder / STATE).is_file() else folder
    if not folder.is_dir() or not (folder / LOG).is_file():
        return None
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    return max((held for line in lines if (held := _memory(line)) is not None), default=None)


def step_of_run(path: Path) -> int | None:
    """The training step of a run's weights; None where nothing says it."""
    network = path / NETWORK if path.is_dir() else path
    if path.is_dir() and (path / CARD_NAME).is_file():
        network = path / read_card(path).dit
    if not network.is_file() or network.suffix != ".safetensors":
        return None
    step = read_module_info(network).extra.get("step")
    return step if isinstance(step, int) else None


def loss_of_step(step: Path) -> float | None:
    """The validation loss of a checkpoint's best average; None where none was measured."""
    try:
        facts = json.loads((step / FACTS).read_text(encoding="utf-8"))
        return float(facts["measured"]["valid_loss"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
    statistics = _require_statistics(info)
    state = load_foreign(step / STATE)
    tensors, average = best_average(state)
    if not tensors:
        raise CheckpointError(f"{step / STATE}: no whole network in it")
    facts = {"average": average, "checkpoint": step.name, **statistics}
    if step.name.isdecimal():
        facts["step"] = int(step.name)
    target.unlink(missing_ok=True)
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
