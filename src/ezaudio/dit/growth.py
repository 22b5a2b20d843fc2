"""From a smaller network to a larger one that computes the same at first.

Source: paper, section 2.3 (stage 1 to stage 2).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ezaudio.dit.model import EzAudioDiT
from ezaudio.errors import CheckpointError

_GROWN = ("text", "ends")
"""Parts whose fresh weights add nothing."""


def load_grown(network: EzAudioDiT, state: Mapping[str, Tensor]) -> None:
    """Load weights into a fresh network that may read text or know its place, in place.

    A part that the weights lack, the text's or the place's, keeps its fresh weights. Its output
    projections are zero, so the network computes at first what it computed without that part.

    Args:
        network: a fresh network whose other settings are those of `state`.
        state: the state dict of an `EzAudioDiT`, with or without these parts.

    Raises:
        CheckpointError: another tensor is missing, unknown, or of another shape, or a part is there
            by half.
    """
    try:
        missing, unknown = network.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"the weights do not fit: {str(error).splitlines()[-1]}") from None
    known = {part for name in state for part in _parts(name)}
    wrong = [name for name in missing if not _parts(name) or _parts(name) & known]
    if wrong or unknown:
        raise CheckpointError(f"the weights do not fit at {(wrong + unknown)[0]!r}.")


def _parts(name: str) -> set[str]:
    """Which of the parts that may grow a tensor belongs to."""
    return set(name.split(".")) & set(_GROWN)
