"""`named`: a listener that receives the name of the dispatch, whatever the event carries."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

import anyio
import pytest

from antiphon import (
    AsyncEventDispatcher,
    Concurrent,
    Event,
    EventDispatcher,
    Race,
    Sequential,
    in_thread,
    inline,
    listener_name,
    listens_to,
    named,
)
from antiphon._listeners.adapters import name_usage
from antiphon.diagrams import table
from antiphon.instruments import Instrument
from antiphon.testing import record
from tests.cancellation.listeners import Make, every_strategy
from tests.helpers import BOTH


class Names(StrEnum):
    PLACED = "order.placed"


class Payment(Event):
    """An event with a name of its own."""

    def __init__(self, name: str) -> None:
        self.__dict__["name"] = name


@dataclass(frozen=True, slots=True)
class Bare:
    name: str = "bare"


class Overriding(AsyncEventDispatcher):
    async def _adispatch(self, listeners: Any, event: Any) -> None:
        await super()._adispatch(listeners, event)


class SyncOverriding(EventDispatcher):
    def do_dispatch(self, listeners: Any, event: Any, /) -> None:
        for listener in listeners:
            listener(event)


def observed(dispatcher: Any) -> Any:
    dispatcher.add_instrument(Instrument())
    return dispatcher


MAKE_ASYNC: dict[str, Callable[[], Any]] = {
    "plain": AsyncEventDispatcher,
    "concurrent": lambda: AsyncEventDispatcher(strategy=Concurrent()),
    "race": lambda: AsyncEventDispatcher(strategy=Race()),
    "collecting": lambda: AsyncEventDispatcher(strategy=Sequential(errors="collect")),
    "observed": lambda: observed(AsyncEventDispatcher()),
    "observed, concurrent": lambda: observed(AsyncEventDispatcher(strategy=Concurrent())),
    "overriding": Overriding,
    "overriding, observed": lambda: observed(Overriding()),
    "scope": lambda: AsyncEventDispatcher().scope(),
}
every_async = pytest.mark.parametrize("make", MAKE_ASYNC.values(), ids=MAKE_ASYNC.keys())
MAKE_SYNC: dict[str, Callable[[], Any]] = {
    "plain": EventDispatcher,
    "collecting": lambda: EventDispatcher(errors="collect"),
    "observed": lambda: observed(EventDispatcher()),
    "overriding": SyncOverriding,
    "scope": lambda: EventDispatcher().scope(),
}
OPTIONS: list[dict[str, Any]] = [{}, {"once": True}, {"where": bool}, {"timeout": 60}, {"limit": 1}]
EVENTS: list[Any] = [Event(), Payment("card"), Bare()]
every_event = pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)


async def ignore(event: Any, name: Any) -> None: ...


def ignore_plainly(event: Any, name: Any) -> None: ...


@every_async
@every_event
@pytest.mark.parametrize("options", OPTIONS, ids=str)
async def test_an_async_listener_receives_the_name(make: Any, event: Any, options: Any) -> None:
    dispatcher, seen = make(), list[Any]()

    async def note(received: Any, name: Any) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append((received, name))

    dispatcher.add_listener("order.*", named(note), **options)
    await dispatcher.adispatch("order.placed", event)
    await dispatcher.adispatch("order.shipped", event)

    names = ["order.placed"] if "once" in options else ["order.placed", "order.shipped"]
    assert seen == [(event, name) for name in names]


@pytest.mark.parametrize("make", MAKE_SYNC.values(), ids=MAKE_SYNC.keys())
@every_event
@pytest.mark.parametrize("options", OPTIONS[:3], ids=str)
def test_a_plain_listener_receives_the_name(make: Any, event: Any, options: Any) -> None:
    dispatcher, seen = make(), list[Any]()

    def note(received: Any, name: Any) -> None:
        seen.append((received, name))

    dispatcher.add_listener("order.*", named(note), **options)
    dispatcher.dispatch("order.placed", event)
    dispatcher.dispatch("order.shipped", event)

    names = ["order.placed"] if "once" in options else ["order.placed", "order.shipped"]
    assert seen == [(event, name) for name in names]


@pytest.mark.parametrize(
    ("function", "signature"),
    [
        (lambda event, name: None, "(event)"),
        (lambda event, name, more=None: None, "(event, more=None)"),
        (lambda event, *more: None, "(event, *more)"),
        (lambda *arguments: None, "(*arguments)"),
        (lambda event, *, name=None: None, "(event, *, name=None)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_its_signature_is_that_of_the_function_without_the_name(function: Any, signature: str) -> None:
    assert str(inspect.signature(named(function))) == signature


async def test_what_waits_is_a_listener_with_the_name_of_its_object() -> None:
    dispatcher, event = AsyncEventDispatcher(), EventDispatcher().dispatch("order.sent")
    async with dispatcher.stream("order.placed") as stream:
        (listener,) = dispatcher.get_listeners("order.placed")
        await listener(event)

        assert await anext(stream.items()) == ("order.sent", event)
        assert listener_name(listener) == repr(listener) == repr(stream)


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
async def test_the_name_is_the_given_one_and_not_an_equal_one(kind: Any) -> None:
    for names in ([Names.PLACED, "order.placed"], ["order.placed", Names.PLACED]):
        dispatcher, seen = kind(), list[Any]()
        listener: Any = inline(named(lambda event, name: seen.append(name)))
        dispatcher.add_listener("order.*", listener if kind is AsyncEventDispatcher else listener.function)

        for event in (Event(), Bare()):
            for name in names:
                await dispatcher.adispatch(name, event)

        assert [type(name) for name in seen] == [type(name) for name in names] * 2


def test_an_override_receives_the_result_of_a_named_listener() -> None:
    results: list[Any] = []

    class Asking(EventDispatcher):
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            results.extend(listener(event) for listener in listeners)

    dispatcher = Asking()
    dispatcher.add_listener("order.placed", named(lambda event, name: name))
    dispatcher.add_listener("order.placed", lambda event: event.name)
    dispatcher.dispatch("order.placed")

    assert results == ["order.placed"] * 2


@every_event
@pytest.mark.parametrize("adapt", [inline, in_thread, "inline", "thread"])
@pytest.mark.parametrize("outside", [True, False], ids=["adapter outside", "adapter inside"])
async def test_it_composes_with_adapters(event: Any, adapt: Any, outside: bool) -> None:
    seen: list[Any] = []

    def note(received: Any, name: Any) -> None:
        seen.append((received, name))

    if isinstance(adapt, str):
        dispatcher, listener = AsyncEventDispatcher(sync_listeners=adapt), named(note)  # type: ignore[arg-type]  # a table
    else:
        dispatcher, listener = AsyncEventDispatcher(), adapt(named(note)) if outside else named(adapt(note))
    dispatcher.add_listener("order.placed", listener, timeout=60)
    dispatcher.add_listener("order.placed", listener)
    await dispatcher.adispatch("order.placed", event)

    assert seen == [(event, "order.placed")] * 2


async def test_the_name_is_exactly_that_of_the_dispatch() -> None:
    dispatcher, sync, seen = AsyncEventDispatcher(), EventDispatcher(), list[Any]()
    prepared = dispatcher.prepare("order.placed"), dispatcher.prepare(Names.PLACED)

    async def note(event: Any, name: Any) -> None:
        seen.append(type(name))

    def note_plainly(event: Any, name: Any) -> None:
        seen.append(type(name))

    dispatcher.add_listener("order.placed", named(note))
    sync.add_listener("order.placed", named(note_plainly))
    for name in ("order.placed", Names.PLACED, "order.placed"):
        await dispatcher.adispatch(name)
        await dispatcher.adispatch(name, Bare())
        await dispatcher.adispatch(name, strategy=Concurrent())
        sync.dispatch(name)
    for prepare in prepared:
        await prepare(Event())
    for prepared_sync in (sync.prepare(Names.PLACED), sync.prepare("order.placed")):
        prepared_sync(Event())

    assert seen == [str] * 4 + [Names] * 4 + [str] * 4 + [str, Names, Names, str]


async def test_the_name_is_exact_for_a_listener_of_several_keys() -> None:
    dispatcher, seen = AsyncEventDispatcher(), list[Any]()

    async def note(event: Any, name: Any) -> None:
        seen.append(type(name))

    dispatcher.listen("order.placed", "order.*")(named(note))
    for name in ("order.placed", Names.PLACED, "order.placed"):
        await dispatcher.adispatch(name)

    assert seen == [str, Names, str]


async def test_an_event_without_a_name_gives_none() -> None:
    dispatcher, seen = AsyncEventDispatcher(), list[Any]()

    @dispatcher.listen(Payment)
    @named
    async def note(event: Payment, name: Any) -> None:
        seen.append(name)

    dispatcher.add_listener(Bare, note)
    await dispatcher.adispatch(Bare())

    assert seen == [None]


@every_strategy
async def test_a_nested_dispatch_of_the_event_has_its_own_name(make: Make) -> None:
    dispatcher, seen = AsyncEventDispatcher(strategy=make()), list[Any]()

    @dispatcher.listen("outer", priority=-1)
    async def dispatch_again(event: Event) -> None:
        await dispatcher.adispatch("inner", event)

    async def note(event: Event, name: Any) -> None:
        seen.append(name)

    for key in ("inner", "outer"):
        dispatcher.add_listener(key, named(note))
    await dispatcher.adispatch("outer")

    assert seen == ["inner", "outer"]


@every_async
async def test_scopes_and_queues_pass_the_name(make: Any) -> None:
    dispatcher, seen = make(), list[Any]()

    async def note(event: Any, name: Any) -> None:
        seen.append(name)

    dispatcher.add_listener("order.placed", named(note))
    with dispatcher.scope() as scoped:
        scoped.add_listener("order.placed", named(note))
        await scoped.adispatch("order.placed", Bare())
        async with scoped.queue() as queue:
            await queue.post("order.placed", Payment("card"))

    assert seen == ["order.placed"] * 4


async def test_a_removed_listener_is_not_called() -> None:
    dispatcher, seen = AsyncEventDispatcher(), list[Any]()

    async def note(event: Any, name: Any) -> None:
        seen.append(name)

    @dispatcher.listen("order.placed", priority=-1)
    async def remove(event: Any) -> None:
        dispatcher.remove_listener("order.placed", named(note))

    dispatcher.add_listener("order.placed", named(note))
    await dispatcher.adispatch("order.placed")

    assert seen == []
    assert dispatcher.get_listeners("order.placed") == (remove,)


class Stock:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    @listens_to("order.placed")
    @listens_to("order.lost", once=True)
    @named
    async def reserve(self, event: Any, name: str) -> None:
        """Reserve the books."""
        self.seen.append(name)

    @named
    @listens_to("order.returned")
    async def release(self, event: Any, name: str) -> None:
        self.seen.append(name)

    @listens_to("order.shipped")
    @inline
    def count(self, event: Any) -> None:
        self.seen.append("counted")

    @in_thread
    @named
    @listens_to("order.weighed")
    def weigh(self, event: Any, name: str) -> None:
        self.seen.append(name)


class Warehouse(Stock):
    @named
    async def reserve(self, event: Any, name: str) -> None:
        self.seen.append(f"{name} at the warehouse")


async def test_methods_of_a_subscriber_are_adapted() -> None:
    dispatcher, stock = AsyncEventDispatcher(), Stock()
    names = ["order.placed", "order.lost", "order.lost", "order.returned", "order.shipped", "order.weighed"]

    with dispatcher.add_subscriber(stock):
        for name in names:
            await dispatcher.adispatch(name, Bare())
        dispatcher.remove_listener("order.placed", stock.reserve)
    with dispatcher.add_subscriber(warehouse := Warehouse()):
        await dispatcher.adispatch("order.placed", Bare())

    assert stock.seen == ["order.placed", "order.lost", "order.returned", "counted", "order.weighed"]
    assert warehouse.seen == ["order.placed at the warehouse"]
    assert stock.reserve == stock.reserve != warehouse.reserve


def test_it_equals_another_of_the_same_function() -> None:
    async def other(event: Any, name: Any) -> None: ...

    assert named(ignore) == named(ignore) != named(other)
    assert hash(named(ignore)) == hash(named(ignore))
    assert named(ignore) != ignore
    assert named(inline(ignore_plainly)) == inline(named(ignore_plainly)) != inline(ignore_plainly)
    thread = in_thread(ignore_plainly, abandon_on_cancel=True)
    assert named(thread) == in_thread(named(ignore_plainly), abandon_on_cancel=True) != in_thread(named(ignore_plainly))


async def test_it_shows_its_function() -> None:
    dispatcher = AsyncEventDispatcher()
    handle = dispatcher.add_listener("order.placed", in_thread(named(ignore_plainly)))
    dispatcher.add_listener("order.placed", named(ignore))

    with record(dispatcher) as recorded:
        await dispatcher.adispatch("order.placed")
    described = dispatcher.describe().listeners

    assert repr(named(ignore)) == f"named({ignore!r})"
    assert listener_name(named(ignore)) == f"{__name__}.ignore"
    assert [(each.name, each.adapter) for each in described] == [
        ("ignore_plainly", "in_thread, named"),
        ("ignore", "named"),
    ]
    assert described[0].definition.line == inspect.getsourcelines(ignore_plainly)[1]
    assert "named" in table(dispatcher.describe())
    assert [call.listener_name for call in recorded.calls] == [f"{__name__}.ignore_plainly", f"{__name__}.ignore"]
    assert recorded.calls[0].subscription is handle


async def test_an_override_gets_callables_of_the_event() -> None:
    seen: list[Any] = []

    class Inspecting(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            for listener in listeners:
                seen.append(list(inspect.signature(listener).parameters))
                assert listener == named(ignore)
                await listener(event)

    dispatcher = Inspecting()
    dispatcher.add_listener("order.placed", named(ignore))
    await dispatcher.adispatch("order.placed")

    assert seen == [["event"]]


async def test_an_override_gets_what_waits_as_a_callable_of_the_event() -> None:
    seen: list[Any] = []

    class Inspecting(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            for listener in listeners:
                seen.append((list(inspect.signature(listener).parameters), listener.__module__.partition(".")[0]))
                await listener(event)

    dispatcher = Inspecting()
    async with dispatcher.stream("order.placed") as stream, dispatcher.expect("order.placed") as expected:
        event = await dispatcher.adispatch("order.placed")
        assert (await anext(stream), expected.event) == (event, event)

    assert seen == [(["event"], "antiphon")] * 2


class ByCopies:
    """A strategy that calls copies of its records."""

    def __init__(self) -> None:
        self.reprs: list[str] = []
        self.calls: list[Any] = []

    async def run(self, plan: Any, event: Any) -> None:
        for tier in plan:
            for copied in map(copy.copy, tier):
                self.reprs.append(repr(copied))
                self.calls.append(copied.call)
                await copied.call(event)


@pytest.mark.parametrize("keys", [("order.placed",), ("order.placed", "order.*")], ids=["one key", "several keys"])
async def test_a_strategy_may_copy_its_records(keys: Any) -> None:
    strategy, seen = ByCopies(), list[Any]()
    dispatcher = AsyncEventDispatcher(strategy=strategy)

    async def note(event: Any, name: Any) -> None:
        seen.append(name)

    dispatcher.listen(*keys)(named(note))
    dispatcher.listen(*keys)(inline(seen.append))
    event = await dispatcher.adispatch("order.placed")

    assert seen == ["order.placed", event]
    assert strategy.reprs == [
        f"<Subscription 'order.placed' -> {listener!r}, priority 0>" for listener in (named(note), inline(seen.append))
    ]


async def test_the_callable_of_a_strategy_shows_the_listener() -> None:
    strategy, listener = ByCopies(), named(ignore)
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    dispatcher.add_listener("order.placed", listener)
    await dispatcher.adispatch("order.placed")

    (call,) = strategy.calls
    assert (repr(call), listener_name(call)) == (repr(listener), listener_name(listener))
    assert list(inspect.signature(call).parameters) == ["event"]


@pytest.mark.parametrize("way", ["named", "stream", "expect"])
async def test_the_first_listener_of_the_process_receives_the_name_too(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plans are made without looking for such a listener until the process has one."""
    monkeypatch.setattr(name_usage, "is_used", False)
    dispatcher, seen = AsyncEventDispatcher(), list[Any]()
    observed(dispatcher).add_listener("order.placed", inline(lambda event: None))
    await dispatcher.adispatch("order.placed", Bare())

    async def note(event: Any, name: Any) -> None:
        seen.append(name)

    if way == "named":
        dispatcher.add_listener("order.placed", named(note))
        await dispatcher.adispatch("order.placed", Bare())
    elif way == "stream":
        async with dispatcher.stream("order.placed") as stream:
            await dispatcher.adispatch("order.placed", Bare())
            seen.append((await anext(stream.items()))[0])
    else:
        async with dispatcher.expect("order.placed") as expected:
            await dispatcher.adispatch("order.placed", Bare())
        seen.append(expected.name)

    assert seen == ["order.placed"]


