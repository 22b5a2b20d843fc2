"""The values that travel between rooms, and the legend of shapes.

Shapes are written with these letters everywhere, in docstrings and in einops patterns:

| letter | axis | letter | axis |
|---|---|---|---|
| `B` | batch | `P` | width per head |
| `S` | audio samples | `L` | text tokens |
| `T` | latent frames | `E` | text width |
| `C` | latent channels | `R` | SOLA rank |
| `D` | width | `N` | clips, or diffusion steps prepared together |
| `H` | heads | `J` | feature width |
| `K` | classes | | |

Latents are `(B, C, T)`. A Boolean mask is named after what True means: `attend`, `regenerate`.

Torch is imported by the methods that compute: a `Clip` needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Latent: TypeAlias = "Tensor"
"""A latent, `(B, C, T)`."""


@dataclass(frozen=True)
class TextEmbedding:
    """Encoded prompts.

    Attributes:
        tokens: token vectors, `(B, L, E)`.
        attend: True where a token belongs to the prompt, bool `(B, L)`.
    """

    tokens: Tensor
    attend: Tensor

    def __post_init__(self) -> None:
        """Raise ValueError when the two shapes disagree or `attend` is not Boolean."""
        import torch

        if self.tokens.ndim != 3 or self.attend.shape != self.tokens.shape[:2]:
            raise ValueError(
                "tokens (B, L, E) and attend (B, L) disagree: "
                f"{tuple(self.tokens.shape)} and {tuple(self.attend.shape)}"
            )
        if self.attend.dtype != torch.bool:
            raise ValueError(f"attend must be Boolean, got {self.attend.dtype}")

    @property
    def batch(self) -> int:
        """Number of prompts, `B`."""
        return int(self.tokens.shape[0])

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> TextEmbedding:
        """Return a copy on `device`, with tokens of `dtype`; the mask stays Boolean."""
        return TextEmbedding(
            self.tokens.to(device=device, dtype=dtype), self.attend.to(device=device)
        )

    def select(self, rows: Sequence[int] | Tensor | slice) -> TextEmbedding:
        """Return the prompts in `rows` (indices, possibly repeated), in that order."""
        import torch

        index = rows if isinstance(rows, torch.Tensor | slice) else torch.as_tensor(list(rows))
        return TextEmbedding(self.tokens[index], self.attend[index])

    @staticmethod
    def cat(parts: Sequence[TextEmbedding]) -> TextEmbedding:
        """Join batches; shorter ones are padded at the end with masked zeros."""
        import torch

        if not parts:
            raise ValueError("nothing to join")
        length = max(part.tokens.shape[1] for part in parts)
        padded = [part.padded(length) for part in parts]
        return TextEmbedding(
            torch.cat([part.tokens for part in padded]),
            torch.cat([part.attend for part in padded]),
        )

    def padded(self, length: int) -> TextEmbedding:
        """Return `length` tokens per prompt, the added ones zero and masked."""
        from torch.nn import functional

        missing = length - self.tokens.shape[1]
        if missing < 0:
            raise ValueError(f"cannot pad {self.tokens.shape[1]} tokens to {length}")
        if missing == 0:
            return self
        return TextEmbedding(
            functional.pad(self.tokens, (0, 0, 0, missing)),
            functional.pad(self.attend, (0, missing), value=False),
        )


@dataclass(frozen=True)
class Clip:
    """A sound in memory.

    Attributes:
        samples: float32 `(S,)`, or `(channels, S)` where channels are kept; nominally within
            [-1, 1].
        sample_rate: in Hz.
    """

    samples: npt.NDArray[np.float32]
    sample_rate: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return float(self.samples.shape[-1] / self.sample_rate)
