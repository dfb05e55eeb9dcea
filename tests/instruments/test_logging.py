"""The logging instrument: a line for each dispatch and each listener, and what a log record carries of them."""

from __future__ import annotations

import json
import logging
from functools import partial
from typing import Any
from unittest.mock import AsyncMock

import anyio
import pytest
import structlog

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, in_thread, inline
from antiphon.instruments.logging import LoggingInstrument
from tests.helpers import AnyDispatcher
from tests.instruments.recording_instrument import add_named_listener


class OrderPlaced(Event): ...


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[str]:
        """Level and text, without what differs from run to run."""
        return [f"{record.levelname} {without_times(record.getMessage())}" for record in self.records]


def without_times(line: str) -> str:
    """Leave the durations out."""
    return " ".join("N" if word.replace(".", "").isdigit() and "." in word else word for word in line.split())


@pytest.fixture
def log() -> Any:
    """All that is logged to the logger of the tests."""
    logger, handler = logging.getLogger("antiphon.test"), Lines()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


NAME = f"{__name__}.{{}}".format


async def confirm(event: Any) -> None:
    """Listen."""


def confirm_plainly(event: Any) -> None:
    """Listen."""


async def stop(event: Any) -> None:
    """Listen, and stop the event."""
    event.stop_propagation()


async def fail(event: Any) -> None:
    """Listen, and fail."""
    raise LookupError("no stock")


def logging_to(logger: Any = "antiphon.test", **options: Any) -> AsyncEventDispatcher:
    """Make a dispatcher that logs."""
    dispatcher = AsyncEventDispatcher(name="shop")
    dispatcher.add_instrument(LoggingInstrument(logger, **options))
    return dispatcher


async def test_a_line_for_each_listener_and_one_for_the_dispatch(log: Lines) -> None:
    dispatcher = logging_to()
    dispatcher.add_listener("order.placed", confirm)
    await dispatcher.adispatch("order.placed", OrderPlaced())
    await dispatcher.adispatch("nothing")
    await dispatcher.adispatch(OrderPlaced())

    assert log.lines == [
        f"DEBUG called {NAME('confirm')} for order.placed (OrderPlaced): finished in N ms",
        "INFO dispatched order.placed (OrderPlaced), 1 listener: finished in N ms",
        "INFO dispatched nothing (Event), nobody listened: finished in N ms",
        "INFO dispatched OrderPlaced, nobody listened: finished in N ms",
    ]


async def test_a_sync_dispatcher_logs_the_same(log: Lines) -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_instrument(LoggingInstrument("antiphon.test"))
    dispatcher.add_listener("order.placed", confirm_plainly)
    dispatcher.dispatch("order.placed", OrderPlaced())

    assert log.lines == [
        f"DEBUG called {NAME('confirm_plainly')} for order.placed (OrderPlaced): finished in N ms",
        "INFO dispatched order.placed (OrderPlaced), 1 listener: finished in N ms",
    ]


async def test_who_stopped_and_who_was_skipped(log: Lines) -> None:
    dispatcher = logging_to()
    dispatcher.add_listener("order.placed", confirm, where=lambda event: False)
    dispatcher.add_listener("order.placed", stop)
    dispatcher.add_listener("order.placed", confirm)
    await dispatcher.adispatch("order.placed", OrderPlaced())

    assert log.lines == [
        f"DEBUG skipped {NAME('confirm')} for order.placed (OrderPlaced): where",
        f"DEBUG called {NAME('stop')} for order.placed (OrderPlaced): finished in N ms",
        f"DEBUG skipped {NAME('confirm')} for order.placed (OrderPlaced): stopped",
        f"INFO dispatched order.placed (OrderPlaced), 3 listeners: stopped by {NAME('stop')} in N ms",
    ]


