"""Options: layers, limits, suggestions; whatever comes, the answer is a value or one clear line."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ezaudio.diffusion import SAMPLERS, TIME_GRIDS
from ezaudio.errors import InputError
from ezaudio.pipelines import EditOptions, GenerateOptions
from ezaudio.pipelines.choices import allowed_names
from ezaudio.pipelines.options import MAX_PROMPT_CHARACTERS, check_prompt, resolve_options

FIELDS = sorted({*GenerateOptions.model_fields, *EditOptions.model_fields})
anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([*SAMPLERS, *TIME_GRIDS, "20:80", "80:20", "nan", "-1", "1e400"]),
    st.lists(st.floats(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@settings(max_examples=300, deadline=None)
@given(cls=st.sampled_from([GenerateOptions, EditOptions]), values=st.data())
def test_whatever_is_asked_for_is_resolved_or_refused_in_one_line(cls, values):
    given_values = values.draw(st.dictionaries(st.sampled_from(FIELDS), anything, max_size=4))
    try:
        options = resolve_options(cls, {}, given_values)
    except InputError as error:
        assert error.field in FIELDS
        assert "\n" not in str(error)
        assert error.field in str(error)
        return
    assert 1 <= options.steps <= 1000
    assert options.sampler in SAMPLERS
    assert options.grid in TIME_GRIDS
    assert 0 <= options.guidance_scale <= 100
    assert 0 <= options.guidance_rescale <= 1
    assert options.eta == 0 or SAMPLERS[options.sampler].stochastic
    assert options.seed is None or options.seed + options.num - 1 < 2**32
    for value in options.model_dump().values():
        assert not isinstance(value, float) or math.isfinite(value)


def test_options_come_in_layers():
    defaults = {"steps": 20, "sampler": "dpmpp-2m", "duration_s": 4.0}
    options = resolve_options(GenerateOptions, defaults, {"steps": 7, "sampler": None})
    assert (options.steps, options.sampler, options.duration_s) == (7, "dpmpp-2m", 4.0)
    assert options.grid == "trailing"
    assert resolve_options(EditOptions, defaults, {}).steps == 20


def test_an_eta_that_belongs_to_the_models_sampler_goes_with_it():
    defaults = {"sampler": "ddim", "eta": 1.0}
    assert resolve_options(GenerateOptions, defaults, {}).eta == 1.0
    assert resolve_options(GenerateOptions, defaults, {"sampler": "heun"}).eta == 0.0


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("sampler", "dpm", "did you mean dpmpp-2m?"),
        ("sampler", "DDIM", "did you mean ddim?"),
        ("grid", "logsnr", "did you mean log-snr?"),
        ("sampel", "ddim", "did you mean sampler?"),
        ("eta", 0.5, "more than 0 only with ddim"),
        ("steps", 0, "greater than or equal to 1"),
        ("guidance_interval", "80:20", "0 <= LOW <= HIGH <= 90"),
    ],
)
def test_a_refusal_says_what_is_allowed_and_what_was_probably_meant(field, value, said):
    given_values = {field: value, **({"sampler": "heun"} if field == "eta" else {})}
    with pytest.raises(InputError, match=f"(?s)`{field}`.*") as error:
        resolve_options(GenerateOptions, {}, given_values)
    assert said in str(error.value)


def test_every_sampler_and_grid_of_the_registries_is_a_choice():
    for sampler in SAMPLERS:
        for grid in TIME_GRIDS:
            options = resolve_options(GenerateOptions, {}, {"sampler": sampler, "grid": grid})
            assert (options.sampler, options.grid) == (sampler, grid)
    described = GenerateOptions.model_fields["sampler"].description
    assert described is not None
    assert all(name in described for name in SAMPLERS)


def test_every_option_is_explained():
    for cls in (GenerateOptions, EditOptions):
        assert all(field.description for field in cls.model_fields.values())


@pytest.mark.parametrize("text", ["20:80", (20, 80), [20.0, 80.0]])
def test_an_interval_is_a_pair_or_a_text(text):
    options = resolve_options(GenerateOptions, {}, {"guidance_interval": text})
    assert options.guidance_interval == (20.0, 80.0)


def test_a_prompt_may_be_as_long_as_the_limit_and_in_any_script():
    assert check_prompt("x" * MAX_PROMPT_CHARACTERS)
    assert check_prompt("ein Hund bellt 犬が吠える 🐕")


@given(st.text(max_size=12))
def test_allowed_names_is_one_line_that_lists_all(text):
    said = allowed_names(text, ["ddim", "heun"])
    assert said.startswith("one of ddim, heun")
