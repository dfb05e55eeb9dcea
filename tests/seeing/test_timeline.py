"""What a timeline records, and what it writes."""

from __future__ import annotations

import gc
import json
from threading import Barrier, Thread
from xml.etree import ElementTree as ET

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race
from antiphon.instruments.timeline import Timeline, timeline
from docs.pictures import TimelineBuilder

NAME = "order.placed"


async def listener(event): ...


def bars(path):
    return [event["name"] for event in json.loads(path.read_text())["traceEvents"] if event["ph"] == "X"]


def shop(**options):
    dispatcher = AsyncEventDispatcher(name="shop", **options)
    dispatcher.add_listener(NAME, listener)
    return dispatcher


# What it records


async def test_without_dispatchers_it_sees_those_that_there_are_and_those_to_come(tmp_path):
    dispatcher = shop()

    with timeline(tmp_path / "trace.json") as recorded:
        await dispatcher.adispatch(NAME)
        await shop().adispatch(NAME)
        EventDispatcher().dispatch("shop.closed")

    assert [record.name for record in recorded.records] == [NAME, NAME, "shop.closed"]
    assert bars(tmp_path / "trace.json") == [NAME, "listener", NAME, "listener", "shop.closed"]


async def test_given_dispatchers_it_sees_those_alone():
    one, other = shop(), shop()

    with timeline(None, one, one) as recorded:
        await one.adispatch(NAME)
        await other.adispatch(NAME)
        await shop().adispatch(NAME)

    assert [record.dispatcher for record in recorded.records] == [one]


@pytest.mark.parametrize("chosen", [True, False])
async def test_it_sees_scopes(chosen):
    dispatcher = shop()

    with dispatcher.scope() as older, timeline(None, *[dispatcher] * chosen) as recorded:
        await older.adispatch(NAME)
        with dispatcher.scope() as scoped:
            await scoped.adispatch(NAME)

    assert [record.dispatcher for record in recorded.records] == [older, scoped]


@pytest.mark.parametrize("chosen", [True, False])
async def test_after_the_block_it_sees_nothing_and_is_gone(chosen):
    dispatcher = shop()

    with timeline(None, *[dispatcher] * chosen) as recorded:
        born = shop()
    for each in (dispatcher, born, shop()):
        await each.adispatch(NAME)
        with pytest.raises(ValueError):
            each.remove_instrument(recorded)

    assert recorded.records == ()


def test_a_dispatch_of_another_thread_that_begins_as_the_block_ends_is_left():
    play = TimelineBuilder()

    with timeline() as recorded:
        pass
    recorded.dispatch_started(play.dispatch(NAME, 0, 1))

    assert recorded.records == ()


async def test_taken_out_by_hand_it_ends_all_the_same():
    dispatcher = shop()

    with timeline(None, dispatcher) as recorded:
        dispatcher.remove_instrument(recorded)
        await dispatcher.adispatch(NAME)

    assert recorded.records == ()


async def test_two_at_a_time_see_the_same():
    with timeline() as one, timeline() as other:
        await shop().adispatch(NAME)

    assert one.records == other.records != ()


async def test_it_is_an_instrument_too():
    dispatcher, recorded = shop(), Timeline(max_dispatches=2)
    dispatcher.add_instrument(recorded)

    for _ in range(5):
        await dispatcher.adispatch(NAME)

    assert (len(recorded.records), recorded.dropped) == (2, 3)
    assert "3 earlier dispatches were dropped" in recorded.text()
    assert "3 earlier dispatches were dropped" in recorded.svg()
    assert json.loads(recorded.chrome_trace())["otherData"] == {"dispatches": 2, "dropped": 3}


async def test_the_latest_dispatches_are_kept():
    with timeline(max_dispatches=2) as recorded:
        dispatcher = shop()
        for number in range(4):
            await dispatcher.adispatch(f"order.{number}")

    assert [record.name for record in recorded.records] == ["order.2", "order.3"]


