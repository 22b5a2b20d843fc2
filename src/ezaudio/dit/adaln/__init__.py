"""How the diffusion step steers the blocks: three adaptive layer norms (paper, section 2.1).

Every variant turns the vector of a diffusion step into six vectors per block: shift, scale and gate
of the self-attention, then of the feed-forward layer. All blocks are computed by one batched
product, so that the modulation of every step of a generation can be prepared at once.

A new variant is one file with a config that has `kind` and `build`, and one line in the registry
and the union.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from ezaudio.config import Config
from ezaudio.dit.adaln.full import FullAdaLN
from ezaudio.dit.adaln.single import SingleAdaLN
from ezaudio.dit.adaln.sola import SolaAdaLN

AdaLNConfig: TypeAlias = Annotated[FullAdaLN | SingleAdaLN | SolaAdaLN, Field(discriminator="kind")]
"""Settings of any variant, told apart by `kind`."""

ADALN_VARIANTS: dict[str, type[Config]] = {
    "full": FullAdaLN,
    "single": SingleAdaLN,
    "sola": SolaAdaLN,
}
"""Kind of a variant to its settings class."""

__all__ = ["ADALN_VARIANTS", "AdaLNConfig", "FullAdaLN", "SingleAdaLN", "SolaAdaLN"]
