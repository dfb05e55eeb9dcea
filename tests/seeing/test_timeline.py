"""What a timeline records, and the files that it writes."""

from __future__ import annotations

import gc
import json
from functools import partial
from threading import Barrier, Thread
from xml.etree import ElementTree as ET

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, EventDispatcher, Race
from antiphon.instruments.timeline import Timeline, as_chrome_trace, as_svg, as_text, timeline
from tests.seeing.timeline_records import timeline as records_of

NAME = "order.placed"


async def charge(event): ...


def bars(path):
    return [event["name"] for event in json.loads(path.read_text())["traceEvents"] if event["ph"] == "X"]


def shop(*listeners, **options):
    dispatcher = AsyncEventDispatcher(name="shop", **options)
    for listener in listeners or [charge]:
        dispatcher.add_listener(NAME, listener)
    return dispatcher


# Which dispatches are recorded


async def test_records_dispatchers_of_before_and_within_the_block(tmp_path):
    dispatcher = shop()

    with timeline(tmp_path / "trace.json") as recorded:
        await dispatcher.adispatch(NAME)
        await shop().adispatch(NAME)
        EventDispatcher().dispatch("shop.closed")
        gc.collect()

    assert [record.name for record in recorded.records] == [NAME, NAME, "shop.closed"]
    assert bars(tmp_path / "trace.json") == [NAME, "charge", NAME, "charge", "shop.closed"]
    assert repr(recorded) == "<Timeline, dispatches: 3>"


async def test_records_given_dispatchers_alone():
    one, other = shop(), shop()

    with timeline(None, one, one) as recorded:
        for each in (one, other, shop()):
            await each.adispatch(NAME)

    assert [record.dispatcher for record in recorded.records] == [one]


@pytest.mark.parametrize("is_given", [True, False])
async def test_records_scopes(is_given):
    dispatcher = shop()

    with dispatcher.scope() as older, timeline(None, *[dispatcher] * is_given) as recorded:
        await older.adispatch(NAME)
        with dispatcher.scope() as scoped:
            await scoped.adispatch(NAME)

    assert [record.dispatcher for record in recorded.records] == [older, scoped]


@pytest.mark.parametrize("is_given", [True, False])
async def test_records_nothing_after_the_block(is_given):
    dispatcher = shop()

    with timeline(None, *[dispatcher] * is_given) as recorded:
        inner = shop()
    for each in (dispatcher, inner, shop()):
        await each.adispatch(NAME)
        with pytest.raises(ValueError):
            each.remove_instrument(recorded)
    # A dispatch in another thread may start while the block ends.
    recorded.dispatch_started(*records_of("order.placed 0 1"))

    assert recorded.records == ()


async def test_may_be_removed_from_a_dispatcher_in_the_block():
    dispatcher = shop()

    with timeline(None, dispatcher) as recorded:
        dispatcher.remove_instrument(recorded)
        await dispatcher.adispatch(NAME)

    assert recorded.records == ()


async def test_two_timelines_record_the_same():
    with timeline() as one, timeline() as other:
        await shop().adispatch(NAME)

    assert one.records == other.records != ()


async def test_keeps_the_latest_dispatches():
    dispatcher, recorded = AsyncEventDispatcher(), Timeline(max_dispatches=2)
    dispatcher.add_instrument(recorded)

    for number in range(5):
        await dispatcher.adispatch(f"order.{number}")

    assert [record.name for record in recorded.records] == ["order.3", "order.4"]
    assert recorded.dropped == 3
    assert "3 earlier dispatches were dropped" in recorded.text()
    assert "3 earlier dispatches were dropped" in recorded.svg()
    assert json.loads(recorded.chrome_trace())["otherData"] == {"dispatches": 2, "dropped": 3}


def test_max_dispatches_may_be_none():
    with timeline(max_dispatches=None) as recorded:
        EventDispatcher().dispatch(NAME)

    assert recorded.dropped == 0


def test_counts_dispatches_of_many_threads():
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


def test_does_not_access_attributes_of_other_objects():
    class Pretender:
        @property
        def __class__(self):
            raise AssertionError("accessed")

    pretender = Pretender()

    with timeline() as recorded:
        assert type(pretender) is Pretender

    assert recorded.records == ()


# Recorded dispatches as text and as a trace


async def test_concurrent_listeners_overlap():
    started, both = [], anyio.Event()

    async def meet(event):
        started.append(event)
        if len(started) == 2:
            both.set()
        await both.wait()

    with timeline() as recorded:
        await shop(meet, meet, strategy=Concurrent()).adispatch(NAME)

    one, other = (
        event for event in json.loads(recorded.chrome_trace())["traceEvents"] if event.get("cat") == "listener"
    )
    assert one["name"] == other["name"] == "meet" and one["tid"] != other["tid"]
    assert max(one["ts"], other["ts"]) <= min(one["ts"] + one["dur"], other["ts"] + other["dur"])


async def test_losers_of_a_race_are_cancelled():
    started = anyio.Event()

    async def slow(event):
        started.set()
        await anyio.sleep_forever()

    async def fast(event):
        await started.wait()
        event.stop_propagation()

    dispatcher = shop(slow, fast, strategy=Race())
    dispatcher.add_listener(NAME, charge, priority=1)
    with timeline() as recorded:
        await dispatcher.adispatch(NAME)

    lines = recorded.text(width=120).splitlines()[:4]
    assert [line.split()[line[0] == " "] for line in lines] == [NAME, "slow", "fast", "charge"]
    assert [line.rpartition("  ")[2].rpartition(", ")[2] for line in lines] == [
        "stopped", "cancelled", "stopped the event", "skipped: stopped",
    ]  # fmt: skip


