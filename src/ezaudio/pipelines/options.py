"""What a user may set, with defaults, limits and help texts: one source for Python, CLI and server.

Options come in layers: the defaults here (the paper's) are replaced by what a model's `model.json`
says, and that by what the user gives. `None` means: not given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from ezaudio.config import Config, load_config
from ezaudio.diffusion import MAX_SEED, SAMPLERS, TIME_GRIDS
from ezaudio.errors import InputError
from ezaudio.pipelines.choices import allowed_names

MAX_PROMPT_CHARACTERS = 2000
"""Text encoders read about 100 tokens; a longer text is a mistake rather than a prompt."""

MAX_STEPS = 1000
MAX_TAKES = 1000
MIN_DURATION_S = 0.1
DEFAULT_BATCH_SIZE = 8
MAX_BATCH_SIZE = 256
ORDERS = ("split", "whole")
DTYPES = ("auto", "float32", "bfloat16", "float16")

_Number = Annotated[float, Field(allow_inf_nan=False)]


def _interval(value: object) -> object:
    """Accept `"20:80"` beside a pair; what is no pair of numbers is refused as a whole."""
    parts = value.split(":") if isinstance(value, str) else value
    try:
        low, high = (float(part) for part in parts)  # type: ignore[attr-defined]
    except (TypeError, ValueError, OverflowError):
        low, high = math.nan, math.nan
    if not 0 <= low <= high <= 90:
        raise ValueError("two angles LOW:HIGH with 0 <= LOW <= HIGH <= 90")
    return low, high


Interval = Annotated[tuple[float, float], BeforeValidator(_interval)]
"""Two angles in degrees, as a pair or as `"low:high"`."""


class ModelOptions(Config):
    """Which model, and where it runs."""

    model: str = Field(
        "starter", description="Name of a model (see `ezaudio models`), or its folder."
    )
    device: str = Field("auto", description="cpu, cuda, cuda:N or mps; auto takes the best.")
    dtype: str = Field("auto", description=f"Precision of the network: {', '.join(DTYPES)}.")

    @field_validator("dtype")
    @classmethod
    def _known_dtype(cls, value: str) -> str:
        return _one_of(value, DTYPES)


class SamplingOptions(Config):
    """How a sound is denoised.

    Deviation: the authors' code draws fresh noise at every step (eta 1); here the default is 0, and
        a seed decides everything from the start. Both can be asked for.
    """

    steps: int = Field(50, ge=1, le=MAX_STEPS, description="Diffusion steps.")
    sampler: str = Field("ddim", description=f"Sampler: {', '.join(SAMPLERS)}.")
    grid: str = Field("trailing", description=f"Where the steps lie: {', '.join(TIME_GRIDS)}.")
    guidance_scale: _Number = Field(
        5.0, ge=0, le=100, description="How strongly the prompt steers; 1 is no guidance."
    )
    guidance_rescale: _Number = Field(
        0.75, ge=0, le=1, description="Share of the guidance rescaling, 0 to 1."
    )
    guidance_interval: Interval | None = Field(
        None, description="Guide only between these noise angles in degrees, as LOW:HIGH."
    )
    eta: _Number = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of fresh noise in each step, 0 to 1 (some samplers only).",
    )
    negative_prompt: str = Field("", description="What the sound should not be.")
    seed: int | None = Field(
        None,
        ge=0,
        le=MAX_SEED,
        description="Take k has the seed SEED + k, counted from 0; in a list, every row but the "
        "first has a seed of its own that follows from SEED and its number; random when left out.",
    )
    num: int = Field(1, ge=1, le=MAX_TAKES, description="Takes of each prompt.")
    fade_s: _Number = Field(
        0.005,
        ge=0,
        le=60,
        description="Fade at the beginning and the end in seconds, against clicks; 0 for loops.",
    )

    @field_validator("sampler")
    @classmethod
    def _known_sampler(cls, value: str) -> str:
        return _one_of(value, tuple(SAMPLERS))

    @field_validator("grid")
    @classmethod
    def _known_grid(cls, value: str) -> str:
        return _one_of(value, tuple(TIME_GRIDS))

    @field_validator("eta")
    @classmethod
    def _understood(cls, value: float, info: ValidationInfo) -> float:
        sampler = info.data.get("sampler")
        if value > 0 and sampler is not None and not SAMPLERS[sampler].stochastic:
            able = ", ".join(name for name, entry in SAMPLERS.items() if entry.stochastic)
            raise ValueError(f"0 with the sampler {sampler}; more than 0 only with {able}")
        return value

    @field_validator("negative_prompt")
    @classmethod
    def _short(cls, value: str) -> str:
        if problem := _text_problem(value):
            raise ValueError(problem)
        return value

    @field_validator("num")
    @classmethod
    def _seeds_fit(cls, value: int, info: ValidationInfo) -> int:
        seed = info.data.get("seed")
        if seed is not None and seed + value - 1 > MAX_SEED:
            raise ValueError(f"at most {MAX_SEED - seed + 1} with the seed {seed}")
        return value


class GenerateOptions(SamplingOptions):
    """How a sound is generated."""

    duration_s: _Number = Field(
        10.0, ge=MIN_DURATION_S, description="Length of the sound in seconds."
    )
    order: str = Field(
        "whole",
        description=f"How 'A, then B' is read, each event in its part or not: {', '.join(ORDERS)}.",
    )
    loudness: _Number | None = Field(
        None,
        ge=-70,
        le=0,
        description="Loudness of each sound in LUFS, such as -16, as far as its true peak stays "
        "under -1 dB; left out, a sound keeps its level.",
    )

    @field_validator("order")
    @classmethod
    def _known_order(cls, value: str) -> str:
        return _one_of(value, ORDERS)


class EditOptions(SamplingOptions):
    """How a span of a sound is regenerated."""

    context_s: _Number = Field(
        3.0, ge=0, le=60, description="Seconds on each side of a span that the model hears."
    )
    crossfade_s: _Number = Field(
        0.02, ge=0, le=1, description="Longest cross-fade in seconds; it lies inside the span."
    )


Options = TypeVar("Options", bound=SamplingOptions)


def resolve_options(
    cls: type[Options], defaults: Mapping[str, Any], given: Mapping[str, Any]
) -> Options:
    """Layer what the user gave over a model's defaults over the class's own.

    Args:
        cls: which options.
        defaults: of the model; fields that `cls` lacks are left out.
        given: by the user; None counts as not given.

    Raises:
        InputError: a field is unknown, or a value is not allowed.
    """
    layered = {name: value for name, value in defaults.items() if name in cls.model_fields}
    if "sampler" in given and given["sampler"] is not None:
        layered.pop("eta", None)  # a default of the model's own sampler
    layered.update({name: value for name, value in given.items() if value is not None})
    if unknown := sorted(set(layered) - set(cls.model_fields)):
        raise InputError(
            unknown[0], layered[unknown[0]], allowed_names(unknown[0], cls.model_fields)
        )
    return load_config(cls, layered)


def check_prompt(prompt: object, field: str = "prompt") -> str:
    """Give a prompt back if it can be read; an empty one asks for any sound.

    Raises:
        InputError: not text, or longer than `MAX_PROMPT_CHARACTERS`.
    """
    if not isinstance(prompt, str):
        raise InputError(field, prompt, f"a text of at most {MAX_PROMPT_CHARACTERS} characters")
    if problem := _text_problem(prompt):
        raise InputError(field, prompt, problem)
    return prompt


def check_count(value: object, field: str, most: int) -> int:
    """Give a whole number from 1 to `most` back.

    Raises:
        InputError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InputError(field, value, f"a whole number from 1 to {most}")
    return value


def _one_of(value: str, names: tuple[str, ...]) -> str:
    if value not in names:
        raise ValueError(allowed_names(value, names))
    return value


def _text_problem(text: str) -> str | None:
    if len(text) > MAX_PROMPT_CHARACTERS:
        return f"at most {MAX_PROMPT_CHARACTERS} characters, not {len(text)}"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "valid Unicode text"
    return None
