"""Does "A then B" sound so? Whether both events are heard, and which comes first.

A tagger listens to windows along the clip. An event counts as heard where its probability reaches a
threshold in some window. Where both are, the one whose probability lies earlier on average comes
first. Existence and order are told apart: a clip that lacks an event says nothing about order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ezaudio.errors import InputError

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class EventOrder:
    """What was heard of the two events of each clip.

    Attributes:
        both: whether both were heard, (N,).
        ordered: whether the first came first, (N,); only meaningful where `both`.
    """

    both: npt.NDArray[np.bool_]
    ordered: npt.NDArray[np.bool_]


def event_order(presence: FloatArray, *, threshold: float = 0.3) -> EventOrder:
    """Read the order of two events off their probabilities.

    Args:
        presence: (N, W, 2), probabilities of the event that should come first and of the other, in
            W windows at equal distances; NaN pads a clip with fewer windows at its end.
        threshold: probability from which an event counts as heard.

    Raises:
        InputError: another shape, or a clip without a window.
    """
    if presence.ndim != 3 or presence.shape[2] != 2 or not presence.size:
        raise InputError("presence", presence.shape, "(N, W, 2) probabilities")
    if np.isnan(presence[:, 0]).any():
        raise InputError("presence", "a clip without windows", "at least one window per clip")
    filled = np.nan_to_num(presence.astype(np.float64))
    both = (filled.max(1) >= threshold).all(1)
    times = np.arange(presence.shape[1])[None, :, None]
    # Above the clip's own quietest window: a steady doubt about an event has no place in time.
    ground = np.nanmin(presence.astype(np.float64), axis=1, keepdims=True)
    weight = np.where(np.isnan(presence), 0.0, filled - ground) + 1e-9
    weight = np.where(np.isnan(presence), 0.0, weight)
    centre = (weight * times).sum(1) / weight.sum(1)
    return EventOrder(both, centre[:, 0] < centre[:, 1])