async def test_nested_dispatch_is_below_its_listener():
    async def pay(event):
        await dispatcher.adispatch("payment.wanted")

    dispatcher = shop(pay)
    dispatcher.add_listener("payment.wanted", charge)
    with timeline() as recorded:
        await dispatcher.adispatch(NAME)

    rows = [line.split() for line in recorded.text(width=120).splitlines()[:4]]
    assert [row[row[0] == "0"] for row in rows] == [NAME, "pay", "payment.wanted", "charge"]
    assert len([event for event in json.loads(recorded.chrome_trace())["traceEvents"] if event["ph"] in "sf"]) == 2


async def test_running_calls_are_shown_within_the_block():
    texts = []

    async def look(event):
        texts.append(recorded.text(width=100))

    with timeline() as recorded:
        await shop(look, charge).adispatch(NAME)

    assert [line.rpartition("  ")[2].rpartition(", ")[2] for line in texts[0].splitlines()[:3]] == [
        "running", "running", "not started yet",
    ]  # fmt: skip


# Files


@pytest.mark.parametrize("name", ["trace.json", "trace", "trace.perfetto", "trace.svg", "TRACE.SVG", "trace.txt"])
async def test_file_format_follows_the_suffix(tmp_path, name):
    with timeline(str(tmp_path / name)) as recorded:
        await shop().adispatch(NAME)

    written = (tmp_path / name).read_text(encoding="utf-8")
    if name.lower().endswith("svg"):
        assert written == recorded.svg() == recorded._repr_svg_()
        assert ET.fromstring(written).tag.endswith("svg")
    elif name.endswith("txt"):
        assert written == recorded.text(width=120)
    else:
        assert bars(tmp_path / name) == [NAME, "charge"]


async def test_several_files_may_be_written(tmp_path):
    with timeline() as recorded:
        await shop().adispatch(NAME)
    for name in ("trace.json", "trace.svg"):
        recorded.write(tmp_path / name)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["trace.json", "trace.svg"]


async def test_file_is_written_when_the_block_raises(tmp_path):
    error = ValueError("no")

    with pytest.raises(ValueError) as raised, timeline(tmp_path / "trace.json"):
        await shop().adispatch(NAME)
        raise error

    assert raised.value is error and not hasattr(error, "__notes__")
    assert bars(tmp_path / "trace.json") == [NAME, "charge"]


async def test_file_is_written_when_the_block_is_cancelled(tmp_path):
    with anyio.CancelScope() as scope, timeline(tmp_path / "trace.json"):
        await shop().adispatch(NAME)
        scope.cancel()
        await anyio.sleep_forever()

    assert bars(tmp_path / "trace.json") == [NAME, "charge"]


def test_unwritable_path_raises_before_the_block(tmp_path):
    ran = []

    with pytest.raises(FileNotFoundError), timeline(tmp_path / "nowhere" / "trace.json"):
        ran.append(True)

    assert ran == []


@pytest.mark.parametrize("error", [None, ValueError("no")])
def test_write_error_does_not_replace_the_error_of_the_block(tmp_path, error):
    path = tmp_path / "folder" / "trace.json"
    path.parent.mkdir()

    with pytest.raises(type(error) if error else FileNotFoundError) as raised, timeline(path):
        path.unlink()
        path.parent.rmdir()
        if error:
            raise error

    if error:
        assert raised.value is error
        assert error.__notes__[0].startswith(f"the timeline could not be written to {path}: FileNotFoundError")


# Refusals


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: timeline(shop()), TypeError, "the first argument must be the path of the file, .* 'shop'"),
        (lambda: timeline(None, "order"), TypeError, r"a timeline records dispatchers; got 'order' \(str\)"),
        *(
            (partial(timeline, max_dispatches=number), error, "max_dispatches= must be ")
            for number, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError))
        ),
    ],
)
def test_invalid_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


WRONG_ARGUMENTS = [
    (7, {}, TypeError, r"takes an iterable of dispatch records, such as timeline.records; got 7 \(int\)"),
    (["order"], {}, TypeError, r"takes an iterable of dispatch records, .* got 'order' \(str\)"),
    ((), {"until": "now"}, TypeError, "until= must be a time"),
    ((), {"until": float("nan")}, ValueError, "until= must be a finite number"),
    ((), {"dropped": -1}, ValueError, "dropped= must be at least 0; got -1"),
    ((), {"dropped": None}, TypeError, "dropped= must be the number of dropped dispatches"),
]


@pytest.mark.parametrize("render", [as_text, as_svg, as_chrome_trace])
@pytest.mark.parametrize(("records", "options", "error", "message"), WRONG_ARGUMENTS)
def test_wrong_arguments_of_charts_and_traces_are_refused(render, records, options, error, message):
    with pytest.raises(error, match=message):
        render(records, **options)


@pytest.mark.parametrize("render", [as_text, as_svg, Timeline.text, Timeline.svg])
@pytest.mark.parametrize(
    ("width", "error", "message"),
    [
        ("960", TypeError, "width= must be a number of (columns|pixels), an int; got '960'"),
        (960.5, TypeError, "an int; got 960.5"),
        (True, TypeError, "an int; got True"),
        (1, ValueError, "width= must be at least"),
        (10**30, ValueError, "width= must be at most 100000"),
    ],
)
def test_wrong_widths_of_charts_are_refused(render, width, error, message):
    charted = Timeline() if render in (Timeline.text, Timeline.svg) else ()

    with pytest.raises(error, match=message):
        render(charted, width=width)


def test_records_one_block_only():
    with timeline() as recorded:
        with pytest.raises(RuntimeError, match="a timeline can be entered only once"):
            recorded.__enter__()
    with pytest.raises(RuntimeError, match="a timeline can be entered only once"):
        recorded.__enter__()
