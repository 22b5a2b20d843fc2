"""Checkpoints that survive: written beside the others, checked, renamed, and only then pruned.

A checkpoint is a folder named after its step with `facts.json` (step, measures, size and SHA-256 of
every file) and the state: `state.pt`, and where weights are spread over processes the files of
`torch.distributed.checkpoint`, which another number of processes can read. It is written under a
temporary name and renamed when it is whole and on the disk, so that a kill or a full disk leaves
the ones before as they were. A damaged one is passed over for the one before it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter

from ezaudio.checkpoints import sha256_file
from ezaudio.errors import CheckpointError, EzAudioError, InputError, OutputError
from ezaudio.training.loop.distributed import Engine

FORMAT = 2
FACTS = "facts.json"
STATE = "state.pt"
_FREE = ("run", "engine", "compute", "valid", "listen", "output", "start")
"""Fields that may change when a run goes on; the seed of `run` may not."""
_BROKEN = (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, UnpicklingError)
_BROKEN_SHARDS = (*_BROKEN, CheckpointException)  # the last is no Exception


@dataclass(frozen=True)
class Saved:
    """A checkpoint on the disk.

    Attributes:
        folder: Where it lies.
        step: Steps done.
        facts: What else was kept: plain values.
    """

    folder: Path
    step: int
    facts: dict[str, Any]


class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: Where they lie.
        engine: Whose processes save and restore together.
        keep_last: Newest ones that stay.
        keep_best: Best ones that stay, by `measure`.
        measure: Name in the facts' `measured`; lower is better.
    """

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        *,
        keep_last: int = 2,
        keep_best: int = 1,
        measure: str = "valid_loss",
    ) -> None:
        self.folder, self.engine = folder, engine
        self.keep_last, self.keep_best, self.measure = keep_last, keep_best, measure

    def found(self) -> list[Saved]:
        """Those whose facts can be read, the oldest first."""
        saved = []
        for path in sorted(self.folder.glob("[0-9]*")):
            with suppress(OSError, ValueError, KeyError):
                facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
                saved.append(Saved(path, int(facts["step"]), facts))
        return sorted(saved, key=lambda each: each.step)

    def save(self, step: int, parts: Mapping[str, Any], facts: Mapping[str, Any]) -> Path:
        """Write a checkpoint, then remove those that need not stay.

        Raises:
            OutputError: It cannot be written; the ones before are untouched.
        """
        target = self.folder / f"{step:09d}"
        partial = self.folder / f".{target.name}.part"
        fault = ""
        try:
            if self.engine.main:
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
            self.engine.barrier()
            spread, plain = _states(parts)
            if spread:  # all processes write
                state_dict_saver.save(spread, storage_writer=FileSystemWriter(partial))
            if self.engine.main:
                _write(partial / STATE, plain)
        except (OSError, RuntimeError, CheckpointException) as error:
            fault = _reason(error)
        fault = next((said for said in self.engine.gathered(fault) if said), "")
        try:
            if self.engine.main and not fault:
                _complete(partial, target, {**facts, "step": step, "sharded": self.engine.sharded})
        except OSError as error:
            fault = _reason(error)
        fault = self.engine.gathered(fault)[0]
        if fault:
            if self.engine.main:
                shutil.rmtree(partial, ignore_errors=True)
            raise OutputError(f"cannot save {target}: {fault}; the checkpoints before it remain")
        if self.engine.main:
            self._prune()
        self.engine.barrier()
        return target

    def restore(self, parts: Mapping[str, Any]) -> Saved | None:
        """Load the newest checkpoint that is whole; None if there is none at all.

        Raises:
            CheckpointError: None is whole, or it does not belong to this task.
        """
        faults = []
        for saved in reversed(self.found()):
            fault = "; ".join(filter(None, self.engine.gathered(self._fault(saved))))
            if fault:
                faults.append(fault)
                continue
            self._load(saved, parts)
            return saved
        broken = [path for path in self.folder.glob("[0-9]*") if path.is_dir()]
        if broken:
            reason = faults[0] if faults else f"{broken[0]} has no {FACTS}"
            raise CheckpointError(f"no checkpoint can be resumed from: {reason}")
        return None

    def _fault(self, saved: Saved) -> str:
        """Why a checkpoint cannot be used, or nothing; each process looks at some of the files."""
        if saved.facts.get("sharded") != self.engine.sharded:
            return f"{saved.folder} was saved with another `engine.sharding`"
        files = saved.facts.get("files", {})
        if STATE not in files:
            return f"{saved.folder} is incomplete"
        for name in sorted(files)[self.engine.rank :: self.engine.world]:
            path, expected = saved.folder / name, files[name]
            if not path.is_file() or path.stat().st_size != expected["bytes"]:
                return f"{path} is incomplete"
            if sha256_file(path) != expected["sha256"]:
                return f"{path} is damaged"
        return ""

    def _load(self, saved: Saved, parts: Mapping[str, Any]) -> None:
        try:
            plain = torch.load(saved.folder / STATE, map_location="cpu", weights_only=True)
            for part in parts.values():
                if isinstance(part, torch.optim.Optimizer) and _is_spread(part.param_groups):
                    _fill(part)
            spread, _ = _states(parts)
            if spread:  # into the tensors of the parts, whoever holds which share of them
                state_dict_loader.load(spread, storage_reader=FileSystemReader(saved.folder))
            for name, part in parts.items():
                part.load_state_dict(spread[name] if name in spread else plain[name])
        except EzAudioError:
            raise
        except _BROKEN_SHARDS as error:
            raise CheckpointError(
                f"{saved.folder} does not belong to this run: {_reason(error)}"
            ) from None

    def _prune(self) -> None:
        saved = self.found()
        measured = [s for s in saved if self.measure in s.facts.get("measured", {})]
        best = sorted(measured, key=lambda s: float(s.facts["measured"][self.measure]))
        stay = {s.folder for s in (*saved[-self.keep_last :], *best[: self.keep_best])}
        for each in saved:
            if each.folder not in stay:
                gone = each.folder.with_name(f".{each.folder.name}.gone")
                each.folder.rename(gone)  # a kill here leaves no half checkpoint under its name
                shutil.rmtree(gone, ignore_errors=True)
        for rest in self.folder.glob(".*.gone"):
            shutil.rmtree(rest, ignore_errors=True)


