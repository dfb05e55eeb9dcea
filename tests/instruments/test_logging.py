"""The logging instrument: its lines, and the attributes of its log records."""

from __future__ import annotations

import json
import logging
from functools import partial
from unittest.mock import AsyncMock

import anyio
import pytest
import structlog

from antiphon import AsyncEventDispatcher, Concurrent, Event, in_thread, inline
from antiphon.instruments.logging import LoggingInstrument
from tests.instruments.recording_instrument import add


class OrderPlaced(Event): ...


class Lines(logging.Handler):
    """Keeps the log records."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)

    @property
    def lines(self):
        """Level and text, with N for durations."""
        return [f"{record.levelname} {without_times(record.getMessage())}" for record in self.records]


def without_times(line):
    return " ".join("N" if word.replace(".", "").isdigit() and "." in word else word for word in line.split())


@pytest.fixture
def log():
    """What is logged to the logger of the tests."""
    logger, handler = logging.getLogger("antiphon.test"), Lines()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


NAME = f"{__name__}.{{}}".format
ORDER = "order.placed (OrderPlaced)"


async def confirm(event): ...


def confirm_sync(event): ...


async def stop(event):
    event.stop_propagation()


async def fail(event):
    raise LookupError("no stock")


def logging_to(logger="antiphon.test", *listeners, **options):
    """Make a dispatcher that logs, with listeners."""
    dispatcher = AsyncEventDispatcher(name="shop")
    dispatcher.add_instrument(LoggingInstrument(logger, **options))
    for listener in listeners:
        dispatcher.add_listener("order.placed", listener)
    return dispatcher


async def dispatch_failing(dispatcher):
    """Dispatch an order whose error leaves; return the error."""
    with pytest.raises((LookupError, RuntimeError, ExceptionGroup)) as caught:
        await dispatcher.adispatch("order.placed", OrderPlaced())
    return caught.value


# Lines


async def test_line_for_each_listener_and_dispatch(log):
    dispatcher = logging_to("antiphon.test", confirm)
    await dispatcher.adispatch("order.placed", OrderPlaced())
    await dispatcher.adispatch("nothing")
    await dispatcher.adispatch(OrderPlaced())

    assert log.lines == [
        f"DEBUG called {NAME('confirm')} for {ORDER}: finished in N ms",
        f"INFO dispatched {ORDER}, 1 listener: finished in N ms",
        "INFO dispatched nothing (Event), nobody listened: finished in N ms",
        "INFO dispatched OrderPlaced, nobody listened: finished in N ms",
    ]


async def test_lines_of_stopped_and_skipped(log):
    dispatcher = logging_to()
    dispatcher.add_listener("order.placed", confirm, where=lambda event: False)
    dispatcher.add_listener("order.placed", stop)
    dispatcher.add_listener("order.placed", confirm)
    await dispatcher.adispatch("order.placed", OrderPlaced())

    assert log.lines == [
        f"DEBUG skipped {NAME('confirm')} for {ORDER}: where",
        f"DEBUG called {NAME('stop')} for {ORDER}: finished in N ms",
        f"DEBUG skipped {NAME('confirm')} for {ORDER}: stopped",
        f"INFO dispatched {ORDER}, 3 listeners: stopped by {NAME('stop')} in N ms",
    ]


async def test_starts_are_logged_on_request(log):
    dispatcher = logging_to("antiphon.test", confirm, starts=logging.DEBUG)
    await dispatcher.adispatch("order.placed", OrderPlaced())

    assert log.lines == [
        f"DEBUG dispatching {ORDER}",
        f"DEBUG calling {NAME('confirm')} for {ORDER}",
        f"DEBUG called {NAME('confirm')} for {ORDER}: finished in N ms",
        f"INFO dispatched {ORDER}, 1 listener: finished in N ms",
    ]


async def test_cancelled_dispatch_is_not_a_failure(log):
    async def wait(event):
        await anyio.sleep_forever()

    dispatcher = logging_to("antiphon.test", confirm, wait)
    with anyio.move_on_after(0):
        await dispatcher.adispatch("order.placed")

    assert [record.levelname for record in log.records] == ["DEBUG", "DEBUG", "INFO"]
    assert log.lines[-1].startswith("INFO dispatched order.placed (Event), 2 listeners: cancelled in")
    assert all(record.exc_info is None for record in log.records)


async def test_levels_are_chosen(log):
    dispatcher = logging_to(
        "antiphon.test", confirm, fail, dispatches=logging.DEBUG, listeners=logging.INFO, failures=logging.CRITICAL
    )
    await dispatch_failing(dispatcher)
    await dispatcher.adispatch("nothing")

    assert [record.levelname for record in log.records] == ["INFO", "CRITICAL", "CRITICAL", "DEBUG"]


async def test_nothing_is_formatted_where_the_level_is_off(log):
    formatted = []

    class Listener:
        async def __call__(self, event): ...

        def __repr__(self):
            formatted.append("repr")
            return "listener"

    dispatcher = logging_to("antiphon.test", Listener())
    logging.getLogger("antiphon.test").setLevel(logging.WARNING)
    await dispatcher.adispatch("order.placed")

    assert (log.lines, formatted) == ([], [])


async def test_log_records_have_attributes(log):
    dispatcher = logging_to("antiphon.test", stop, confirm)
    await dispatcher.adispatch("order.placed", OrderPlaced())

    called, skipped, dispatched = (vars(record) for record in log.records)
    common = {"event_name": "order.placed", "event_class": "OrderPlaced", "dispatcher": repr(dispatcher)}
    assert called.items() >= {**common, "listener": NAME("stop"), "outcome": "finished"}.items()
    assert skipped.items() >= {**common, "listener": NAME("confirm"), "skipped_because": "stopped"}.items()
    assert dispatched.items() >= {**common, "outcome": "stopped", "stopped_by": NAME("stop")}.items()
    assert 0 < called["duration"] < dispatched["duration"]
    assert skipped["duration"] is None


async def test_listeners_have_readable_names(log):
    class Listener:
        async def __call__(self, event): ...

    class Stock:
        async def reserve(self, event): ...

    mock = AsyncMock()
    here = f"{__name__}.test_listeners_have_readable_names.<locals>"
    expected = {
        NAME("confirm"): confirm,
        f"{here}.Stock.reserve": Stock().reserve,
        f"{here}.Listener": Listener(),
        "unittest.mock.AsyncMock": mock,
    }
    adapted = (partial(confirm), inline(confirm_sync), in_thread(confirm_sync))
    dispatcher = logging_to("antiphon.test", *expected.values(), *adapted)
    async with dispatcher.stream("order.placed"):
        await dispatcher.adispatch("order.placed", OrderPlaced())

    sync = NAME("confirm_sync")
    names = [vars(record)["listener"] for record in log.records[:-1]]
    assert names == [*expected, NAME("confirm"), sync, sync, "<stream of 'order.placed'>"]


# Tracebacks


async def test_traceback_of_a_failure_is_logged_once(log):
    error = await dispatch_failing(logging_to("antiphon.test", fail))

    ending = "failed in N ms with LookupError('no stock')"
    assert log.lines == [
        f"ERROR called {NAME('fail')} for {ORDER}: {ending}",
        f"ERROR dispatched {ORDER}, 1 listener: {ending}",
    ]
    called, dispatched = log.records
    assert called.exc_info[1] is error
    assert dispatched.exc_info is None


@pytest.mark.parametrize(
    ("strategy", "is_replaced", "has_traceback"),
    [
        (None, False, [True, False, False, False]),
        (Concurrent(), False, [True, False, False, False]),
        (None, True, [True, False, True, False]),
    ],
    ids=["sequential", "concurrent", "another error"],
)
async def test_traceback_is_logged_where_the_error_is_first_seen(log, strategy, is_replaced, has_traceback):
    dispatcher = logging_to()
    dispatcher.add_listener("stock.reserved", fail)

    async def reserve(event):
        try:
            await dispatcher.adispatch("stock.reserved", strategy=strategy)
        except LookupError:
            if is_replaced:
                raise RuntimeError from None
            raise

    dispatcher.add_listener("order.placed", reserve)
    await dispatch_failing(dispatcher)

    assert [record.levelname for record in log.records] == ["ERROR"] * 4
    assert [record.exc_info is not None for record in log.records] == has_traceback


async def test_dispatch_has_the_traceback_if_listeners_are_not_logged(log):
    await dispatch_failing(logging_to("antiphon.test", fail, listeners=None, failures=None))

    (line,) = log.lines
    assert line.startswith("INFO dispatched order.placed")
    assert log.records[0].exc_info is not None


async def test_exc_info_may_be_off(log):
    await dispatch_failing(logging_to("antiphon.test", fail, exc_info=False))

    assert [record.exc_info for record in log.records] == [None, None]
    assert all("LookupError('no stock')" in line for line in log.lines)


async def test_no_error_is_kept(log):
    """The parent call of a queued event may have finished before the error."""
    instrument, dispatcher = LoggingInstrument("antiphon.test"), AsyncEventDispatcher()
    dispatcher.add_instrument(instrument)
    dispatcher.add_listener("stock.reserved", fail)
    async with dispatcher.queue(errors=lambda exc, event, name: None) as queue:

        async def reserve(event):
            queue.post_nowait("stock.reserved")

        dispatcher.add_listener("order.placed", reserve)
        await dispatcher.adispatch("order.placed", OrderPlaced())
        await queue.join()

    assert len(instrument._logged_errors) == 0


# Loggers


async def test_default_logger_is_a_child_of_antiphon(caplog):
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(LoggingInstrument())
    with caplog.at_level(logging.INFO, "antiphon"):
        await dispatcher.adispatch("order.placed")

    assert [record.name for record in caplog.records] == ["antiphon.dispatch"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logger: logger,
        logging.LoggerAdapter,
        partial(
            structlog.wrap_logger,
            wrapper_class=structlog.stdlib.BoundLogger,
            processors=[structlog.stdlib.PositionalArgumentsFormatter(), structlog.stdlib.render_to_log_kwargs],
        ),
    ],
    ids=["logger", "adapter", "structlog"],
)
async def test_loggers_of_all_kinds_are_accepted(log, wrap):
    dispatcher = logging_to(wrap(logging.getLogger("antiphon.test")))
    await dispatcher.adispatch("order.placed")

    assert log.lines == ["INFO dispatched order.placed (Event), nobody listened: finished in N ms"]


async def test_structlog_renders_lines_and_attributes(capsys):
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logger = logging.getLogger("antiphon.test.structlog")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        await logging_to("antiphon.test.structlog", confirm).adispatch("order.placed", OrderPlaced())
    finally:
        logger.removeHandler(handler)

    line = json.loads(capsys.readouterr().err)
    assert line["event"].startswith(f"dispatched {ORDER}, 1 listener: finished in ")
    assert (line["event_name"], line["outcome"], line["level"]) == ("order.placed", "finished", "info")


@pytest.mark.parametrize("name", ["dispatches", "listeners", "failures", "starts"])
@pytest.mark.parametrize("level", ["INFO", True, 1.5])
def test_invalid_level_is_refused(level, name):
    with pytest.raises(TypeError, match=rf"{name}= must be a level, an int such as logging\.INFO, or None; got"):
        LoggingInstrument(**{name: level})


def test_invalid_logger_is_refused():
    with pytest.raises(TypeError, match="logger= must be a logger of the logging module, or its name; got 3"):
        LoggingInstrument(3)


# HARP


async def test_replaces_the_manual_logging_of_harp(log, dispatcher):
    """HARP logs the event before its listeners, each listener before it runs, and the error that leaves."""
    dispatcher.add_instrument(LoggingInstrument("antiphon.test", starts=logging.DEBUG, exc_info=False))

    def fail(event):
        raise LookupError("no stock")

    add(dispatcher, "core.request", "controller")
    add(dispatcher, "core.request", "proxy", fail)
    with pytest.raises(LookupError):
        await dispatcher.adispatch("core.request")

    assert [" ".join(line.split()[:2]) for line in log.lines] == [
        "DEBUG dispatching",
        "DEBUG calling",
        "DEBUG called",
        "DEBUG calling",
        "ERROR called",
        "ERROR dispatched",
    ]