async def test_a_failure_is_logged_with_its_traceback_once(log: Lines) -> None:
    dispatcher = logging_to()
    dispatcher.add_listener("order.placed", fail)
    with pytest.raises(LookupError) as caught:
        await dispatcher.adispatch("order.placed", OrderPlaced())

    ending = "failed in N ms with LookupError('no stock')"
    assert log.lines == [
        f"ERROR called {NAME('fail')} for order.placed (OrderPlaced): {ending}",
        f"ERROR dispatched order.placed (OrderPlaced), 1 listener: {ending}",
    ]
    called, dispatched = log.records
    assert called.exc_info is not None
    assert called.exc_info[1] is caught.value
    assert dispatched.exc_info is None


@pytest.mark.parametrize("strategy", [None, Concurrent()], ids=repr)
async def test_the_traceback_of_an_error_that_passes_through_dispatches_is_logged_once(
    log: Lines, strategy: Any
) -> None:
    dispatcher = logging_to()
    dispatcher.add_listener("reserved", fail)

    async def reserve(event: Any) -> None:
        await dispatcher.adispatch("reserved", strategy=strategy)

    dispatcher.add_listener("order.placed", reserve)
    with pytest.raises((LookupError, ExceptionGroup)):
        await dispatcher.adispatch("order.placed", OrderPlaced())

    assert [record.levelname for record in log.records] == ["ERROR"] * 4
    assert [record.exc_info is not None for record in log.records] == [True, False, False, False]


async def test_another_error_in_the_outer_listener_has_a_traceback_of_its_own(log: Lines) -> None:
    dispatcher = logging_to()
    dispatcher.add_listener("reserved", fail)

    async def reserve(event: Any) -> None:
        try:
            await dispatcher.adispatch("reserved")
        except LookupError:
            raise RuntimeError from None

    dispatcher.add_listener("order.placed", reserve)
    with pytest.raises(RuntimeError):
        await dispatcher.adispatch("order.placed", OrderPlaced())

    assert [record.exc_info is not None for record in log.records] == [True, False, True, False]


async def test_where_listeners_are_not_logged_the_dispatch_has_the_traceback(log: Lines) -> None:
    dispatcher = logging_to(listeners=None, failures=None)
    dispatcher.add_listener("order.placed", fail)
    with pytest.raises(LookupError):
        await dispatcher.adispatch("order.placed", OrderPlaced())

    (line,) = log.lines
    assert line.startswith("INFO dispatched order.placed")
    assert log.records[0].exc_info is not None


async def test_without_exc_info_there_is_no_traceback(log: Lines) -> None:
    dispatcher = logging_to(exc_info=False)
    dispatcher.add_listener("order.placed", fail)
    with pytest.raises(LookupError):
        await dispatcher.adispatch("order.placed", OrderPlaced())

    assert [record.exc_info for record in log.records] == [None, None]
    assert all("LookupError('no stock')" in line for line in log.lines)


async def test_levels_are_chosen(log: Lines) -> None:
    dispatcher = logging_to(dispatches=logging.DEBUG, listeners=logging.INFO, failures=logging.CRITICAL)
    dispatcher.add_listener("order.placed", confirm)
    dispatcher.add_listener("order.placed", fail)
    with pytest.raises(LookupError):
        await dispatcher.adispatch("order.placed", OrderPlaced())
    await dispatcher.adispatch("nothing")

    assert [record.levelname for record in log.records] == ["INFO", "CRITICAL", "CRITICAL", "DEBUG"]


async def test_beginnings_are_logged_if_they_are_wanted(log: Lines) -> None:
    dispatcher = logging_to(starts=logging.DEBUG)
    dispatcher.add_listener("order.placed", confirm)
    await dispatcher.adispatch("order.placed", OrderPlaced())

    assert log.lines == [
        "DEBUG dispatching order.placed (OrderPlaced)",
        f"DEBUG calling {NAME('confirm')} for order.placed (OrderPlaced)",
        f"DEBUG called {NAME('confirm')} for order.placed (OrderPlaced): finished in N ms",
        "INFO dispatched order.placed (OrderPlaced), 1 listener: finished in N ms",
    ]


