"""Weights from a file into a module, with errors that name the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ezaudio.errors import CheckpointError

_SHOWN_CHARACTERS = 120


def load_state(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    path: str | Path,
    *,
    assign: bool = False,
) -> None:
    """Load tensors into a module; half-precision ones are brought to float32.

    Args:
        module: what the tensors belong to.
        tensors: name to tensor.
        path: where they come from, for errors.
        assign: take the tensors themselves in place of copying them, as for a module that was built
            on the `meta` device.

    Raises:
        CheckpointError: a tensor is missing, unknown, or of another shape.
    """
    whole = {name: x.float() if x.is_floating_point() else x for name, x in tensors.items()}
    try:
        module.load_state_dict(whole, strict=True, assign=assign)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
        detail = (lines or [str(error)])[0][:_SHOWN_CHARACTERS]
        raise CheckpointError(
            f"{path}: its tensors do not fit its configuration ({detail})"
        ) from None
