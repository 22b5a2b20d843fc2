"""Strict, frozen settings: YAML in, YAML out, dotted overrides.

A settings class says what may be set; anything else is an `InputError` that names the field, what
came and
what is allowed. Settings are values: they never change after they were made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from ezaudio.errors import InputError


class Config(BaseModel):
    """Base of all settings: frozen, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


C = TypeVar("C", bound=Config)


def load_config(
    cls: type[C], source: str | Path | Mapping[str, Any], overrides: Iterable[str] = ()
) -> C:
    """Read settings from a YAML file or a mapping.

    Args:
        cls: the settings class.
        source: path of a YAML file, or the values themselves (left unchanged).
        overrides: `"a.b=3"` each; the right side is YAML, so `true`, `[1, 2]` and `null` work.

    Raises:
        InputError: a field is unknown, missing or has a value that is not allowed; the file cannot
            be read.
    """
    values = _copied(source) if isinstance(source, Mapping) else _read_yaml(Path(source))
    for override in overrides:
        _apply(values, override)
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        raise _input_error(cls, error.errors()[0]) from None


def dump_config(config: Config) -> str:
    """Write settings as YAML; `load_config` reads them back to an equal value."""
    values = config.model_dump(mode="json")
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("config", str(path), f"a readable file ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise InputError("config", str(path), "a valid YAML file") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError("config", str(path), "a YAML mapping of field to value")
    return values


def _copied(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _copied(value) if isinstance(value, Mapping) else value
        for key, value in mapping.items()
    }


def _apply(values: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    names = dotted.strip().split(".")
    if not equals or not all(names):
        raise InputError("override", override, "field.field=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(dotted, text, "a YAML value") from None
    for name in names[:-1]:
        inner = values.setdefault(name, {})
        if isinstance(inner, Config):
            inner = values[name] = inner.model_dump()
        if not isinstance(inner, dict):
            raise InputError(dotted, override, f"fields inside a mapping; `{name}` is a value")
        values = inner
    values[names[-1]] = value


def _input_error(cls: type[Config], details: ErrorDetails) -> InputError:
    field = ".".join(str(part) for part in details["loc"]) or cls.__name__
    if details["type"] == "extra_forbidden":
        known = _fields_at(cls, details["loc"][:-1])
        allowed = f"the fields {', '.join(known)}" if known else "other fields"
        return InputError(field, details["input"], f"{allowed}; this one is unknown")
    if details["type"] == "missing":
        return InputError(field, None, "a value; this field is required")
    if details["type"] == "union_tag_invalid":
        kind, tags = details["ctx"]["discriminator"].strip("'"), details["ctx"]["expected_tags"]
        return InputError(f"{field}.{kind}", details["ctx"]["tag"], tags)
    if details["type"] == "path_type":
        return InputError(field, details["input"], "a path")
    message = details["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return InputError(field, details["input"], message)


def _fields_at(cls: type[Config], places: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the settings inside of others; nothing where types leave it open."""
    found: Any = cls
    for place in places:
        if isinstance(found, type) and issubclass(found, BaseModel):
            field = found.model_fields.get(str(place))
            found = None if field is None else field.annotation
        else:
            found = _inside(found, place)
    models = [m for m in (found, *get_args(found)) if isinstance(m, type) and _is_settings(m)]
    return [*models[0].model_fields] if len(models) == 1 else []


def _is_settings(kind: type) -> TypeGuard[type[BaseModel]]:
    return issubclass(kind, BaseModel)


def _inside(annotation: Any, place: int | str) -> Any:
    """The type of a value of a mapping or a sequence, or of one kind of several."""
    arguments = get_args(annotation)
    for each in arguments:
        kind = getattr(each, "model_fields", {}).get("kind")
        if kind is not None and kind.default == place:
            return each
    return arguments[-1] if arguments else None