async def test_log_records_carry_what_the_line_tells(log: Lines) -> None:
    dispatcher = logging_to()
    dispatcher.add_listener("order.placed", stop)
    dispatcher.add_listener("order.placed", confirm)
    await dispatcher.adispatch("order.placed", OrderPlaced())

    called, skipped, dispatched = (vars(record) for record in log.records)
    common = {"event_name": "order.placed", "event_class": "OrderPlaced", "dispatcher": repr(dispatcher)}
    assert called.items() >= {**common, "listener": NAME("stop"), "outcome": "finished"}.items()
    assert skipped.items() >= {**common, "listener": NAME("confirm"), "skipped_because": "stopped"}.items()
    assert dispatched.items() >= {**common, "outcome": "stopped", "stopped_by": NAME("stop")}.items()
    assert 0 < called["duration"] < dispatched["duration"]
    assert skipped["duration"] is None


async def test_nothing_is_formatted_where_the_level_is_off(log: Lines) -> None:
    class Secret(Event):
        """Nobody looks at it."""

    asked: list[str] = []

    class Listener:
        async def __call__(self, event: Any) -> None: ...

        def __repr__(self) -> str:
            asked.append("repr")
            return "listener"

    dispatcher = logging_to()
    dispatcher.add_listener("order.placed", Listener())
    logging.getLogger("antiphon.test").setLevel(logging.WARNING)
    await dispatcher.adispatch("order.placed", Secret())

    assert (log.lines, asked) == ([], [])


async def test_the_default_logger_is_a_child_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(LoggingInstrument())
    with caplog.at_level(logging.INFO, "antiphon"):
        await dispatcher.adispatch("order.placed")

    assert [record.name for record in caplog.records] == ["antiphon.dispatch"]


@pytest.mark.parametrize("wrap", [lambda logger: logger, lambda logger: logging.LoggerAdapter(logger)])
async def test_a_logger_and_an_adapter_are_taken(log: Lines, wrap: Any) -> None:
    dispatcher = logging_to(wrap(logging.getLogger("antiphon.test")))
    await dispatcher.adispatch("order.placed")

    assert len(log.lines) == 1


@pytest.mark.parametrize("level", ["INFO", True, 1.5])
def test_what_is_no_level_is_refused(level: Any) -> None:
    with pytest.raises(TypeError, match=r"a level is an int such as logging\.INFO, or None; got"):
        LoggingInstrument(dispatches=level)


def test_what_is_no_logger_is_refused() -> None:
    with pytest.raises(TypeError, match="logger= is a logger of the logging module, or the name of one; got 3"):
        LoggingInstrument(3)  # type: ignore[arg-type]  # that is its subject


async def test_listeners_have_names_that_one_can_read(log: Lines) -> None:
    class Listener:
        async def __call__(self, event: Any) -> None: ...

    class Choir:
        async def sing(self, event: Any) -> None: ...

    mock = AsyncMock()
    dispatcher = logging_to()
    here = f"{__name__}.test_listeners_have_names_that_one_can_read.<locals>"
    expected = {
        NAME("confirm"): confirm,
        f"{here}.Choir.sing": Choir().sing,
        f"{here}.Listener": Listener(),
        "unittest.mock.AsyncMock": mock,
    }
    for listener in (*expected.values(), partial(confirm), inline(confirm_plainly), in_thread(confirm_plainly)):
        dispatcher.add_listener("order.placed", listener)
    async with dispatcher.stream("order.placed"):
        await dispatcher.adispatch("order.placed", OrderPlaced())

    plain = NAME("confirm_plainly")
    names = [vars(record)["listener"] for record in log.records[:-1]]
    assert names == [*expected, NAME("confirm"), plain, plain, "<stream of 'order.placed'>"]


