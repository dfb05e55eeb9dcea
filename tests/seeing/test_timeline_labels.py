"""What things are called in a timeline, and how times are written."""

from __future__ import annotations

from enum import Enum
from functools import partial
from unittest.mock import AsyncMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import AsyncEventDispatcher, Event, in_thread, inline
from antiphon.instruments.timeline._labels import (
    columns,
    error_label,
    listener_label,
    name_label,
    process_label,
    qualified_label,
    shortened,
)
from antiphon.instruments.timeline._scale import duration, tick_labels, ticks
from docs.pictures import TimelineBuilder


class Warehouse:
    async def reserve(self, event): ...

    async def __call__(self, event): ...


class Stubborn:
    def __repr__(self):
        raise RuntimeError("I have no repr")

    def __getattr__(self, name):
        raise RuntimeError("nor anything else")

    async def __call__(self, event): ...


class Named(Warehouse):
    def __repr__(self):
        return "the warehouse\nin the harbour"


async def charge(event): ...


class Colour(Enum):
    RED = 1


@pytest.mark.parametrize(
    ("listener", "label"),
    [
        (charge, "charge"),
        (Warehouse().reserve, "Warehouse.reserve"),
        (Warehouse(), "Warehouse"),
        (Named(), "the warehouse\\nin the harbour"),
        (inline(print), "print"),
        (in_thread(Warehouse().reserve.__func__ and print, abandon_on_cancel=True), "print"),
        (partial(charge), "charge()"),
        (
            partial(Warehouse().reserve, "ledger", retry=Warehouse().reserve),
            "Warehouse.reserve('ledger', retry=Warehouse.reserve)",
        ),
        (partial(partial(charge, 1), 2), "charge(1, 2)"),
        (lambda event: None, "<lambda>"),
    ],
)
def test_listeners(listener, label):
    assert listener_label(listener) == label


def test_local_functions_are_called_as_they_are_written():
    async def local(event): ...

    assert listener_label(local) == "local"


def test_whatever_listens_has_a_label_of_one_line():
    assert listener_label(AsyncMock(name="mocked")).startswith("<AsyncMock name='mocked'")
    assert "Stubborn" in listener_label(Stubborn())
    assert listener_label(partial(charge, Stubborn())) == "charge(Stubborn)"
    assert len(listener_label(partial(charge, *range(1000)))) == 200


def test_the_name_with_its_module_is_there_for_whatever_listens():
    play = TimelineBuilder()
    record = play.dispatch("order.placed", 0, 1)

    assert qualified_label(play.call(record, Warehouse().reserve, 0, 1)).endswith(
        "test_timeline_labels.Warehouse.reserve"
    )
    assert "Stubborn" in qualified_label(play.call(record, Stubborn(), 0, 1))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("order.placed", "order.placed"),
        (Colour.RED, "Colour.RED"),
        (Event, "Event"),
        (("a", 1), "('a', 1)"),
        ("a\x00\ud800b", "a\\x00\\ud800b"),
    ],
)
def test_names(name, label):
    assert name_label(name) == label


def test_dispatchers():
    assert process_label(AsyncEventDispatcher(name="shop")) == "<AsyncEventDispatcher 'shop'>"
    assert "Stubborn" in process_label(Stubborn())


def test_errors():
    class Unspeakable(Exception):
        def __str__(self):
            raise RuntimeError

    assert error_label(ValueError("first\nsecond")) == "ValueError: first"
    assert error_label(ValueError()) == "ValueError"
    assert error_label(Unspeakable()).endswith("Unspeakable")


@given(st.text(), st.integers(0, 30))
def test_a_shortened_text_fits_and_says_that_it_is_cut(text, width):
    short = shortened(text, width)

    assert columns(short) <= width
    assert short == text or not width or short[-1] == "…"


def test_wide_characters_take_two_columns():
    assert columns("日本") == 4
    assert columns("e\u0301") == 1
    assert shortened("日本語", 4) == "日…"


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
    assert duration(seconds) == written


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
    assert tick_labels(ticks(span, at_most)) == labels


@given(st.floats(1e-9, 1e6), st.integers(3, 20))
def test_ticks_are_within_the_span_and_not_too_many(span, at_most):
    times = ticks(span, at_most)

    assert times[0] == 0 and times[-1] <= span * (1 + 1e-6)
    assert len(times) <= at_most + 1
    assert len(set(tick_labels(times))) == len(times)
