"""From a network without text to one with text (paper, section 2.3: stage 1 to stage 2)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ezaudio.dit.model import EzAudioDiT
from ezaudio.errors import CheckpointError


def load_without_text(network: EzAudioDiT, state: Mapping[str, Tensor]) -> None:
    """Load the weights of a network without text into a fresh one with text, in place.

    The parts that read the text keep their fresh weights. Their output projections are zero, so the
    network computes at first what it computed without text.

    Args:
        network: a network with text whose other settings are those of `state`.
        state: the state dict of an `EzAudioDiT` without text.

    Raises:
        CheckpointError: another tensor is missing, unknown, or of another shape.
    """
    try:
        missing, unknown = network.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"the weights do not fit: {str(error).splitlines()[-1]}") from None
    missing = [name for name in missing if "text" not in name.split(".")]
    if missing or unknown:
        raise CheckpointError(f"the weights do not fit at {(missing + unknown)[0]!r}.")
