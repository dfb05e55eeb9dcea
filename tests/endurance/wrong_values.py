"""The arguments of ``tests.endurance.bad_input``: values of many types, most of them wrong."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, NewType, TypeVar

from hypothesis import strategies as st

import antiphon
from antiphon import AsyncEventDispatcher, Event, EventDispatcher, Race
from antiphon._util.naming import safe_repr
from antiphon.bridges import Channel, EventRegistry, MemoryBroker, Message, Retry
from antiphon.instruments import DispatchRecord, Instrument
from antiphon.testing import record

__all__ = (
    "EVENTS",
    "ORDERS",
    "Arguments",
    "OrderPlaced",
    "OrderShipped",
    "Subscriber",
    "arguments_of",
    "listener",
    "sync_listener",
)


class OrderPlaced(Event): ...


class Color(Enum):
    """Members are names."""

    RED = "red"


class Unprintable:
    """Its repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError


class Unhashable:
    """It has no hash."""

    __hash__ = None  # type: ignore[assignment]


class Subscriber:
    """A subscriber with one listener."""

    @antiphon.listens_to("order.placed")
    async def confirm(self, event: Event) -> None: ...


class HalfSubscriber(Subscriber):
    """A subscriber whose second listener no dispatcher accepts."""

    @antiphon.listens_to("order.placed")
    def pack(self) -> None: ...


#: For bridges.
EVENTS = EventRegistry()
ORDERS = Channel("orders", retain=timedelta(hours=1))


@EVENTS.register("shop.order-shipped")
@dataclass
class OrderShipped:
    """An event that may cross a bridge."""

    number: int


@dataclass
class Unregistered:
    """A class that can be registered."""

    number: int


async def listener(event: Event) -> None: ...


def sync_listener(event: Event) -> None: ...


async def without_event() -> None: ...


def generator(event: Event) -> Iterator[None]:
    yield


def _make_record() -> DispatchRecord:
    dispatcher = EventDispatcher(name="shop")
    dispatcher.add_listener("order.placed", sync_listener)
    with record(dispatcher) as recording:
        dispatcher.dispatch("order.placed")
    return recording.dispatches[0]


_T = TypeVar("_T")
_RECORD = _make_record()
#: Values that are right for some parameter, and wrong for most others.
_VALUES = st.sampled_from(
    [
        None, True, False, 0, 1, -1, 10**30, 0.5, -0.0, float("nan"), float("inf"), 1j, "", "order.placed", "order.*", "*",
        "**", "a*b", "*.", "\ud800", "x" * 10_000, b"order.placed", (), ("order.placed",), (OrderPlaced,), [], {}, set(),
        frozenset({"order.placed"}), object(), Unprintable(), Unhashable(), Event, OrderPlaced, int, type, list[int],
        int | str, OrderPlaced | Unhashable, _T, NewType("_N", int), Event(), OrderPlaced(), Color, Color.RED, listener,
        sync_listener, without_event, generator, lambda: None, lambda event: event, partial(listener), print, len, Subscriber,
        Subscriber(), HalfSubscriber(), Race(), Race, "raise", "collect", "log", "suspend", "drop_oldest", re.compile("order"), NotImplemented,
        Ellipsis, ValueError, ValueError("declined"), range(3), iter(()), AsyncEventDispatcher(), EventDispatcher(), antiphon,
        EventDispatcher, "\0", 600, 10**6, Path("orders.svg"), "orders.txt", "no/folder.svg", "dispatch", "listener", "link",
        "asyncio", "trio", [_RECORD], (_RECORD,), [Unprintable()], _RECORD, _RECORD.listeners, Instrument(), Instrument,
        ORDERS, Channel, OrderShipped(1), OrderShipped("1"), OrderShipped, Unregistered, EVENTS, MemoryBroker(), MemoryBroker,  # type: ignore[arg-type]
        Retry(), Message("orders", "1", b"{}"), Message("payments", "1", b"{}"), timedelta(1), "shop.order-shipped",
        "/shop/web", {"region": "eu"}, {1: 1}, {"a": []}, [1, "x"], (int,), (OrderShipped,), "skip", "bury",
    ]
)  # fmt: skip
#: Values that get a call past its first checks.
_USUAL = st.sampled_from(
    [
        "order.placed",
        OrderPlaced,
        "order.*",
        listener,
        sync_listener,
        OrderPlaced(),
        0,
        1,
        None,
        ORDERS,
        OrderShipped(1),
    ]
)
#: Right values of parameters of these names, for calls with one wrong value.
_RIGHT: dict[str, Any] = {
    **dict.fromkeys(("key", "keys", "name"), "order.placed"),
    **dict.fromkeys(("listener", "function"), listener),
    **dict.fromkeys(("event", "error"), OrderPlaced()),
    "subscriber": Subscriber(),
    "instrument": Instrument(),
    "event_class": OrderPlaced,
    "channel": ORDERS,
    "max_buffer_size": 2,
}
#: Wrong values of which a part is right, so that a call may change something before it fails.
_HALF_RIGHT: dict[str, list[Any]] = {
    "subscriber": [HalfSubscriber()],
    "key": [OrderPlaced | Unregistered],
    "keys": [OrderPlaced | Unregistered, OrderPlaced | Unhashable],
}
# Without slashes, so that each file is in the current folder.
_TEXT = st.text(st.characters(exclude_characters="/\\"), max_size=5)
_ANY = st.one_of(_USUAL, _VALUES, _TEXT, st.integers(), st.floats(), st.binary(max_size=3))