def test_an_error_names_the_function() -> None:
    def fail(event: Any, name: str) -> None:
        raise LookupError(name)

    dispatcher = EventDispatcher()
    dispatcher.add_listener("order.placed", named(fail))

    with pytest.raises(LookupError, match=r"order\.placed") as caught:
        dispatcher.dispatch("order.placed", Bare())

    (note,) = caught.value.__notes__
    assert ".fail, while" in note


def test_a_dropped_result_is_refused() -> None:
    dispatcher = EventDispatcher()
    dispatcher.add_listener("order.placed", named(lambda event, name: ignore(event, name)))

    with pytest.raises(TypeError, match="returned something to await"):
        dispatcher.dispatch("order.placed")


async def test_called_directly_it_passes_the_name_of_the_event() -> None:
    seen: list[Any] = []

    async def note(event: Any, name: Any) -> None:
        seen.append(name)

    for event in (Event(), Payment("card")):
        await named(note)(await AsyncEventDispatcher().adispatch("order.placed", event))
    named(lambda event, name: seen.append(name))(object())
    named(lambda event, name: seen.append(name))(Bare())

    assert seen == ["order.placed", "order.placed", None, "bare"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: named(7), "named() takes a function of the event and the name; got 7 (int)"),
        (lambda: named(named(ignore)), "receives the name already: register it without another named()"),
        (lambda: named(inline(named(ignore))), "receives the name already: register it without another named()"),
        (lambda: named(Stock), "got the class Stock"),
    ],
)
def test_it_refuses_what_is_not_a_function_of_the_name(make: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        make()

    assert message in str(caught.value)


async def one(event: Any) -> None: ...


async def three(event: Any, name: Any, more: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (one, "takes only (event): add a parameter, one(event, name), or register one without named()"),
        (three, "also takes `more`: give them defaults"),
        (partial(one), "takes only (event)"),
    ],
)
def test_a_function_that_cannot_take_the_name_is_refused(function: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        AsyncEventDispatcher().add_listener("order.placed", named(function))

    assert message in str(caught.value)
