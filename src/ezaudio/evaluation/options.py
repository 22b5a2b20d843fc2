"""What may be said of an evaluation. Nothing here needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field

from ezaudio.config import Config

Layout: TypeAlias = Literal["grid", "table-1", "table-2", "figure-2"]
LAYOUTS: tuple[Layout, ...] = ("grid", "table-1", "table-2", "figure-2")
"""How a sweep is laid out: a table of its cells, or a table or figure of the paper."""


class EvaluationOptions(Config):
    """What is scored, and how."""

    protocol: str = Field("starter", description="Name of a protocol, or a YAML file.")
    manifest: str | None = Field(
        None, description="Any list with `file` or `name`, and `caption`; or a named list."
    )
    split: str | None = Field(None, description="Rows of this split of the manifest only.")
    exclude: Path | None = Field(None, description="A list of clips to keep out of the manifest.")
    audiocaps: Path | None = Field(None, description="AudioCaps' own test.csv, for its lists.")
    reference: Path | None = Field(
        None, description="Folder of recordings; else those that the manifest names."
    )
    limit: int | None = Field(None, ge=1, description="Only so many clips, evenly spread.")
    seeds: int = Field(1, ge=1, le=100, description="Takes of each clip.")
    seed: int = Field(0, ge=0, description="First seed; each clip and take follows from it.")
    duration_s: float | None = Field(
        None, gt=0, description="Length of every clip; else that of its recording."
    )
    batch_size: int = Field(8, ge=1, le=256, description="Most sounds that are made at once.")
    shard: str = Field("0/1", description="Make share K of N only, as K/N, and do not score.")
    cache: Path | None = Field(None, description="File of what was heard; else the user's cache.")
    weights: str | None = Field(
        None, description="Weights of extractors, as NAME=PATH, separated by commas."
    )
