"""Named protocols: everything that decides a score, and a hash over it.

A protocol lists panels: an extractor, how sounds are loaded for it, and the metrics that are
computed from what it hears. Its hash covers all of that, the constants of the metrics, and the
hashes of the extractors' weights; scores under different hashes are refused in one table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from ezaudio.config import Config, load_config
from ezaudio.errors import InputError
from ezaudio.evaluation.loading import Loading
from ezaudio.evaluation.metrics import METRICS, MetricSettings

REVISION = 1
"""Raised when code that decides a score changes its meaning; a part of every hash."""

WAVEFORM = "waveform"
"""The panel whose metrics need no network."""


class Panel(Config):
    """An extractor and what is computed from it.

    Attributes:
        extractor: its name, or `waveform`.
        metrics: names of metrics.
        loading: how sounds are loaded for it.
    """

    extractor: str
    metrics: tuple[str, ...] = Field(min_length=1)
    loading: Loading = Loading()


class Protocol(Config):
    """A protocol.

    Attributes:
        name: of the protocol.
        summary: where it comes from, for readers.
        panels: what is heard and computed.
        settings: constants of the metrics.
    """

    name: str
    summary: str = ""
    panels: tuple[Panel, ...] = Field(min_length=1)
    settings: MetricSettings = MetricSettings()

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Every (extractor, metric), in order."""
        return tuple((panel.extractor, name) for panel in self.panels for name in panel.metrics)

    def hash(self, weights: Mapping[str, str]) -> str:
        """Twelve hexadecimal digits over the protocol and the weights behind it.

        Args:
            weights: identity of each extractor's weights.
        """
        values = self.model_dump(mode="json", exclude={"summary"})
        used = {panel.extractor: weights.get(panel.extractor) for panel in self.panels}
        text = json.dumps([REVISION, values, used], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


_PAPER_LOADING = Loading(
    channel="first", subtract_mean=True, resampler="windowed-sinc", shortest_samples=32_000
)
_WAVEFORM_METRICS = (
    "silent",
    "clipped",
    "silent_tail",
    "loudness",
    "bandwidth",
    "texture",
    "repeats",
    "duration_error",
)
_SETS = ("fd", "kad", "precision", "recall", "coverage")
_EVENTS = ("events", "order", "order_given_events")
_FAULTS = Panel(extractor=WAVEFORM, metrics=_WAVEFORM_METRICS)
_CLAP = Panel(extractor="clap-general", metrics=("clap",), loading=Loading(channel="mean"))

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="starter",
            summary="the shipped tagger listens to everything; runs offline",
            panels=(
                Panel(
                    extractor="starter-tagger",
                    metrics=(*_SETS, "kl", "kl_sigmoid", "is", "caption", *_EVENTS, "diversity"),
                ),
                Panel(extractor="prints", metrics=("near_copies",)),
                _FAULTS,
            ),
        ),
        Protocol(
            name="ezaudio-2409.10819",
            summary="the paper's, after audioldm_eval: PANNs Cnn14 at 16 kHz, CLAP general",
            panels=(
                Panel(
                    extractor="panns-16k",
                    metrics=("fd", "kl", "kl_sigmoid", "is"),
                    loading=_PAPER_LOADING,
                ),
                _CLAP,
            ),
        ),
        Protocol(
            name="panns-32k",
            summary="PANNs Cnn14 at 32 kHz, with KAD, precision and what the waveform tells",
            panels=(
                Panel(
                    extractor="panns-32k",
                    metrics=(*_SETS, "kl", "kl_reverse", "kl_sigmoid", "is", "diversity"),
                ),
                _CLAP,
                _FAULTS,
            ),
        ),
        Protocol(
            name="audiocraft",
            summary="FAD on VGGish at 16 kHz, KL(target ‖ generated) on PaSST at 32 kHz",
            panels=(
                Panel(extractor="vggish", metrics=("fad",)),
                Panel(extractor="passt", metrics=("kl",)),
            ),
        ),
        Protocol(
            name="kad",
            summary="kernel distance on PANNs at 32 kHz: unbiased at any number of clips",
            panels=(Panel(extractor="panns-32k", metrics=("kad",)),),
        ),
    )
}
"""Every protocol by name."""


def find_protocol(name: str | Path) -> Protocol:
    """Find a protocol by name, or read one from a YAML file.

    Raises:
        InputError: neither, or a metric that does not exist.
    """
    found = PROTOCOLS.get(str(name))
    if found is None and Path(name).suffix in (".yaml", ".yml"):
        found = load_config(Protocol, Path(name))
    if found is None:
        raise InputError("protocol", str(name), f"one of {', '.join(PROTOCOLS)}, or a YAML file")
    for _, metric in found.columns:
        if metric not in METRICS:
            raise InputError("metrics", metric, f"one of {', '.join(METRICS)}")
    return found


def require_one_hash(hashes: Mapping[str, str]) -> str:
    """Give the hash that all systems share.

    Args:
        hashes: hash by name of the system.

    Raises:
        InputError: scores under different protocols would stand in one table.
    """
    if not hashes:
        raise InputError("systems", [], "at least one system")
    first, shared = next(iter(hashes.items()))
    for name, found in hashes.items():
        if found != shared:
            raise InputError(
                "protocol", f"{name}: {found}", f"{shared}, as {first}; one table has one protocol"
            )
    return shared
