"""The timeline as a trace in Chrome's format."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict

import pytest
from hypothesis import given

from antiphon import AsyncEventDispatcher
from antiphon.instruments.timeline import as_chrome_trace
from docs import pictures
from docs.pictures import START, TimelineBuilder
from tests.seeing.timeline_records import timeline, timeline_records


def events(records, **options):
    return json.loads(as_chrome_trace(records, **options))["traceEvents"]


def tracks(trace):
    """Return the names of the tracks in the order in which viewers show them."""
    order = {event["tid"]: event["args"]["sort_index"] for event in trace if event["name"] == "thread_sort_index"}
    names = {event["tid"]: event["args"]["name"] for event in trace if event["name"] == "thread_name"}
    return [names[thread] for thread in sorted(names, key=order.get)]


def processes(trace):
    return [event["args"]["name"] for event in trace if event["name"] == "process_name"]


def bars(trace):
    return {event["name"]: event for event in trace if event["ph"] == "X"}


def arrows(trace):
    return [event for event in trace if event["ph"] in "sf"]


def scoped_records():
    dispatcher = AsyncEventDispatcher(name="shop")
    for number in range(3):
        with dispatcher.scope() as scoped:
            yield from timeline(f"order.placed {number} {number + 1} | charge {number} {number + 1}", dispatcher=scoped)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (
            pictures.nested(),
            ["order.placed", "validate", "reserve", "charge", "receipt", "payment.wanted", "assess_risk", "Bank.pay"],
        ),
        (
            timeline(*(f"order.placed {4 * n} {4 * n + 5} | charge {4 * n} {4 * n + 5}" for n in range(3))),
            ["order.placed", "order.placed (2)", "charge", "charge (2)"],
        ),
        (timeline("order.placed 0 4 | audit 0 2 | audit 2 4"), ["order.placed", "audit", "audit"]),
        (list(scoped_records()), ["order.placed", "charge"]),
    ],
    ids=["nested", "overlapping", "same listener twice", "scopes"],
)
def test_tracks(records, expected):
    trace = events(records)

    assert tracks(trace) == expected
    assert len(processes(trace)) == 1


def test_times_are_microseconds_from_the_first_dispatch():
    trace = bars(events(pictures.race()))

    assert (trace["price.wanted"]["ts"], trace["price.wanted"]["dur"]) == (0, 6200)
    assert (trace["ask_neighbour"]["ts"], trace["ask_neighbour"]["dur"]) == (1400, 4400)


def test_bars_have_arguments():
    trace = events(pictures.nested())
    payment, pay = bars(trace)["payment.wanted"], bars(trace)["Bank.pay"]

    assert processes(trace) == ["<AsyncEventDispatcher 'shop'>"]
    assert (payment["cat"], payment["args"]) == (
        "dispatch",
        {
            "outcome": "failed",
            "event": "docs.pictures.OrderPlaced",
            "name": "payment.wanted",
            "dispatcher": "<AsyncEventDispatcher 'shop'>",
            "listeners": 2,
        },
    )
    assert (pay["cat"], pay["args"]) == (
        "listener",
        {
            "outcome": "failed",
            "error": "RuntimeError: the card was refused",
            "listener": "docs.pictures.Bank.pay",
            "key": "payment.wanted",
            "priority": 0,
            "of": "payment.wanted",
        },
    )


def test_other_outcomes_than_finished_have_marks():
    trace = events(pictures.race())
    names = {event["tid"]: event["args"]["name"] for event in trace if event["name"] == "thread_name"}

    assert {(names[mark["tid"]], mark["name"], mark["ts"]) for mark in trace if mark["ph"] == "i"} == {
        ("ask_neighbour", "stopped the event", 5800),
        ("ask_database", "cancelled", 6200),
        ("note_the_miss", "skipped: stopped", 6200),
    }


def test_arrow_leads_from_a_listener_to_its_dispatch():
    trace = events(pictures.nested())
    start, end = arrows(trace)
    charge, payment = bars(trace)["charge"], bars(trace)["payment.wanted"]

    assert start["ph"] == "s" and end["ph"] == "f" and end["bp"] == "e"
    assert (start["id"], start["cat"], start["name"]) == (end["id"], end["cat"], end["name"])
    assert start["tid"] == charge["tid"] and charge["ts"] <= start["ts"] < charge["ts"] + charge["dur"]
    assert end["tid"] == payment["tid"] and end["ts"] == payment["ts"]


def test_arrow_to_a_queued_event_starts_within_the_listener():
    builder = TimelineBuilder()
    post = builder.call(builder.dispatch("order.placed", 0, 2), "post", 0.5, 1)
    builder.dispatch("order.stored", 10, 11, parent=post)

    assert [event["ts"] for event in arrows(events(builder.records))] == [500, 10000]


def test_dropped_parent_has_no_arrow():
    records = pictures.nested()
    trace = events(records[1:])

    assert "payment.wanted" in bars(trace)
    assert arrows(trace) == []


def test_running_bars_end_now():
    trace = bars(events(timeline("order.placed 0 - | charge 1 -"), until=START + 0.005))

    assert [trace[name]["dur"] for name in ("order.placed", "charge")] == [5000, 4000]


def test_trace_without_dispatches():
    assert json.loads(as_chrome_trace([], dropped=2)) == {
        "displayTimeUnit": "ms",
        "otherData": {"dispatches": 0, "dropped": 2},
        "traceEvents": [],
    }


@given(timeline_records())
def test_trace_follows_the_rules_of_the_format(records):
    text = as_chrome_trace(records)
    trace = json.loads(text)["traceEvents"]
    timed = [event for event in trace if event["ph"] != "M"]

    assert text.isascii()
    assert [event["ts"] for event in timed] == sorted(event["ts"] for event in timed)
    assert all(event["ts"] >= 0 and event.get("dur", 0) >= 0 for event in timed)
    # Names come first, once for each track and each process, and no number is used for both.
    assert all(event["ph"] == "M" for event in trace[: len(trace) - len(timed)])
    named = [event["tid"] for event in trace if event["name"] == "thread_name"]
    assert len(set(named)) == len(named) and {event["tid"] for event in timed} <= set(named)
    assert not {event["pid"] for event in trace} & set(named)
    # Arrows are pairs.
    starts, ends = ([event["id"] for event in timed if event["ph"] == kind] for kind in "sf")
    assert sorted(starts) == sorted(ends)
    # Each dispatch and each call has a bar.
    ran = len(records) + sum(call.started is not None for record in records for call in record.listeners)
    assert len([event for event in timed if event["ph"] == "X"]) == ran


@given(timeline_records())
def test_bars_of_a_track_do_not_overlap(records):
    by_track = defaultdict(list)
    for event in events(records):
        if event["ph"] == "X":
            start = round(event["ts"] * 1000)
            by_track[event["tid"]].append((start, start + round(event["dur"] * 1000)))

    for spans in by_track.values():
        spans.sort()
        assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans))
