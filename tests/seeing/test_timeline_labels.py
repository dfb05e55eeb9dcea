"""The labels of listeners, names and errors in a timeline, and the texts of times."""

from __future__ import annotations

from enum import Enum
from functools import partial
from unittest.mock import AsyncMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import AsyncEventDispatcher, Event, in_thread, inline
from antiphon._util.columns import display_width, truncate
from antiphon.instruments.timeline._labels import (
    error_label,
    listener_label,
    name_label,
    process_label,
    qualified_label,
)
from antiphon.instruments.timeline._scale import choose_ticks, format_duration, format_ticks
from docs.pictures import TimelineBuilder


class Warehouse:
    async def reserve(self, event): ...

    async def __call__(self, event): ...


class Named(Warehouse):
    def __repr__(self):
        return "the warehouse\nin the harbour"


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no text")

    def __getattr__(self, name):
        raise RuntimeError("no attributes")

    async def __call__(self, event): ...


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError


async def charge(event): ...


def local():
    async def nested(event): ...

    return nested


class Color(Enum):
    RED = 1


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (listener_label(charge), "charge"),
        (listener_label(local()), "nested"),
        (listener_label(Warehouse().reserve), "Warehouse.reserve"),
        (listener_label(Warehouse()), "Warehouse"),
        (listener_label(Named()), "the warehouse\\nin the harbour"),
        (listener_label(inline(print)), "print"),
        (listener_label(in_thread(print, abandon_on_cancel=True)), "print"),
        (listener_label(partial(charge)), "charge()"),
        (
            listener_label(partial(Warehouse().reserve, "ledger", retry=Warehouse().reserve)),
            "Warehouse.reserve('ledger', retry=Warehouse.reserve)",
        ),
        (listener_label(partial(partial(charge, 1), 2)), "charge(1, 2)"),
        (listener_label(partial(charge, Unprintable())), "charge(Unprintable)"),
        (listener_label(lambda event: None), "<lambda>"),
        (name_label("order.placed"), "order.placed"),
        (name_label(Color.RED), "Color.RED"),
        (name_label(Event), "Event"),
        (name_label(("a", 1)), "('a', 1)"),
        (name_label("a\x00\ud800b"), "a\\x00\\ud800b"),
        (process_label(AsyncEventDispatcher(name="shop")), "<AsyncEventDispatcher 'shop'>"),
        (error_label(ValueError("first\nsecond")), "ValueError: first"),
        (error_label(ValueError()), "ValueError"),
        (error_label(UnprintableError()), "UnprintableError"),
    ],
)
def test_labels(label, expected):
    assert label == expected


def test_every_listener_has_a_label_of_one_line():
    assert listener_label(AsyncMock(name="mocked")).startswith("<AsyncMock name='mocked'")
    assert "Unprintable" in listener_label(Unprintable())
    assert "Unprintable" in process_label(Unprintable())
    assert len(listener_label(partial(charge, *range(1000)))) == 200


@pytest.mark.parametrize(
    ("listener", "label"),
    [(Warehouse().reserve, "test_timeline_labels.Warehouse.reserve"), (Unprintable(), "Unprintable")],
    ids=["method", "unprintable"],
)
def test_qualified_label(listener, label):
    builder = TimelineBuilder()

    assert label in qualified_label(builder.call(builder.dispatch("order.placed", 0, 1), listener, 0, 1))


@given(st.text(), st.integers(0, 30))
def test_shortened_text_fits_and_ends_with_an_ellipsis(text, width):
    short = truncate(text, width)

    assert display_width(short) <= width
    assert short == text or not width or short[-1] == "…"


def test_wide_characters_have_two_columns():
    assert display_width("日本") == 4
    assert display_width("e\u0301") == 1
    assert truncate("日本語", 4) == "日…"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0 s"),
        (1.234e-9, "1.23 ns"),
        (0.0000005, "500 ns"),
        (0.00012345, "123 µs"),
        (0.0009996, "1 ms"),
        (0.00099, "990 µs"),
        (0.0101, "10.1 ms"),
        (1.0, "1 s"),
        (75.04, "75 s"),
        (12345, "12345 s"),
    ],
)
def test_durations_have_three_digits(seconds, written):
    assert format_duration(seconds) == written


@pytest.mark.parametrize(
    ("span", "at_most", "labels"),
    [
        (0.0224, 6, ["0", "5 ms", "10 ms", "15 ms", "20 ms"]),
        (0.3, 4, ["0", "100 ms", "200 ms", "300 ms"]),
        (1.0, 3, ["0", "0.5 s", "1 s"]),
        (2.1, 6, ["0", "0.5 s", "1 s", "1.5 s", "2 s"]),
        (0.0000123, 3, ["0", "10 µs"]),
        (0, 5, ["0"]),
    ],
)
def test_ticks_are_round(span, at_most, labels):
    assert format_ticks(choose_ticks(span, at_most)) == labels


@given(st.floats(1e-9, 1e6), st.integers(3, 20))
def test_ticks_are_few_and_within_the_span(span, at_most):
    times = choose_ticks(span, at_most)

    assert times[0] == 0 and times[-1] <= span * (1 + 1e-6)
    assert len(times) <= at_most + 1
    assert len(set(format_ticks(times))) == len(times)