async def test_what_cannot_be_shown_is_logged_all_the_same(log: Lines) -> None:
    class Unspeakable:
        def __repr__(self) -> str:
            raise RuntimeError("no words here")

        __str__ = __repr__

    class UnspeakableDispatcher(Unspeakable, AsyncEventDispatcher): ...

    class UnspeakableError(Unspeakable, Exception): ...

    class UnspeakableListener(Unspeakable):
        def __getattr__(self, name: str) -> Any:
            if name == "__qualname__":
                raise RuntimeError("no attributes here")
            raise AttributeError(name)

        async def __call__(self, event: Any) -> None:
            raise UnspeakableError

    dispatcher = UnspeakableDispatcher()
    dispatcher.add_instrument(LoggingInstrument("antiphon.test"))
    dispatcher.add_listener("order.placed", UnspeakableListener())
    with pytest.raises(UnspeakableError):
        await dispatcher.adispatch("order.placed")

    called, dispatched = log.lines
    assert "<locals>.UnspeakableListener for" in called
    assert "UnspeakableError object at" in called
    assert "UnspeakableError object at" in dispatched
    assert "UnspeakableDispatcher object at" in vars(log.records[0])["dispatcher"]


async def test_a_cancelled_dispatch_is_no_failure(log: Lines) -> None:
    dispatcher = logging_to()
    add_named_listener(dispatcher, "order.placed", "alto")

    async def wait(event: Any) -> None:
        await anyio.sleep_forever()

    dispatcher.add_listener("order.placed", wait)
    with anyio.move_on_after(0):
        await dispatcher.adispatch("order.placed")

    assert [record.levelname for record in log.records] == ["DEBUG", "DEBUG", "INFO"]
    assert log.lines[-1].startswith("INFO dispatched order.placed (Event), 2 listeners: cancelled in")
    assert all(record.exc_info is None for record in log.records)


async def test_no_error_is_kept(log: Lines) -> None:
    instrument = LoggingInstrument("antiphon.test")
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(instrument)
    dispatcher.add_listener("reserved", fail)
    async with dispatcher.queue(errors=lambda exc, event, name: None) as queue:

        async def reserve(event: Any) -> None:
            queue.post_nowait("reserved")

        dispatcher.add_listener("order.placed", reserve)
        await dispatcher.adispatch("order.placed", OrderPlaced())
        await queue.join()

    assert len(instrument._shown) == 0


# structlog


async def test_structlog_renders_lines_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
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
        dispatcher = logging_to("antiphon.test.structlog")
        dispatcher.add_listener("order.placed", confirm)
        await dispatcher.adispatch("order.placed", OrderPlaced())
    finally:
        logger.removeHandler(handler)

    line = json.loads(capsys.readouterr().err)
    assert line["event"].startswith("dispatched order.placed (OrderPlaced), 1 listener: finished in ")
    assert (line["event_name"], line["outcome"], line["level"]) == ("order.placed", "finished", "info")


async def test_a_logger_of_structlog_is_taken(log: Lines) -> None:
    logger = structlog.wrap_logger(
        logging.getLogger("antiphon.test"),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.stdlib.PositionalArgumentsFormatter(), structlog.stdlib.render_to_log_kwargs],
    )
    dispatcher = logging_to(logger)
    await dispatcher.adispatch("order.placed")

    assert log.lines == ["INFO dispatched order.placed (Event), nobody listened: finished in N ms"]


# HARP


async def test_it_does_what_harp_writes_by_hand(log: Lines, dispatcher: AnyDispatcher) -> None:
    """The event before its listeners, each listener before it runs, and the error that leaves."""
    dispatcher.add_instrument(LoggingInstrument("antiphon.test", starts=logging.DEBUG, exc_info=False))

    def fails(event: Any) -> None:
        raise LookupError("no stock")

    add_named_listener(dispatcher, "core.request", "controller")
    add_named_listener(dispatcher, "core.request", "proxy", fails)
    with pytest.raises(LookupError):
        await dispatcher.adispatch("core.request")

    assert [line.split()[0:2] for line in log.lines] == [
        ["DEBUG", "dispatching"],
        ["DEBUG", "calling"],
        ["DEBUG", "called"],
        ["DEBUG", "calling"],
        ["ERROR", "called"],
        ["ERROR", "dispatched"],
    ]
