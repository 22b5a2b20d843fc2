"""The numbers of the paper (arXiv 2409.10819), for a column beside what is measured here.

They were measured by the authors, with a selection of captions that they did not publish. A number
here and a number there are comparable as far as the protocol `ezaudio-2409.10819` is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperRow:
    """A line of Table 3.

    Attributes:
        title: of the system, as the paper has it.
        parameters: trainable ones.
        fd: on PANNs.
        kl: on PANNs.
        inception: IS on PANNs.
        clap: CLAP score.
    """

    title: str
    parameters: str | None
    fd: float | None
    kl: float | None
    inception: float | None
    clap: float | None


_ROWS = (
    PaperRow("Ground Truth", None, None, None, None, 0.302),
    PaperRow("Tango", "866M", 19.07, 1.33, 7.70, 0.293),
    PaperRow("Tango-AF", "866M", 21.84, 1.32, 9.20, 0.269),
    PaperRow("AudioLDM", "739M", 30.96, 2.36, 7.38, 0.197),
    PaperRow("AudioLDM-2", "712M", 25.03, 1.75, 8.13, 0.236),
    PaperRow("Make-An-Audio", "453M", 18.77, 1.71, 8.80, 0.244),
    PaperRow("Make-An-Audio-2", "937M", 16.16, 1.42, 9.93, 0.284),
    PaperRow("GenAU-Large", "1.25B", 17.21, 1.40, 11.42, 0.270),
    PaperRow("EzAudio-L", "596M", 15.59, 1.38, 11.35, 0.319),
    PaperRow("EzAudio-XL", "874M", 14.98, 1.29, 11.38, 0.314),
)
TABLE_3: dict[str, PaperRow] = {row.title.lower(): row for row in _ROWS}
"""Table 3 by the name of the system in lower case."""

_OWN_NAMES = {
    "l": "ezaudio-l",
    "xl": "ezaudio-xl",
    "tango-full-ft-ac": "tango",
    "tango-af-ac-ft-ac": "tango-af",
    "audioldm-l-full": "audioldm",
    "audioldm2-large": "audioldm-2",
    "real: the recordings": "ground truth",
}


def published(title: str) -> PaperRow | None:
    """The line of Table 3 for a row of ours; models may go by the names of their checkpoints."""
    name = title.lower()
    return TABLE_3.get(_OWN_NAMES.get(name, name))
