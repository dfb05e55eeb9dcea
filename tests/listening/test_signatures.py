"""Rule 2: a listener that cannot be called with one event is refused when it is registered."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from unittest.mock import AsyncMock, MagicMock, create_autospec

import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, in_thread, inline, listens_to, resolved
from antiphon.testing import record


def wrapped(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapper(*arguments: Any, **options: Any) -> Any:
        return await function(*arguments, **options)

    return wrapper


async def charge(event: Any) -> None: ...
async def nothing() -> None: ...
async def pair(event: Any, store: Any) -> None: ...
async def triple(event: Any, store: Any, db: Any) -> None: ...
async def keyword(event: Any, *, db: Any) -> None: ...
async def default(event: Any, store: Any = None, *, db: Any = None) -> None: ...
async def only_keyword(*, event: Any) -> None: ...
async def anything(*arguments: Any) -> None: ...
async def event_and_more(event: Any, *more: Any, **options: Any) -> None: ...
async def positional(event: Any, /) -> None: ...


def nothing_plainly() -> None: ...
def pair_plainly(event: Any, store: Any) -> None: ...
def keyword_plainly(event: Any, *, db: Any) -> None: ...
def charge_plainly(event: Any) -> None: ...


class Stock:
    async def reserve(self, event: Any) -> None: ...

    async def nothing(self) -> None: ...

    def reserve_plainly(self, event: Any) -> None: ...

    def pair_plainly(self, event: Any, store: Any) -> None: ...

    async def pair(self, event: Any, store: Any) -> None: ...

    @classmethod
    async def count(cls, event: Any) -> None: ...

    @staticmethod
    async def order(event: Any) -> None: ...

    async def __call__(self, event: Any) -> None: ...


class WithoutEvent:
    async def __call__(self) -> None: ...

    def __repr__(self) -> str:
        return "stock"


class NeedsStore:
    async def __call__(self, event: Any, store: Any) -> None: ...


@asynccontextmanager
async def opened(cls: type[Any]) -> AsyncIterator[Any]:
    yield cls()


REFUSED: dict[str, tuple[Any, str]] = {
    "no argument": (nothing, "takes no argument: add a parameter, nothing(event)"),
    "two arguments": (
        pair,
        "also takes `store`: register named(pair) if it is the name of the dispatch, or give it a default, or register ",
    ),
    "three arguments": (triple, "also takes `store`, `db`: give them defaults"),
    "keyword": (keyword, "also requires db=: give it a default, or register functools.partial(keyword, db=...)"),
    "function of a class": (
        Stock.reserve,
        "is a function of a class that also takes `self`: register the method of an object, as in `dispatcher.add_listener(key, thing.reserve)`, or decorate it with @listens_to(key) in the class, and",
    ),
    "function of a class method": (Stock.count.__func__, "is a function of a class that also takes `cls`"),  # type: ignore[attr-defined]
    "partial of no argument": (partial(nothing, 1), "takes no argument: remove an argument from the partial"),
    "method": (Stock().nothing, "takes no argument: add a parameter, nothing(event)"),
    "object": (WithoutEvent(), "but stock takes no argument: add a parameter, __call__(self, event)"),
    "partial": (partial(charge, Event()), "takes no argument"),
    "method of two": (Stock().pair, "also takes `store`: register named(pair) if it is the name of the dispatch"),
    "partial that leaves two": (partial(triple, 1), "also takes `db`: register named(listener)"),
    "partial of a method": (partial(Stock().reserve, Event()), "takes no argument"),
    "partial that gives all": (partial(pair, 1, 2), "takes no argument: remove an argument from the partial"),
    "partial that gives the event": (
        partial(charge, event=1),
        "passes event=, as well: remove event= from the partial",
    ),
    "partial of an unknown keyword": (partial(charge, db=1), "passes db=, which it does not take: remove db= from"),
    "partial of a positional keyword": (partial(positional, event=1), "passes event=, as well"),
    "partial that gives the event, of any options": (partial(event_and_more, event=1), "passes event=, as well"),
    "event as a keyword": (only_keyword, "takes `event` by keyword only: remove the `*` before it"),
    "object of two": (NeedsStore(), "register named(listener) if it is the name of the dispatch"),
    "lambda": (inline(lambda: None), "takes no argument: add a parameter, lambda event: ..."),
    "resolved": (resolved(NeedsStore, opened), "register named(resolved(NeedsStore, ...)) if it is the name of the"),
    "partial that gives one of two": (partial(triple, db=1), "also takes `store`"),
    "partial that gives another keyword": (partial(keyword, event=1), "also requires db="),
    "inline": (inline(pair_plainly), "also takes `store`"),
    "in_thread": (in_thread(nothing_plainly), "takes no argument"),
}

ACCEPTED: dict[str, Any] = {
    "function": charge,
    "defaults": default,
    "any arguments": anything,
    "event and more": event_and_more,
    "positional": positional,
    "method": Stock().reserve,
    "class method": Stock.count,
    "static method": Stock.order,
    "object": Stock(),
    "partial": partial(pair, store=1),
    "partial with a position": partial(Stock.reserve, Stock()),
    "partial with a keyword": partial(keyword, db=1),
    "partial with any keyword": partial(event_and_more, db=1),
    "wrapper": wrapped(charge),
    "wrapper of two": wrapped(partial(pair, store=1)),
    "mock": AsyncMock(),
    "mock of a function": create_autospec(charge),
}


@pytest.mark.parametrize(("listener", "message"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("options", [{}, {"once": True}], ids=str)
def test_it_is_refused_with_the_fix(listener: Any, message: str, options: Any) -> None:
    dispatcher = AsyncEventDispatcher()

    with pytest.raises(TypeError) as caught:
        dispatcher.add_listener("order.placed", listener, **options)

    assert str(caught.value).startswith("a listener is called with (event), but ")
    assert message in str(caught.value)
    assert not dispatcher.has_listeners()


@pytest.mark.parametrize("listener", ACCEPTED.values(), ids=ACCEPTED.keys())
async def test_a_listener_that_can_be_called_is_accepted(listener: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", listener)

    with record(dispatcher) as recorded:
        await dispatcher.adispatch("order.placed")

    assert [call.outcome for call in recorded.calls] == ["finished"]


@pytest.mark.parametrize(
    "function", [nothing_plainly, pair_plainly, keyword_plainly, Stock.reserve_plainly, Stock().pair_plainly]
)
@pytest.mark.parametrize(
    "dispatcher",
    [EventDispatcher(), AsyncEventDispatcher(sync_listeners="inline"), AsyncEventDispatcher(sync_listeners="thread")],
    ids=["sync", "inline", "thread"],
)
def test_a_plain_function_is_checked_too(dispatcher: Any, function: Callable[..., None]) -> None:
    with pytest.raises(TypeError, match=r"a listener is called with \(event\)"):
        dispatcher.add_listener("order.placed", function)


@pytest.mark.parametrize("listener", [charge_plainly, print, MagicMock(), partial(pair_plainly, store=1), [].append])
def test_a_plain_function_of_the_event_is_accepted(listener: Any) -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_listener("order.placed", listener)

    dispatcher.dispatch("order.placed")


def test_a_decorator_in_a_class_body_points_to_listens_to() -> None:
    dispatcher = AsyncEventDispatcher()

    with pytest.raises(TypeError, match=r"decorate it with @listens_to\(key\) in the class"):

        class Shop:
            @dispatcher.listen("order.placed")
            async def reserve(self, event: Event) -> None: ...


@pytest.mark.parametrize("decorate", [classmethod, property], ids=lambda kind: kind.__name__)
def test_another_descriptor_in_a_class_body_points_to_listens_to(decorate: Any) -> None:
    with pytest.raises(
        TypeError, match=r"which cannot be called: in a class, decorate a method with @listens_to\(key\)"
    ):
        AsyncEventDispatcher().listen("order.placed")(decorate(charge))


def test_a_method_of_a_subscriber_is_checked() -> None:
    class Shop:
        @listens_to("order.placed")
        async def reserve(self) -> None: ...

    with pytest.raises(TypeError, match="takes no argument"):
        AsyncEventDispatcher().add_subscriber(Shop())
