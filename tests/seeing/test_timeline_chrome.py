"""The trace of a timeline: that it is one which viewers of Chrome's format show as it is meant."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict

from hypothesis import given

from antiphon import AsyncEventDispatcher
from antiphon.instruments.timeline import as_chrome_trace
from docs import pictures
from docs.pictures import START, TimelineBuilder
from tests.seeing.timeline_records import timeline_records


def events(records, **options):
    return json.loads(as_chrome_trace(records, **options))["traceEvents"]


def lanes(trace):
    """Give the names of the lanes in the order in which viewers show them."""
    order = {event["tid"]: event["args"]["sort_index"] for event in trace if event["name"] == "thread_sort_index"}
    names = {event["tid"]: event["args"]["name"] for event in trace if event["name"] == "thread_name"}
    return [names[thread] for thread in sorted(names, key=order.get)]


def bars(trace):
    return {event["name"]: event for event in trace if event["ph"] == "X"}


def test_each_listener_has_a_lane_below_that_of_its_event():
    trace = events(pictures.nested())

    assert lanes(trace) == [
        "order.placed", "validate", "reserve", "charge", "receipt", "payment.wanted", "assess_risk", "Bank.pay"
    ]  # fmt: skip
    assert len({event["tid"] for event in trace if event["ph"] == "X"}) == 7
    assert [event["args"]["name"] for event in trace if event["name"] == "process_name"] == [
        "<AsyncEventDispatcher 'shop'>"
    ]


def test_times_are_microseconds_from_the_first_dispatch():
    trace = bars(events(pictures.race()))

    assert (trace["price.wanted"]["ts"], trace["price.wanted"]["dur"]) == (0, 6200)
    assert (trace["query_replica"]["ts"], trace["query_replica"]["dur"]) == (1400, 4400)


def test_bars_tell_what_is_known_of_them():
    trace = bars(events(pictures.nested()))

    assert trace["payment.wanted"]["cat"] == "dispatch"
    assert trace["payment.wanted"]["args"] == {
        "outcome": "failed",
        "event": "docs.pictures.OrderPlaced",
        "name": "payment.wanted",
        "dispatcher": "<AsyncEventDispatcher 'shop'>",
        "listeners": 2,
    }
    assert trace["Bank.pay"]["cat"] == "listener"
    assert trace["Bank.pay"]["args"] == {
        "outcome": "failed",
        "error": "RuntimeError: the card was refused",
        "listener": "docs.pictures.Bank.pay",
        "key": "payment.wanted",
        "priority": 0,
        "of": "payment.wanted",
    }


def test_what_did_not_end_well_is_marked_in_its_lane():
    trace = events(pictures.race())
    names = {event["tid"]: event["args"]["name"] for event in trace if event["name"] == "thread_name"}

    assert {(names[mark["tid"]], mark["name"], mark["ts"]) for mark in trace if mark["ph"] == "i"} == {
        ("query_replica", "stopped the event", 5800),
        ("query_origin", "cancelled", 6200),
        ("record_misses", "skipped: stopped", 6200),
    }


def test_an_arrow_leads_from_a_listener_to_what_it_dispatched():
    trace = events(pictures.nested())
    start, end = (event for event in trace if event["ph"] in "sf")
    charge, payment = bars(trace)["charge"], bars(trace)["payment.wanted"]

    assert start["ph"] == "s" and end["ph"] == "f" and end["bp"] == "e"
    assert (start["id"], start["cat"], start["name"]) == (end["id"], end["cat"], end["name"])
    assert start["tid"] == charge["tid"] and charge["ts"] <= start["ts"] < charge["ts"] + charge["dur"]
    assert end["tid"] == payment["tid"] and end["ts"] == payment["ts"]


def test_an_arrow_to_what_was_posted_to_a_queue_begins_within_the_listener():
    play = TimelineBuilder()
    post = play.call(play.dispatch("order.placed", 0, 2), "post", 0.5, 1)
    play.dispatch("order.stored", 10, 11, parent=post)
    trace = events(play.records)

    assert [event["ts"] for event in trace if event["ph"] in "sf"] == [500, 10000]


def test_a_parent_that_was_dropped_has_no_arrow():
    trace = events(pictures.nested()[1:])

    assert "payment.wanted" in bars(trace)
    assert not [event for event in trace if event["ph"] in "sf"]


def test_calls_that_overlap_have_lanes_of_their_own():
    play = TimelineBuilder()
    for number in range(3):
        play.call(play.dispatch("order.placed", 4 * number, 5 + 4 * number), "charge", 4 * number, 5 + 4 * number)

    assert lanes(events(play.records)) == ["order.placed", "order.placed (2)", "charge", "charge (2)"]


def test_listeners_of_one_name_in_one_dispatch_have_lanes_of_their_own():
    play = TimelineBuilder()
    record = play.dispatch("order.placed", 0, 4)
    play.call(record, "audit", 0, 2)
    play.call(record, "audit", 2, 4)

    assert lanes(events(play.records)) == ["order.placed", "audit", "audit"]


def test_the_scopes_of_a_dispatcher_share_their_lanes():
    dispatcher = AsyncEventDispatcher(name="shop")
    records = []
    for number in range(3):
        with dispatcher.scope() as scoped:
            play = TimelineBuilder(dispatcher=scoped)
            play.call(play.dispatch("order.placed", number, number + 1), "handle", number, number + 1)
            records += play.records

    trace = events(records)
    assert lanes(trace) == ["order.placed", "handle"]
    assert len([event for event in trace if event["name"] == "process_name"]) == 1


def test_what_still_runs_ends_now():
    play = TimelineBuilder()
    play.call(play.dispatch("order.placed", 0, None, "running"), "charge", 1, None, "running")

    trace = bars(events(play.records, until=START + 0.005))

    assert [trace[name]["dur"] for name in ("order.placed", "charge")] == [5000, 4000]


def test_no_dispatch_is_a_trace_too():
    assert json.loads(as_chrome_trace([], dropped=2)) == {
        "displayTimeUnit": "ms",
        "otherData": {"dispatches": 0, "dropped": 2},
        "traceEvents": [],
    }


@given(timeline_records())
def test_every_trace_keeps_the_rules_of_the_format(records):
    text = as_chrome_trace(records)
    trace = json.loads(text)["traceEvents"]
    timed = [event for event in trace if event["ph"] != "M"]

    assert text.isascii()
    assert [event["ts"] for event in timed] == sorted(event["ts"] for event in timed)
    assert all(event["ts"] >= 0 and event.get("dur", 0) >= 0 for event in timed)
    # Names come first, once for each lane and each process, and the two have no number in common.
    assert all(event["ph"] == "M" for event in trace[: len(trace) - len(timed)])
    named = [event["tid"] for event in trace if event["name"] == "thread_name"]
    assert len(set(named)) == len(named) and {event["tid"] for event in timed} <= set(named)
    assert not {event["pid"] for event in trace} & set(named)
    # Arrows come in pairs.
    assert sorted(event["id"] for event in timed if event["ph"] == "s") == sorted(
        event["id"] for event in timed if event["ph"] == "f"
    )


@given(timeline_records())
def test_no_two_bars_of_a_lane_overlap(records):
    by_lane = defaultdict(list)
    for event in events(records):
        if event["ph"] == "X":
            start = round(event["ts"] * 1000)
            by_lane[event["tid"]].append((start, start + round(event["dur"] * 1000)))

    for spans in by_lane.values():
        spans.sort()
        assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans))


@given(timeline_records())
def test_every_dispatch_and_every_call_has_a_bar(records):
    ran = len(records) + sum(call.started is not None for record in records for call in record.listeners)

    assert len([event for event in events(records) if event["ph"] == "X"]) == ran
