"""Spans, windows and seams, without a network."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ezaudio.errors import InputError
from ezaudio.pipelines.spans import (
    MAX_SPAN_SHARE,
    Span,
    WindowLimits,
    check_spans,
    frames_to_regenerate,
    join,
    plan_windows,
    spans_in_samples,
)

RATE, HOP = 24_000, 480


@settings(max_examples=300, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.floats(0, 30), st.floats(0.05, 8)), min_size=1, max_size=6),
    duration_s=st.floats(0.05, 40),
    context_s=st.floats(0, 12),
)
def test_windows_hold_every_span_once_with_context_and_within_bounds(pairs, duration_s, context_s):
    length = round(duration_s * RATE)
    try:
        wanted = check_spans([(a, a + d) for a, d in pairs], length / RATE, 10.0)
    except InputError:
        return
    spans = spans_in_samples(wanted, length, RATE)
    total = max(length, spans[-1].end)
    limits = WindowLimits(HOP, round(context_s * RATE / HOP), 500)
    windows = plan_windows(spans, total, limits)
    assert [span for window in windows for span in window.spans] == spans
    todo = list(spans)
    for window in windows:
        first, last = window.spans[0], window.spans[-1]
        assert 0 <= window.first * HOP <= first.start
        assert last.end <= window.stop * HOP < total + HOP
        assert window.stop - window.first <= 500
        assert first.start // HOP - window.first <= limits.context
        todo = todo[len(window.spans) :]
        if todo and context_s > 0:  # what is still to be replaced is at most part of one frame
            assert window.stop * HOP < todo[0].start + HOP
        regenerate = frames_to_regenerate(window, HOP)
        touched = {
            frame
            for span in window.spans
            for frame in range(span.start // HOP, -(-span.end // HOP))
        }
        assert {f + window.first for f in np.flatnonzero(regenerate)} == touched


def test_a_span_in_a_long_sound_gets_a_window_of_its_context_only():
    [window] = plan_windows([Span(240_000, 264_000)], 24_000_000, WindowLimits(HOP, 100, 500))
    assert (window.first, window.stop) == (400, 650)


def test_context_shrinks_evenly_when_the_model_cannot_hear_so_much():
    [window] = plan_windows([Span(240_000, 432_000)], 2_400_000, WindowLimits(HOP, 150, 500))
    assert (window.first, window.stop) == (450, 950)


def test_context_that_is_missing_on_one_side_is_used_on_the_other():
    [window] = plan_windows([Span(0, 192_000)], 2_400_000, WindowLimits(HOP, 95, 500))
    assert (window.first, window.stop) == (0, 495)


def test_spans_that_overlap_or_touch_become_one():
    assert check_spans([(2, 3), (0, 1), (1, 1.5), (2.5, 4)], 5, 10) == [(0, 1.5), (2, 4)]


@pytest.mark.parametrize(
    ("spans", "field"),
    [
        ([], "spans"),
        (None, "spans"),
        (5, "spans"),
        ((0.1, 0.4), "spans"),
        ("0.1:0.4", "spans"),
        (["12"], "spans"),
        ([(1, 2, 3)], "spans"),
        ([("a", "b")], "spans"),
        ([(2, 1)], "end"),
        ([(1, 1)], "end"),
        ([(-1, 1)], "start"),
        ([(math.nan, 1)], "start"),
        ([(0, math.inf)], "end"),
        ([(0, math.nan)], "end"),
        ([(6, 7)], "start"),
        ([(0, 9.5)], "span"),
        ([(0, 5), (4, 9.5)], "span"),
    ],
)
def test_spans_that_cannot_be_meant_are_refused(spans, field):
    with pytest.raises(InputError) as error:
        check_spans(spans, 5.0, 10.0)
    assert error.value.field == field


def test_a_chain_of_spans_may_go_past_the_end():
    assert check_spans([(4, 6), (6, 8)], 5.0, 10.0) == [(4, 8)]
    assert MAX_SPAN_SHARE < 1


def sine(samples, phase=0.0):
    return np.sin(np.arange(samples) * 0.05 + phase).astype(np.float32) * 0.5


@pytest.mark.parametrize(("start", "end"), [(1000, 4000), (0, 2000), (3000, 5000), (2000, 5000)])
def test_the_seams_of_a_span_are_smooth(start, end):
    original, made = sine(5000), sine(5000, 2.0)
    new = join(original, made, Span(start, end), kept=5000, fade=480, ceiling=0.99)
    whole = original.copy()
    whole[start:end] = new
    assert new.dtype == np.float32
    np.testing.assert_array_equal(new[480:-480], made[start + 480 : end - 480])
    assert np.abs(np.diff(whole)).max() < 0.05  # the sine's own steps are 0.025


def test_a_span_that_begins_where_the_sound_ends_goes_on_without_a_click():
    original = np.concatenate([sine(3000), np.zeros(3000, np.float32)])
    made = sine(6000, 0.6) * 0.8
    new = join(original, made, Span(3000, 6000), kept=3000, fade=480, ceiling=0.99)
    step = abs(float(new[0]) - float(original[2999]))
    assert step < 0.05 < abs(float(made[3000]) - float(original[2999]))
    np.testing.assert_array_equal(new[480:], made[3480:])


def test_only_the_new_part_is_made_quieter():
    original, made = sine(5000) * 2, sine(5000, 1.0) * 10
    new = join(original, made, Span(1000, 4000), kept=5000, fade=100, ceiling=0.9)
    assert np.abs(new[100:-100]).max() == pytest.approx(0.9, abs=1e-5)
    assert np.abs(new).max() <= 1.0 + 1e-6  # within the fade, between the two


def test_a_fade_is_short_in_a_short_span_and_can_be_switched_off():
    original, made = np.zeros(900, np.float32), np.ones(900, np.float32) * 0.5
    new = join(original, made, Span(300, 390), kept=900, fade=480, ceiling=0.99)
    np.testing.assert_array_equal(new[30:60], made[:30])
    hard = join(original, made, Span(300, 390), kept=900, fade=0, ceiling=0.99)
    np.testing.assert_array_equal(hard, made[:90])
