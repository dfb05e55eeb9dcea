"""The rows of coverage: what is counted, for which listeners and events, and the tables in plain text."""

from __future__ import annotations

import gc
import pickle

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, in_thread
from antiphon._introspection import description
from antiphon.instruments import DispatchRecord
from antiphon.instruments.coverage import Coverage, EventCoverage, ListenerCoverage, coverage
from antiphon.testing import record
from tests.html_pages import read_page
from tests.instruments.recording_instrument import every_strategy


class Paid(Event): ...


async def validate(event): ...


async def stop(event):
    event.stop_propagation()


async def fail(event):
    raise LookupError("the bank is closed")


@pytest.fixture
def shop():
    return AsyncEventDispatcher(name="shop")


def listeners(covered):
    return {(row.listener, row.key): row for row in covered.listeners}


def calls(covered):
    return {listener: row.calls for listener, row in listeners(covered).items()}


def events(covered):
    return {row.event: row for row in covered.events}


# Listeners


@every_strategy
async def test_calls_are_counted_for_each_listener_and_key(strategy, shop):
    shop.add_listener("order.placed", validate)
    shop.add_listener("order.*", validate)
    shop.add_listener("order.paid", stop)

    with coverage(None, shop) as covered:
        await shop.adispatch("order.placed", strategy=strategy)
        await shop.adispatch("order.lost", strategy=strategy)

    assert calls(covered) == {("validate", "order.placed"): 1, ("validate", "order.*"): 2, ("stop", "order.paid"): 0}


async def test_row_says_where_and_how_a_listener_is_registered(shop):
    shop.add_listener("order.placed", in_thread(print), priority=3, limit=2)

    with coverage(None, shop) as covered:
        pass

    [row] = covered.listeners
    assert (row.dispatcher, row.listener, row.key, row.priority) == ("shop", "print", "order.placed", 3)
    assert row.options == ("limit 2", "in_thread")


async def test_row_is_the_same_before_and_after_the_first_call(shop):
    shop.add_listener("order.placed", in_thread(len), priority=3, limit=2)
    shop.add_listener("order.placed", validate, where=lambda event: True)
    covered = Coverage(None, shop)
    shop.add_instrument(covered)
    before = covered.listeners

    with pytest.raises(TypeError):
        await shop.adispatch("order.placed")

    after = covered.listeners
    assert [row.identity for row in after] == [row.identity for row in before]
    assert [row.options for row in after] == [row.options for row in before]


async def test_outcomes_are_counted(shop):
    shop.add_listener("order.placed", fail)
    shop.add_listener("order.placed", validate, priority=1)
    shop.add_listener("order.closed", stop)
    shop.add_listener("order.closed", validate, priority=1)

    async def wait(event):
        await anyio.sleep_forever()

    shop.add_listener("order.waits", wait)
    with coverage(None, shop) as covered:
        with pytest.raises(LookupError):
            await shop.adispatch("order.placed")
        await shop.adispatch("order.closed")
        with anyio.move_on_after(0):
            await shop.adispatch("order.waits")

    rows = listeners(covered)
    assert (rows["fail", "order.placed"].failed, rows["wait", "order.waits"].cancelled) == (1, 1)
    assert rows["validate", "order.placed"].skipped == {"failed": 1}
    assert rows["validate", "order.closed"].skipped == {"stopped": 1}
    assert rows["stop", "order.closed"].finished == 1
    assert 0 < rows["stop", "order.closed"].mean == rows["stop", "order.closed"].longest < 1
    assert events(covered)["order.placed"].failed == events(covered)["order.waits"].cancelled == 1


async def test_time_to_describe_a_listener_is_not_that_of_its_first_call(shop, monkeypatch):
    log = []

    def describe(*arguments):
        log.append("described")
        return description.describe_listener(*arguments)

    async def listener(event):
        log.append("called")

    monkeypatch.setattr("antiphon.instruments.coverage._coverage.describe_listener", describe)
    shop.add_listener("order.placed", listener)
    covered = Coverage()
    shop.add_instrument(covered)

    await shop.adispatch("order.placed")

    assert log == ["called", "described"]
    assert calls(covered) == {("listener", "order.placed"): 1}


