import pytest
from pydantic import Field, ValidationError

from ezaudio.config import Config, dump_config, load_config
from ezaudio.errors import InputError


class Inner(Config):
    rate: float = 1.0
    names: tuple[str, ...] = ()


class Outer(Config):
    inner: Inner = Inner()
    steps: int = Field(default=50, ge=1, le=1000)


def test_settings_survive_a_round_trip_through_yaml(tmp_path):
    config = Outer(inner=Inner(rate=0.5, names=("a", "é")), steps=3)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(Outer, path) == config


def test_dotted_overrides_reach_inside_and_leave_the_source_alone():
    source = {"inner": {"rate": 1.0}}
    config = load_config(Outer, source, ["inner.rate=0.25", "inner.names=[x]", "steps=7"])
    assert config == Outer(inner=Inner(rate=0.25, names=("x",)), steps=7)
    assert source == {"inner": {"rate": 1.0}}


def test_an_override_creates_the_mapping_that_it_needs():
    assert load_config(Outer, {}, ["inner.rate=2"]).inner.rate == 2.0


@pytest.mark.parametrize(
    ("values", "overrides", "field"),
    [
        ({"step": 3}, (), "step"),
        ({"steps": 0}, (), "steps"),
        ({"steps": "many"}, (), "steps"),
        ({"inner": {"rate": "fast"}}, (), "inner.rate"),
        ({}, ["steps"], "override"),
        ({}, ["steps.x.y=1"], "steps"),
        ({"steps": 3}, ["steps.x=1"], "steps.x"),
        ({}, ["steps=[1"], "steps"),
    ],
)
def test_what_is_not_allowed_is_named_in_one_line(values, overrides, field):
    with pytest.raises(InputError) as caught:
        load_config(Outer, values, overrides)
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"[1, 2", b"- a list", b"\xff\xfe\x00"])
def test_a_file_that_is_no_settings_file_gives_one_clear_line(tmp_path, content):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match="config"):
        load_config(Outer, path)


def test_a_missing_file_gives_one_clear_line_and_an_empty_one_the_defaults(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_config(Outer, tmp_path / "absent.yaml")
    empty = tmp_path / "empty.yaml"
    empty.touch()
    assert load_config(Outer, empty) == Outer()


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        Outer().steps = 3
