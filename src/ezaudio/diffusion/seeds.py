"""Seeds, and the seeds that follow from one: of the rows of a list, of the windows of an edit.

Everything that is made under one seed has noise of its own. With the same noise, the events of all
sounds of a list fall at the same times, whatever their prompts say.
"""

from __future__ import annotations

MAX_SEED = 2**32 - 1
"""The generator keeps 32 bits of its seed; larger ones would repeat."""


def derived_seed(seed: int, index: int, *, takes: int = 1) -> int:
    """Seed number `index` that follows from a seed: itself for 0, unrelated ones after it.

    Args:
        seed: from 0 to `MAX_SEED`.
        index: of the row or the window, from 0.
        takes: so many seeds that follow one another stay within `MAX_SEED`.
    """
    if index == 0:
        return seed
    import numpy as np

    drawn = np.random.SeedSequence([seed, index]).generate_state(1)[0]
    return int(drawn) % (MAX_SEED - takes + 2)