async def test_each_key_of_a_listener_has_a_row(shop):
    shop.listen("order.placed", "order.paid")(validate)

    class Lost(Event): ...

    shop.add_listener(Paid | Lost, stop)
    with coverage(None, shop) as covered:
        await shop.adispatch("order.placed")
        await shop.adispatch("order.placed")
        await shop.adispatch("order.paid")
        await shop.adispatch(Lost())

    assert calls(covered) == {
        ("validate", "order.placed"): 2,
        ("validate", "order.paid"): 1,
        ("stop", "class Paid"): 0,
        ("stop", "class Lost"): 1,
    }


async def test_listener_that_was_removed_meanwhile_is_known(shop):
    covered = Coverage()
    shop.add_instrument(covered)
    with shop.temporarily() as registrar:
        registrar.add_listener("order.placed", validate)
        registrar.add_listener("order.paid", validate)
        await shop.adispatch("order.placed")
        covered.collect()

    assert calls(covered) == {("validate", "order.placed"): 1, ("validate", "order.paid"): 0}


async def test_listeners_of_scopes_belong_to_the_dispatcher(shop):
    shop.add_listener("order.placed", validate)
    covered = Coverage()
    shop.add_instrument(covered)

    for _ in range(3):
        with shop.scope() as request:
            request.add_listener("order.placed", stop, priority=-1)
            await request.adispatch("order.placed")

    assert calls(covered) == {("stop", "order.placed"): 3, ("validate", "order.placed"): 0}
    assert {row.dispatcher for row in covered.listeners} == {"shop"}


async def test_equal_listeners_of_several_dispatchers_of_one_name_are_one_row():
    with coverage() as covered:
        for _ in range(200):
            # More than are kept until they are described.
            short_lived = AsyncEventDispatcher(name="short-lived")
            short_lived.add_listener("order.placed", validate)
            short_lived.add_listener("order.paid", stop)
            await short_lived.adispatch("order.placed")

    rows = [row for row in covered.listeners if row.dispatcher == "short-lived"]
    assert {(row.listener, row.calls) for row in rows} == {("validate", 200), ("stop", 0)}
    assert len(rows) == 2


async def test_all_dispatchers_are_observed_by_default():
    silent = EventDispatcher(name="silent")
    silent.add_listener("order.placed", print)

    with coverage() as covered:
        made = EventDispatcher(name="made in the block")
        made.dispatch("order.placed")

    assert ("silent", "print", 0) in {(row.dispatcher, row.listener, row.calls) for row in covered.listeners}
    assert ("made in the block", 1) in {(row.dispatcher, row.dispatches) for row in covered.events}


async def test_recordings_add_no_rows():
    dispatcher = AsyncEventDispatcher(name="shop")
    dispatcher.add_listener("recorded.order", validate)

    with coverage() as covered, record(dispatcher) as recorded:
        await dispatcher.adispatch("recorded.order")
        expected = recorded.assert_dispatched("recorded.*")
        with pytest.raises(AssertionError) as failure:
            recorded.assert_dispatched("recorded.refund")

    assert len(expected) == 1
    assert failure.tb is not None  # it keeps the dispatchers with which the assertion compares keys
    assert {row.key for row in covered.listeners}.isdisjoint({"recorded.*", "recorded.refund"})
    assert "recorded.refund" not in {row.event for row in covered.events}


def test_dispatcher_that_was_not_initialized_is_ignored():
    class Careless(EventDispatcher):
        def __init__(self): ...

    careless = Careless()
    with coverage() as covered:
        pass

    assert careless is not None
    assert not [row for row in covered.listeners if row.dispatcher == "Careless"]


# Events


