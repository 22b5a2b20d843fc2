"""What may be said of a listening test. Nothing here needs torch."""

from __future__ import annotations

from pydantic import Field

from ezaudio.config import Config


class StudyOptions(Config):
    """How a listening test is built."""

    prompts: int = Field(30, ge=1, description="Prompts, chosen at random.")
    checks: int = Field(3, ge=0, le=50, description="Attention checks.")
    seed: int = Field(0, ge=0, description="Of the choice and of the orders.")
    per_listener: int | None = Field(
        None, ge=1, description="Sounds that each listener rates; all when left out."
    )
    title: str = Field("Listening test", description="What listeners see above it.")