class Identity:
    """What a run depends on; a checkpoint of another run is refused.

    Args:
        facts: Names to values, nested or not.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.facts = dict(facts)

    def state_dict(self) -> dict[str, Any]:
        """The facts."""
        return dict(self.facts)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Compare.

        Raises:
            InputError: The run that is to go on was another.
        """
        for name, before, now in differences(state, self.facts):
            raise InputError(name, now, f"what the unfinished run had, {before}")


def differences(before: Any, now: Any, field: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Fields whose values differ and may not: name, old value, new value."""
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        if before != now:
            yield field, before, now
        return
    for name in {**before, **now}:
        inner = f"{field}.{name}" if field else str(name)
        old, new = before.get(name), now.get(name)
        if name == "run":
            yield from differences(_seed(old), _seed(new), f"{inner}.seed")
        elif name not in _FREE:
            yield from differences(old, new, inner)


def _seed(run: Any) -> Any:
    return run.get("seed") if isinstance(run, Mapping) else None


def _write(path: Path, states: Mapping[str, Any]) -> None:
    with path.open("wb") as file:
        torch.save(dict(states), file)
        file.flush()
        os.fsync(file.fileno())


def _complete(partial: Path, target: Path, facts: dict[str, Any]) -> None:
    """Describe the files, and give the folder its name."""
    facts["files"] = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in sorted(partial.iterdir())
    }
    with (partial / FACTS).open("w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, **facts}, file)
        file.flush()
        os.fsync(file.fileno())
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    with suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def _states(parts: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the parts keep: those that are spread over processes, and the others."""
    states = {name: part.state_dict() for name, part in parts.items()}
    spread = {name: state for name, state in states.items() if _is_spread(state)}
    return spread, {name: state for name, state in states.items() if name not in spread}


def _is_spread(value: Any) -> bool:
    """Whether a tensor is spread over processes, or one in a nested value is."""
    if isinstance(value, Mapping):
        return any(map(_is_spread, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_is_spread, value))
    return hasattr(value, "placements")


def _fill(optimizer: torch.optim.Optimizer) -> None:
    """Make the state of an optimiser that has not made a step, without changing a weight."""
    for group in optimizer.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _reason(error: BaseException) -> str:
    strerror = getattr(error, "strerror", None)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return strerror or (lines[-1] if lines else type(error).__name__)