class Arguments:
    """The arguments of a call. Its repr never raises, because Hypothesis prints it.

    Args:
        given: The positional arguments.
        options: The keyword arguments.
        decorated: The argument of the decorator that the call may return.
    """

    def __init__(self, given: list[Any], options: dict[str, Any], decorated: Any) -> None:
        self.given = given
        self.options = options
        self.decorated = decorated

    def __repr__(self) -> str:
        return f"(*[{', '.join(map(safe_repr, self.given))}], **{safe_repr(self.options)})"


def arguments_of(function: Callable[..., Any]) -> st.SearchStrategy[Arguments]:
    """Return a strategy for the arguments of a call."""
    parameters = list(inspect.signature(function).parameters.values())
    keywords = [one.name for one in parameters if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)]
    number = sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters)
    required = sum(
        one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) and one.default is one.empty for one in parameters
    )
    # A call with too few arguments ends before it does anything, so most have enough.
    least = st.sampled_from([0 if number == 0 else 1, required, required, required])
    positional = least.flatmap(lambda least: st.lists(_ANY, min_size=least, max_size=max(number, least, 2)))
    needed = {one.name: _ANY for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty}
    more = st.dictionaries(st.sampled_from([*keywords, "unknown"]), _ANY, max_size=3) if keywords else st.just({})
    options = st.builds(lambda needed, more: {**needed, **more}, st.fixed_dictionaries(needed), more)
    some = st.builds(Arguments, positional, options, _ANY)
    return some if not parameters else st.one_of(some, _with_one_wrong_value(parameters))


def _with_one_wrong_value(parameters: list[inspect.Parameter]) -> st.SearchStrategy[Arguments]:
    """Return a strategy for calls that are right but for one value. Other calls often end at their first argument."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [
        one
        for one in parameters
        if (one.default is one.empty and one.kind is not one.VAR_KEYWORD) or one.kind is one.VAR_POSITIONAL
    ]

    @st.composite
    def build(draw: Any) -> Arguments:
        wrong = draw(st.sampled_from(parameters))
        values = {one.name: _RIGHT[one.name] if one.name in _RIGHT else draw(_USUAL) for one in needed}
        if wrong.kind is not wrong.VAR_KEYWORD:
            half_right = _HALF_RIGHT.get(wrong.name)
            values[wrong.name] = draw(st.sampled_from(half_right) | _ANY if half_right else _ANY)
        given: list[Any] = []
        options: dict[str, Any] = {}
        for one in parameters:
            if one.name in values and (one.kind is one.VAR_POSITIONAL or (one.kind in kinds and not options)):
                given.append(values[one.name])
            elif one.name in values:
                options[one.name] = values[one.name]
            elif one.kind in kinds and wrong.kind is one.POSITIONAL_ONLY and one.default is not one.empty:
                given.append(one.default)
        return Arguments(given, options, listener)

    return build()
