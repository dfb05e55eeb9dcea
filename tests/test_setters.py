"""Rules 8 and 10: a setter of an event that raises ends its dispatch, and leaves nothing of it behind."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Sequential
from antiphon._events.attributes import DispatchInfo
from antiphon._events.capabilities import _depths_by_identity, get_event_capabilities
from tests.helpers import AnyDispatcher, make_listener
from tests.instruments.recording_instrument import RecordingInstrument


@pytest.fixture(params=["asynchronous", "concurrent", "collecting", "synchronous", "observed"])
def dispatcher(request: pytest.FixtureRequest) -> AnyDispatcher:
    match request.param:
        case "concurrent":
            return AsyncEventDispatcher(strategy=Concurrent())
        case "collecting":
            return AsyncEventDispatcher(strategy=Sequential(errors="collect"))
        case "synchronous":
            return EventDispatcher()
        case "observed":
            observed = AsyncEventDispatcher()
            observed.add_instrument(RecordingInstrument())
            return observed
        case _:
            return AsyncEventDispatcher()


class Refused(Exception):
    """What a setter raises."""


class Payment:
    """What the events here share: values that their setters refuse, and those that they have taken."""

    def __init__(self) -> None:
        self.__dict__.update(refused=set(), shown={})

    def take(self, attribute: str, value: object) -> None:
        if (attribute, value) in self.__dict__["refused"] or (attribute, "*") in self.__dict__["refused"]:
            raise Refused(attribute)
        self.__dict__["shown"][attribute] = value


def attribute(name: str, default: object) -> Any:
    return property(lambda self: self.__dict__["shown"].get(name, default), lambda self, value: self.take(name, value))


class OwnSetters(Payment, Event):
    """An `Event` with properties."""

    name = attribute("name", None)
    dispatcher = attribute("dispatcher", None)
    propagation_stopped = attribute("propagation_stopped", False)


class DuckTyped(Payment):
    """Not an `Event`, but like one."""

    name = attribute("name", None)
    dispatcher = attribute("dispatcher", None)
    propagation_stopped = attribute("propagation_stopped", False)

    def stop_propagation(self) -> None:
        self.propagation_stopped = True


class Pretending(Payment):
    """Says that it is of another class, as a mock or a proxy does, and sees to its attributes itself."""

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


KINDS = pytest.mark.parametrize("kind", [OwnSetters, DuckTyped, Pretending], ids=lambda kind: kind.__name__)
ATTRIBUTES = pytest.mark.parametrize("which", ["name", "dispatcher", "propagation_stopped"])


def in_flight(event: Any) -> bool:
    """Whether a dispatch takes the event for one that is being dispatched."""
    capabilities = get_event_capabilities(event)
    outer = capabilities.begin_dispatch(event, DispatchInfo("probe", None))
    capabilities.end_dispatch(event, outer)
    return outer is not None


@KINDS
@ATTRIBUTES
async def test_an_event_whose_setter_raises_is_not_in_flight_afterwards(
    dispatcher: AnyDispatcher, kind: Any, which: str
) -> None:
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


@KINDS
async def test_a_nested_dispatch_whose_setter_raises_leaves_the_outer_view(
    dispatcher: AnyDispatcher, kind: Any
) -> None:
    seen: list[Any] = []
    inner = type(dispatcher)()

    if isinstance(dispatcher, AsyncEventDispatcher):

        async def pay(event: Any) -> None:
            with pytest.raises(Refused):
                await inner.adispatch("payment.booked", event)
    else:

        def pay(event: Any) -> None:  # type: ignore[misc]  # one name, of either kind
            with pytest.raises(Refused):
                inner.dispatch("payment.booked", event)

    def look(event: Any) -> None:
        seen.append((event.name, event.dispatcher, event.propagation_stopped))

    dispatcher.add_listener("payment.received", pay)
    dispatcher.add_listener("payment.received", make_listener(dispatcher, look), priority=1)

    for refused in (("name", "payment.booked"), ("dispatcher", inner)):
        event = kind()
        event.refused.add(refused)
        await dispatcher.adispatch("payment.received", event)
        event.refused.clear()
        assert not in_flight(event)

    assert seen == [("payment.received", dispatcher, False)] * 2


@KINDS
async def test_a_setter_that_refuses_the_outer_view_is_an_error_and_the_rest_is_put_back(
    dispatcher: AnyDispatcher, kind: Any
) -> None:
    seen: list[Any] = []
    inner = type(dispatcher)()

    def refuse_outer(event: Any) -> None:
        event.refused.add(("name", "payment.received"))

    inner.add_listener("payment.booked", make_listener(dispatcher, refuse_outer))
    if isinstance(dispatcher, AsyncEventDispatcher):

        async def pay(event: Any) -> None:
            with pytest.raises(Refused):
                await inner.adispatch("payment.booked", event)
    else:

        def pay(event: Any) -> None:  # type: ignore[misc]  # one name, of either kind
            with pytest.raises(Refused):
                inner.dispatch("payment.booked", event)

    dispatcher.add_listener("payment.received", pay)
    dispatcher.add_listener(
        "payment.received", make_listener(dispatcher, lambda event: seen.append(event.dispatcher)), priority=1
    )

    event = kind()
    await dispatcher.adispatch("payment.received", event)
    event.refused.clear()

    assert seen == [dispatcher]
    assert not in_flight(event)


@KINDS
@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt])
async def test_a_setter_that_raises_at_the_end_hides_no_error_of_the_dispatch(kind: Any, error: Any) -> None:
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


def test_another_object_at_the_address_of_a_refused_event_is_not_taken_for_it() -> None:
    dispatcher = EventDispatcher()
    for event in (DuckTyped(), Pretending()):
        event.__dict__["refused"].add(("name", "*"))
        with pytest.raises(Refused):
            dispatcher.dispatch("payment.received", event)

    assert _depths_by_identity == {}


async def test_instruments_see_the_end_of_a_dispatch_whose_event_cannot_be_asked_for_its_stop() -> None:
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