def test_dispatches_of_many_threads_are_all_counted():
    dispatcher, barrier = EventDispatcher(), Barrier(8)

    def work():
        barrier.wait()
        for _ in range(50):
            dispatcher.dispatch(NAME)

    with timeline(None, dispatcher, max_dispatches=100) as recorded:
        threads = [Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            recorded.text()
            thread.join()

    assert (len(recorded.records), recorded.dropped) == (100, 300)


def test_it_finds_no_dispatcher_that_only_claims_to_be_one():
    class Pretender:
        @property
        def __class__(self):
            raise AssertionError("nobody is to ask")

    pretender = Pretender()

    with timeline() as recorded:
        assert type(pretender) is Pretender

    assert recorded.records == ()


async def test_dispatchers_of_the_block_can_go_before_its_end():
    with timeline() as recorded:
        await shop().adispatch(NAME)
        gc.collect()

    assert len(recorded.records) == 1


# What the pictures show of it


async def test_listeners_that_run_together_overlap():
    dispatcher = AsyncEventDispatcher(strategy=Concurrent())
    started, both = [], anyio.Event()

    async def meet(event):
        started.append(event)
        if len(started) == 2:
            both.set()
        await both.wait()

    for _ in range(2):
        dispatcher.add_listener(NAME, meet)
    with timeline() as recorded:
        await dispatcher.adispatch(NAME)

    one, other = (
        event for event in json.loads(recorded.chrome_trace())["traceEvents"] if event.get("cat") == "listener"
    )
    assert one["name"] == other["name"] == "meet" and one["tid"] != other["tid"]
    assert max(one["ts"], other["ts"]) <= min(one["ts"] + one["dur"], other["ts"] + other["dur"])


async def test_the_losers_of_a_race_are_cancelled():
    dispatcher = AsyncEventDispatcher(strategy=Race())

    started = anyio.Event()

    async def slow(event):
        started.set()
        await anyio.sleep_forever()

    async def fast(event):
        await started.wait()
        event.stop_propagation()

    dispatcher.add_listener(NAME, slow)
    dispatcher.add_listener(NAME, fast)
    dispatcher.add_listener(NAME, listener, priority=1)
    with timeline() as recorded:
        await dispatcher.adispatch(NAME)

    dispatch, first, second, third = recorded.text(width=120).splitlines()[:4]
    assert dispatch.endswith(", stopped")
    assert "slow" in first and first.endswith(", cancelled")
    assert "fast" in second and second.endswith(", stopped the event")
    assert "listener" in third and third.endswith("skipped: stopped")


async def test_what_a_listener_dispatches_is_drawn_below_it():
    dispatcher = AsyncEventDispatcher()

    async def outer(event):
        await dispatcher.adispatch("payment.wanted", Event())

    dispatcher.add_listener(NAME, outer)
    dispatcher.add_listener("payment.wanted", listener)
    with timeline() as recorded:
        await dispatcher.adispatch(NAME)

    rows = [line.split("  ─")[0].split("  █")[0].rstrip() for line in recorded.text(width=120).splitlines()[:4]]
    assert [row.replace("  ", " ").split(" ▐")[0].split(" ▏")[0].strip() for row in rows] == [
        NAME, "0 outer", "payment.wanted", "0 listener"
    ]  # fmt: skip
    assert len([1 for event in json.loads(recorded.chrome_trace())["traceEvents"] if event["ph"] in "sf"]) == 2


async def test_within_the_block_it_shows_what_still_runs():
    dispatcher = AsyncEventDispatcher()
    seen = []

    async def look(event):
        seen.append(recorded.text(width=100))

    dispatcher.add_listener(NAME, look)
    dispatcher.add_listener(NAME, listener)
    with timeline() as recorded:
        await dispatcher.adispatch(NAME)

    first, second, third = seen[0].splitlines()[:3]
    assert first.endswith(", running") and second.endswith(", running")
    assert "listener" in third and third.endswith("not started yet")


# What it writes


@pytest.mark.parametrize("name", ["trace.json", "trace", "trace.perfetto"])
async def test_other_files_are_traces(tmp_path, name):
    with timeline(str(tmp_path / name)):
        await shop().adispatch(NAME)

    assert bars(tmp_path / name) == [NAME, "listener"]


@pytest.mark.parametrize("name", ["trace.svg", "TRACE.SVG"])
async def test_svg_files_are_pictures(tmp_path, name):
    with timeline(tmp_path / name) as recorded:
        await shop().adispatch(NAME)

    assert (tmp_path / name).read_text(encoding="utf-8") == recorded.svg()
    assert ET.fromstring(recorded.svg()).tag.endswith("svg")


async def test_txt_files_are_pictures_in_characters(tmp_path):
    with timeline(tmp_path / "trace.txt") as recorded:
        await shop().adispatch(NAME)

    assert (tmp_path / "trace.txt").read_text(encoding="utf-8") == recorded.text(width=120)


async def test_it_can_be_written_in_several_ways(tmp_path):
    with timeline() as recorded:
        await shop().adispatch(NAME)
    for name in ("trace.json", "trace.svg"):
        recorded.write(tmp_path / name)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["trace.json", "trace.svg"]


async def test_it_is_written_also_if_the_block_raises(tmp_path):
    error = ValueError("no")

    with pytest.raises(ValueError) as raised, timeline(tmp_path / "trace.json"):
        await shop().adispatch(NAME)
        raise error

    assert raised.value is error and not hasattr(error, "__notes__")
    assert bars(tmp_path / "trace.json") == [NAME, "listener"]


async def test_it_is_written_also_if_the_block_is_cancelled(tmp_path):
    with anyio.CancelScope() as scope, timeline(tmp_path / "trace.json"):
        await shop().adispatch(NAME)
        scope.cancel()
        await anyio.sleep_forever()

    assert bars(tmp_path / "trace.json") == [NAME, "listener"]


def test_a_path_that_cannot_be_written_says_so_at_the_beginning(tmp_path):
    ran = []

    with pytest.raises(FileNotFoundError), timeline(tmp_path / "nowhere" / "trace.json"):
        ran.append(True)

    assert ran == []


def test_an_error_of_writing_leaves_at_the_end(tmp_path):
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "trace.json"

    with pytest.raises(FileNotFoundError), timeline(path):
        path.unlink()
        path.parent.rmdir()


def test_an_error_of_writing_does_not_take_the_place_of_another(tmp_path):
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "trace.json"

    with pytest.raises(ValueError, match="no") as raised, timeline(path):
        path.unlink()
        path.parent.rmdir()
        raise ValueError("no")

    assert raised.value.__notes__[0].startswith(f"the timeline could not be written to {path}: FileNotFoundError")


# What it refuses


def test_refuses_a_dispatcher_in_the_place_of_the_path():
    with pytest.raises(TypeError, match=r"the path of the file comes first, None for no file, .* 'shop'"):
        timeline(shop())


def test_refuses_what_is_no_dispatcher():
    with pytest.raises(TypeError, match=r"a timeline watches dispatchers; got 'order' \(str\)"):
        timeline(None, "order")


@pytest.mark.parametrize(("number", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_refuses_to_keep_less_than_one_dispatch(number, error):
    with pytest.raises(error, match="max_dispatches= is how many dispatches are kept"):
        timeline(max_dispatches=number)


def test_it_keeps_all_if_it_is_told_so():
    with timeline(max_dispatches=None) as recorded:
        EventDispatcher().dispatch(NAME)

    assert recorded.dropped == 0


def test_it_records_one_block():
    with timeline() as recorded:
        with pytest.raises(RuntimeError, match="a timeline records one block"):
            recorded.__enter__()
    with pytest.raises(RuntimeError, match="a timeline records one block"):
        recorded.__enter__()


def test_it_tells_how_much_it_has():
    with timeline() as recorded:
        EventDispatcher().dispatch(NAME)

    assert repr(recorded) == "<Timeline, dispatches: 1>"