async def test_event_that_no_listener_received(shop):
    shop.add_listener("order.paid", validate, where=lambda event: False)
    with coverage(None, shop) as covered:
        await shop.adispatch("order.paid", Paid())
        await shop.adispatch("order.plcaed")
        await shop.adispatch(Paid())

    rows = events(covered)
    assert {name: (row.dispatches, row.unreceived, row.event_class) for name, row in rows.items()} == {
        "order.paid": (1, 1, "Paid"),
        "order.plcaed": (1, 1, "Event"),
        "class Paid": (1, 1, "Paid"),
    }
    assert all("unreceived" in row.flags for row in rows.values())


async def test_names_that_were_never_dispatched():
    shop = AsyncEventDispatcher(names=["order.placed", "order.declared"])
    shop.add_listener("order.placed", validate)
    shop.add_listener("order.*", validate)
    with coverage(None, shop) as covered:
        await shop.adispatch("order.placed")

    assert {name: row.flags for name, row in events(covered).items()} == {
        "order.placed": (),
        "order.declared": ("undispatched",),
    }


async def test_number_of_rows_is_bounded(shop, monkeypatch):
    monkeypatch.setattr("antiphon.instruments.coverage._coverage._MAX_ROWS", 10)
    shop.add_listener("order.*", validate)
    covered = Coverage()
    shop.add_instrument(covered)

    for number in range(50):
        with shop.scope() as request:
            request.add_listener(f"order.{number}", stop)
            await request.adispatch(f"order.{number}")

    for rows in (covered.events, covered.listeners):
        assert len(rows) == 11
        assert rows[-1].dispatcher == "(others)"
    assert sum(row.dispatches for row in covered.events) == 50
    assert sum(row.calls for row in covered.listeners) == 100


@pytest.mark.parametrize(("max_slowest", "kept"), [(0, []), (3, [9, 8, 5]), (20, [9, 8, 5, 2, 2, 1])])
def test_slowest_dispatches_are_kept(shop, max_slowest, kept):
    covered = Coverage(max_slowest=max_slowest)
    for duration in (2, 9, 1, 5, 8, 2):
        record = DispatchRecord(Event(), "order.placed", shop, None)
        record.finished = record.started + duration
        covered.dispatch_finished(record)

    assert [record.duration for record in covered.slowest] == kept


# Life


async def test_results_can_be_read_at_any_time(shop):
    shop.add_listener("order.placed", validate)
    covered = Coverage()
    shop.add_instrument(covered)
    await shop.adispatch("order.placed")
    before = covered.listeners
    await shop.adispatch("order.placed")

    assert (before[0].calls, covered.listeners[0].calls) == (1, 2)


async def test_rows_of_another_process_are_added(shop):
    shop.add_listener("order.placed", validate)
    with coverage(None, shop) as one:
        await shop.adispatch("order.placed")
    with coverage(None, shop) as other:
        await shop.adispatch("order.placed")
        await shop.adispatch("order.lost")

    one.merge(*pickle.loads(pickle.dumps((other.listeners, other.events, other.timeline))))

    assert calls(one) == {("validate", "order.placed"): 2}
    assert {name: row.dispatches for name, row in events(one).items()} == {"order.placed": 2, "order.lost": 1}
    assert len(read_page(one.html()).find(class_="bars")) == 3


async def test_a_merged_timeline_has_the_slowest_dispatches_of_all(shop):
    with coverage(None, shop, max_slowest=2) as one:
        await shop.adispatch("order.placed")
        await shop.adispatch("order.placed")
    with coverage(None, shop) as other:
        await shop.adispatch("order.placed")
        await shop.adispatch("order.placed")
    durations = [group.duration for group in (*one.timeline, *other.timeline)]

    one.merge((), (), other.timeline)

    assert len(durations) == 4
    assert [group.duration for group in one.timeline] == sorted(durations, reverse=True)[:2]


def test_dispatcher_may_dispatch_while_its_garbage_is_collected():
    shop = EventDispatcher(name="shop")
    covered = Coverage()
    shop.add_instrument(covered)

    class Parcel:
        def __repr__(self):
            # The name of an event is formatted while the rows are locked.
            shop.dispatch("parcel.shown")
            return "parcel"

    shop.dispatch(Parcel(), Event())
    gc.collect()

    assert {"parcel", "parcel.shown"} <= events(covered).keys()


