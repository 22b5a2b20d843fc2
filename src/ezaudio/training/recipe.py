"""Recipes: YAML files that say everything that a training depends on.

A recipe may name a `base`, a file beside it or a recipe that comes with the package, and say only
what differs: mappings are merged unless their `kind` differs, anything else is replaced, and `null`
removes an entry. What all stages share stands under `each`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import yaml
from pydantic import BeforeValidator, model_validator

from ezaudio.config import Config, load_config
from ezaudio.dit import DiTConfig
from ezaudio.errors import InputError
from ezaudio.text import TEXT_ENCODERS
from ezaudio.training.loop.distributed import EngineConfig
from ezaudio.training.loop.trainer import Job
from ezaudio.training.tasks.autoencoder import AutoencoderRecipe
from ezaudio.training.tasks.diffusion import DiffusionTask, load_material
from ezaudio.training.tasks.plan import plan_stage
from ezaudio.training.tasks.stages import StageConfig

FOLDER = Path(__file__).parents[1] / "recipes"
"""The recipes that come with the package."""

_DEEPEST = 8


class Recipe(Protocol):
    """What every kind of recipe has."""

    @property
    def engine(self) -> EngineConfig:
        """How it computes."""

    def jobs(self) -> Sequence[Job]:
        """Its runs, in order."""


def _text(value: object) -> object:
    """Read the settings of a text encoder by the registry."""
    if not isinstance(value, Mapping):
        return value
    kind = str(value.get("kind"))
    if kind not in TEXT_ENCODERS:
        raise ValueError(f"kind: {', '.join(TEXT_ENCODERS)}")
    return load_config(TEXT_ENCODERS[kind], value)


class DiffusionRecipe(Config):
    """Training of a diffusion transformer, in stages.

    Attributes:
        kind: `diffusion`.
        output: Folder of the runs; each of several stages has a folder in it.
        engine: How it computes.
        model: Network.
        text: Text encoder.
        stages: By name, in order; each begins from the one before unless it says otherwise.
    """

    kind: Literal["diffusion"] = "diffusion"
    output: Path
    engine: EngineConfig = EngineConfig()
    model: DiTConfig
    text: Annotated[Any, BeforeValidator(_text)]
    stages: dict[str, StageConfig]

    @model_validator(mode="before")
    @classmethod
    def _shared(cls, values: Any) -> Any:
        """Put what stands under `each` below what each stage says itself."""
        if not isinstance(values, Mapping) or not isinstance(values.get("stages"), Mapping):
            return values
        rest = {name: value for name, value in values.items() if name != "each"}
        stages = {k: v for k, v in values["stages"].items() if v is not None}
        if isinstance(each := values.get("each"), Mapping):
            known = {k: v for k, v in stages.items() if isinstance(v, Mapping)}
            stages |= {k: merged(each, v) for k, v in known.items()}
        return {**rest, "stages": stages}

    @model_validator(mode="after")
    def _some(self) -> DiffusionRecipe:
        if not self.stages:
            raise ValueError("at least one stage")
        return self

    def jobs(self) -> list[Job]:
        """One run per stage."""
        found: list[Job] = []
        before: Path | None = None
        for name, stage in self.stages.items():
            folder = self.output if len(self.stages) == 1 else self.output / name
            start = stage.start or before
            found.append(self._job(name, folder, stage, start))
            before = folder / "dit.safetensors"
        return found

    def _job(self, name: str, folder: Path, stage: StageConfig, start: Path | None) -> Job:
        model = self.model if stage.text else self.model.model_copy(update={"text_width": None})
        return Job(
            name=name,
            folder=folder,
            config=self.model_copy(update={"stages": {name: stage}}),
            run=stage.run,
            schedule=stage.optim,
            make=lambda engine: DiffusionTask(
                load_material(self.model, self.text, stage, engine, start=start), stage, engine
            ),
            plan=lambda world: plan_stage(model, stage, world),
        )


RECIPES: dict[str, type[DiffusionRecipe] | type[AutoencoderRecipe]] = {
    "diffusion": DiffusionRecipe,
    "autoencoder": AutoencoderRecipe,
}
"""Kind of a recipe to its settings; a new kind of task is one line here."""


def read_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        source: A YAML file, or the name of a recipe that comes with the package.
        overrides: `a.b=3` each.

    Raises:
        InputError: There is no such recipe, or a field is unknown, missing or not allowed.
    """
    values = read_values(find_recipe(source))
    kind = values.get("kind", "diffusion")
    if kind not in RECIPES:
        raise InputError("kind", kind, ", ".join(RECIPES))
    recipe: Recipe = load_config(RECIPES[kind], values, overrides)
    return recipe


def find_recipe(source: str | Path, *, beside: Path | None = None) -> Path:
    """A file, one beside another, or one that comes with the package."""
    path = Path(source)
    places = [path, *([beside / path] if beside else []), FOLDER / f"{path.name}.yaml"]
    for place in places:
        if place.is_file():
            return place
    known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
    raise InputError("recipe", str(source), f"a YAML file, or one of {known}")


def read_values(path: Path, *, depth: int = 0) -> dict[str, Any]:
    """The values of a recipe with those of its bases below them.

    Raises:
        InputError: It is no YAML mapping, or its bases go in a circle.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise InputError("recipe", str(path), "a readable YAML file") from None
    if not isinstance(values, dict):
        raise InputError("recipe", str(path), "a YAML mapping of field to value")
    base = values.pop("base", None)
    if base is None:
        return values
    if depth == _DEEPEST:
        raise InputError("base", base, f"at most {_DEEPEST} files, each based on the next")
    below = read_values(find_recipe(base, beside=path.parent), depth=depth + 1)
    return merged(below, values)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged, other values replaced, and None removes an entry.

    A mapping of another `kind` is another thing, and replaces the one below.
    """
    if above.get("kind", below.get("kind")) != below.get("kind"):
        return dict(above)
    result = dict(below)
    for name, value in above.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(result.get(name), Mapping):
            result[name] = merged(result[name], value)
        else:
            result[name] = value
    return result
