"""Rules 8 and 10: a setter of an event that raises ends the dispatch, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Sequential
from antiphon._events.attributes import DispatchInfo
from antiphon._events.capabilities import _depths_by_identity, get_event_capabilities
from tests.helpers import AnyDispatcher, make_listener
from tests.instruments.recording_instrument import RecordingInstrument


def make_observed() -> AsyncEventDispatcher:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(RecordingInstrument())
    return dispatcher


DISPATCHERS: dict[str, Callable[[], AnyDispatcher]] = {
    "asynchronous": AsyncEventDispatcher,
    "concurrent": lambda: AsyncEventDispatcher(strategy=Concurrent()),
    "collecting": lambda: AsyncEventDispatcher(strategy=Sequential(errors="collect")),
    "synchronous": EventDispatcher,
    "observed": make_observed,
}


@pytest.fixture(params=DISPATCHERS)
def dispatcher(request: pytest.FixtureRequest) -> AnyDispatcher:
    return DISPATCHERS[request.param]()


class Refused(Exception):
    """What a setter raises."""


class Payment:
    """Base of the events: values that the setters refuse, and those that they accepted."""

    def __init__(self) -> None:
        self.__dict__.update(refused=set(), shown={})

    def take(self, attribute: str, value: object) -> None:
        if (attribute, value) in self.__dict__["refused"] or (attribute, "*") in self.__dict__["refused"]:
            raise Refused(attribute)
        self.__dict__["shown"][attribute] = value


def attribute(name: str, default: object) -> Any:
    return property(lambda self: self.__dict__["shown"].get(name, default), lambda self, value: self.take(name, value))


class OwnSetters(Payment, Event):
    """An `Event` with a mark of its own. (A ``name`` of its own would never be set.)"""

    propagation_stopped = attribute("propagation_stopped", False)


class DuckTyped(Payment):
    """Not an `Event`, but like one."""

    name = attribute("name", None)
    dispatcher = attribute("dispatcher", None)
    propagation_stopped = attribute("propagation_stopped", False)

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


class Pretending(Payment):
    """Claims another class, as a mock or a proxy does, and handles its attributes itself."""

    @property  # type: ignore[misc]  # that is its subject
    def __class__(self) -> type[Event]:  # type: ignore[override]
        return Event

    def __setattr__(self, attribute: str, value: object) -> None:
        self.take(attribute, value)

    def __getattr__(self, attribute: str) -> Any:
        try:
            return self.__dict__["shown"][attribute]
        except KeyError:
            raise AttributeError(attribute) from None

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


FOREIGN = [DuckTyped, Pretending]
KINDS = pytest.mark.parametrize("kind", FOREIGN, ids=lambda kind: kind.__name__)
SETTERS = [(kind, which) for kind in FOREIGN for which in ("name", "dispatcher", "propagation_stopped")]


def in_flight(event: Any) -> bool:
    """Return whether a dispatch treats the event as one that is being dispatched."""
    capabilities = get_event_capabilities(event)
    saved = capabilities.begin_dispatch(event, DispatchInfo("probe", None))
    capabilities.end_dispatch(event, saved)
    return saved is not None


@pytest.mark.parametrize(("kind", "which"), [*SETTERS, (OwnSetters, "propagation_stopped")])
async def test_a_failed_setter_leaves_no_event_in_flight(dispatcher: AnyDispatcher, kind: Any, which: str) -> None:
    called: list[Any] = []
    dispatcher.add_listener("payment.received", make_listener(dispatcher, called.append))
    event = kind()
    event.refused.add((which, "*"))

    with pytest.raises(Refused):
        await dispatcher.adispatch("payment.received", event)
    event.refused.clear()

    assert not in_flight(event)
    assert called == []
    await dispatcher.adispatch("payment.received", event)
    assert (len(called), event.name, event.dispatcher) == (1, "payment.received", dispatcher)


def make_failing_nested_dispatch(inner: AnyDispatcher) -> Any:
    """Make a listener that dispatches its event again, which a setter refuses."""

    async def pay(event: Any) -> None:
        with pytest.raises(Refused):
            await inner.adispatch("payment.booked", event)

    def pay_plainly(event: Any) -> None:
        with pytest.raises(Refused):
            cast("EventDispatcher", inner).dispatch("payment.booked", event)

    return pay if isinstance(inner, AsyncEventDispatcher) else pay_plainly


@KINDS
@pytest.mark.parametrize("which", ["inner name", "inner dispatcher", "outer name"])
async def test_a_failed_setter_of_a_nested_dispatch_restores_the_rest(
    dispatcher: AnyDispatcher, kind: Any, which: str
) -> None:
    seen: list[Any] = []
    event, inner = kind(), type(dispatcher)()
    refused: Any = {
        "inner name": ("name", "payment.booked"),
        "inner dispatcher": ("dispatcher", inner),
        "outer name": ("name", "payment.received"),
    }[which]

    def look(event: Any) -> None:
        seen.append((event.name, event.dispatcher, event.propagation_stopped))

    if which == "outer name":
        inner.add_listener("payment.booked", make_listener(inner, lambda event: event.refused.add(refused)))
    else:
        event.refused.add(refused)
    dispatcher.add_listener("payment.received", make_failing_nested_dispatch(inner))
    dispatcher.add_listener("payment.received", make_listener(dispatcher, look), priority=1)
    await dispatcher.adispatch("payment.received", event)
    event.refused.clear()

    name = "payment.booked" if which == "outer name" else "payment.received"
    assert seen == [(name, dispatcher, False)]
    assert not in_flight(event)


async def test_a_mark_that_cannot_be_set_restores_the_outer_dispatch(dispatcher: AnyDispatcher) -> None:
    seen: list[Any] = []
    event, inner = OwnSetters(), type(dispatcher)()

    def refuse(event: Any) -> None:
        event.refused.add(("propagation_stopped", False))

    dispatcher.add_listener("payment.received", make_listener(dispatcher, refuse))
    dispatcher.add_listener("payment.received", make_failing_nested_dispatch(inner), priority=1)
    dispatcher.add_listener(
        "payment.received",
        make_listener(dispatcher, lambda event: seen.append((event.name, event.dispatcher))),
        priority=2,
    )
    await dispatcher.adispatch("payment.received", event)
    event.refused.clear()

    assert seen == [("payment.received", dispatcher)]
    assert not in_flight(event)


@KINDS
@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt])
async def test_a_failed_setter_hides_no_error_of_the_dispatch(kind: Any, error: Any) -> None:
    inner, outer = EventDispatcher(), EventDispatcher()
    left: list[Any] = []

    @inner.listen("payment.booked")
    def fail(event: Any) -> None:
        event.refused.add(("name", "payment.received"))
        raise error("of the listener")

    @outer.listen("payment.received")
    def pay(event: Any) -> None:
        try:
            inner.dispatch("payment.booked", event)
        except BaseException as exc:
            left.append(exc)

    event = kind()
    outer.dispatch("payment.received", event)
    event.refused.clear()

    assert [type(exc) for exc in left] == [error]
    assert not in_flight(event)


@KINDS
async def test_a_failed_setter_hides_no_error_of_an_async_dispatch(kind: Any) -> None:
    inner, outer = AsyncEventDispatcher(), AsyncEventDispatcher()
    left: list[Any] = []

    @inner.listen("payment.booked")
    async def fail(event: Any) -> None:
        event.refused.add(("name", "payment.received"))
        raise LookupError("of the listener")

    @outer.listen("payment.received")
    async def pay(event: Any) -> None:
        try:
            await inner.adispatch("payment.booked", event)
        except Exception as exc:
            left.append(exc)

    event = kind()
    await outer.adispatch("payment.received", event)
    event.refused.clear()

    assert [type(exc) for exc in left] == [LookupError]
    assert not in_flight(event)


def test_a_refused_event_leaves_no_address_behind() -> None:
    dispatcher = EventDispatcher()
    for event in (DuckTyped(), Pretending()):
        event.__dict__["refused"].add(("name", "*"))
        with pytest.raises(Refused):
            dispatcher.dispatch("payment.received", event)

    assert _depths_by_identity == {}


async def test_instruments_see_the_end_if_the_mark_cannot_be_read() -> None:
    class Unreadable(Event):
        @property
        def propagation_stopped(self) -> bool:
            raise Refused("propagation_stopped")

        @propagation_stopped.setter
        def propagation_stopped(self, value: bool) -> None: ...

    dispatcher, witness = AsyncEventDispatcher(), RecordingInstrument()

    @dispatcher.listen("payment.received")
    async def book(event: Event) -> None: ...

    with pytest.raises(Refused):
        await dispatcher.adispatch("payment.received", Unreadable())
    dispatcher.add_instrument(witness)
    with pytest.raises(Refused):
        await dispatcher.adispatch("payment.received", Unreadable())

    assert witness.lines == [
        "dispatch payment.received",
        "call book",
        "called book: finished",
        "dispatched payment.received: failed",
    ]