@pytest.mark.parametrize("number", [True, 1.5, "20"])
def test_max_slowest_is_an_int(number):
    with pytest.raises(TypeError, match="max_slowest= must be an int; got"):
        coverage(max_slowest=number)


def test_max_slowest_is_not_negative():
    with pytest.raises(ValueError, match="max_slowest= must be at least 0; got -1"):
        coverage(max_slowest=-1)


@pytest.mark.parametrize("is_iterable", [True, False])
@pytest.mark.parametrize("wrong", ["listeners", "events", "timeline"])
def test_a_merge_of_other_objects_adds_nothing(wrong, is_iterable):
    rows = {
        "listeners": [ListenerCoverage("shop", "parcel")],
        "events": [EventCoverage("shop", "parcel")],
        "timeline": [],
    }
    rows[wrong] = [*rows[wrong], "parcel"] if is_iterable else None
    covered = Coverage()

    with pytest.raises(TypeError, match=rf"merge\(\) takes the {wrong} of another coverage"):
        covered.merge(**rows)

    assert (covered.listeners, covered.events) == ((), ())


def test_dispatchers_are_checked():
    with pytest.raises(TypeError, match="a coverage records dispatchers; got 'shop'"):
        coverage(None, "shop")
    with pytest.raises(
        TypeError, match=r"path of the file, .*: pass dispatchers after it, coverage\(None, dispatcher\)"
    ):
        coverage(EventDispatcher())


@pytest.mark.parametrize("path", [None, 5])
def test_a_file_needs_a_path(path):
    with pytest.raises(TypeError, match=rf"must be the path of the file; got {path} \("):
        Coverage().write(path)


# Files


async def test_file_has_the_format_of_its_suffix(shop, tmp_path):
    with coverage(tmp_path / "events.html", shop) as covered:
        await shop.adispatch("order.placed")
    covered.write(tmp_path / "events.txt")

    assert (tmp_path / "events.html").read_text("utf-8").startswith("<!doctype html>")
    assert (tmp_path / "events.txt").read_text("utf-8") == covered.text()


TEXT = """\
listeners: 1 of 3 called
events: 2 of 3 dispatched, 1 received
dispatches: 4

Listeners that were never called

listener  key         dispatcher  priority  calls  skipped    defined in
────────  ──────────  ──────────  ────────  ─────  ─────────  ──────────
receipt   order.paid  shop              10      0  stopped 3  shop.py:8
count     order.*     statistics         0      0

Events that no listener received

event        class  dispatches  unreceived
───────────  ─────  ──────────  ──────────
order\\nlost  Event           1           1

Events that were never dispatched

event         dispatches
────────────  ──────────
order.closed           0

Slowest listeners, by total time

listener  key         priority  calls  failed    mean  longest  total  defined in
────────  ──────────  ────────  ─────  ──────  ──────  ───────  ─────  ──────────
charge    order.paid         0      3       1  500 ms      1 s  1.5 s  shop.py:4
"""


def test_text_has_a_table_for_each_question():
    covered = Coverage()
    charge = ListenerCoverage("shop", "order.paid", "charge", "shop.py:4")
    charge.calls = charge.finished = 3
    charge.failed, charge.total, charge.longest = 1, 1.5, 1.0
    receipt = ListenerCoverage("shop", "order.paid", "receipt", "shop.py:8", priority=10)
    receipt.skipped["stopped"] = 3
    count = ListenerCoverage("statistics", "order.*", "count")
    paid, lost = EventCoverage("shop", "order.paid", "Event"), EventCoverage("shop", "order\nlost", "Event")
    paid.dispatches = 3
    lost.dispatches = lost.unreceived = 1
    covered.merge([charge, receipt, count], [paid, lost, EventCoverage("shop", "order.closed")])

    assert covered.text() == TEXT


def test_text_without_dispatches():
    assert Coverage().text() == "listeners: 0 of 0 called\nevents: 0 of 0 dispatched, 0 received\ndispatches: 0\n"
