"""Rule 2, its fixes: ``inline``, ``in_thread`` and ``sync_listeners``."""

from __future__ import annotations

import functools
import threading
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from anyio import from_thread

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
    named,
)
from tests.event_kinds import Duck

PLACED = "order.placed"
STRATEGIES = pytest.mark.parametrize("strategy", [Sequential(), Concurrent(), Race()], ids=repr)
ADAPTERS = pytest.mark.parametrize("adapter", [inline, in_thread])
WAYS = pytest.mark.parametrize("way", ["inline", "thread"])

variable: ContextVar[str] = ContextVar("variable", default="unset")


def function(event: Event) -> None: ...


def other_function(event: Event) -> None: ...


def function_of_a_name(event: Event, name: Any) -> None: ...


async def coroutine_function(event: Event) -> None: ...


class Shop:
    def charge(self, event: Event) -> None: ...


async def dispatch_to(*listeners: Any, dispatcher: Any = None) -> Any:
    """Dispatch an event to listeners of increasing priorities, and return it."""
    dispatcher = AsyncEventDispatcher() if dispatcher is None else dispatcher
    for priority, listener in enumerate(listeners):
        dispatcher.add_listener(PLACED, listener, priority=priority)
    return await dispatcher.adispatch(PLACED, Event())


@STRATEGIES
@pytest.mark.parametrize("adapt", [inline, in_thread, "inline", "thread"])
async def test_an_adapted_function_runs_in_its_thread_before_the_next(adapt: Any, strategy: Any) -> None:
    ways = {"sync_listeners": adapt} if isinstance(adapt, str) else {}
    given: list[Any] = []

    def record(event: Event) -> None:
        given.append((event, threading.get_ident()))

    dispatcher: Any = AsyncEventDispatcher(strategy=strategy, **ways)
    event = await dispatch_to(
        record if ways else adapt(record), inline(lambda event: given.append("next")), dispatcher=dispatcher
    )

    (seen, thread), after = given
    assert (seen is event, after) == (True, "next")
    assert (thread == threading.get_ident()) == (adapt in (inline, "inline"))


@ADAPTERS
async def test_the_error_of_an_adapted_function_leaves_unchanged(adapter: Any) -> None:
    error = LookupError()

    def fail(event: Event) -> None:
        raise error

    with pytest.raises(LookupError) as caught:
        await dispatch_to(adapter(fail))

    assert caught.value is error


@ADAPTERS
@STRATEGIES
async def test_an_adapted_function_may_stop_the_event(adapter: Any, strategy: Any) -> None:
    log: list[Any] = []
    await dispatch_to(
        adapter(Event.stop_propagation), inline(log.append), dispatcher=AsyncEventDispatcher(strategy=strategy)
    )

    assert log == []


async def test_a_function_in_a_thread_may_stop_any_event_by_assignment() -> None:
    dispatcher, log = AsyncEventDispatcher(), list[Any]()
    dispatcher.add_listener(PLACED, in_thread(lambda event: setattr(event, "propagation_stopped", True)))
    dispatcher.add_listener(PLACED, inline(log.append), priority=1)

    events = [await dispatcher.adispatch(PLACED, event) for event in (Event(), Duck())]

    assert ([event.propagation_stopped for event in events], log) == ([True, True], [])


# inline


async def test_inline_awaits_any_awaitable_result() -> None:
    log: list[Any] = []

    async def validate(event: Event, text: str = "validated") -> None:
        await anyio.lowlevel.checkpoint()
        log.append(text)

    @functools.wraps(validate)
    def decorated(event: Event) -> Awaitable[None]:
        log.append("decorated")
        return validate(event)

    class Later:
        def __await__(self) -> Any:
            log.append("awaited")
            yield from ()

    await dispatch_to(
        inline(lambda event: validate(event, "lambda")),
        inline(decorated),
        inline(lambda event: Later()),
        inline(validate),
    )

    assert log == ["lambda", "decorated", "validated", "awaited", "validated"]


async def test_an_adapter_returns_the_result_of_its_function() -> None:
    async def total(event: Event) -> int:
        return 7

    results = [
        await adapted(Event()) for adapted in (inline(total), inline(lambda event: 7), in_thread(lambda event: 7))
    ]

    assert results == [7, 7, 7]


# in_thread


async def test_the_thread_has_a_copy_of_the_context() -> None:
    seen: list[str] = []

    def use(event: Event) -> None:
        seen.append(variable.get())
        variable.set("set by the thread")

    token = variable.set("set by the caller")
    try:
        await dispatch_to(in_thread(use))
        seen.append(variable.get())
    finally:
        variable.reset(token)

    assert seen == ["set by the caller"] * 2


@STRATEGIES
async def test_a_thread_may_dispatch_in_the_loop(strategy: Any) -> None:
    dispatcher, log = AsyncEventDispatcher(strategy=strategy), list[Any]()
    dispatcher.add_listener("order.paid", inline(lambda event: log.append(threading.get_ident())))

    def dispatch_from_the_thread(event: Event) -> None:
        from_thread.run(dispatcher.adispatch, "order.paid", Event())

    await dispatch_to(in_thread(dispatch_from_the_thread), dispatcher=dispatcher)

    assert log == [threading.get_ident()]


@pytest.mark.parametrize("abandon", [False, True], ids=["by default", "abandon_on_cancel=True"])
async def test_a_cancelled_dispatch_waits_for_a_thread_by_default(abandon: bool) -> None:
    dispatcher, log = AsyncEventDispatcher(), []
    running, go_on = anyio.Event(), threading.Event()

    def work(event: Event) -> None:
        from_thread.run_sync(running.set)
        go_on.wait(10)
        log.append("worked")

    listener = in_thread(work, abandon_on_cancel=True) if abandon else in_thread(work)
    dispatcher.add_listener(PLACED, listener)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(dispatcher.adispatch, PLACED, Event())
            await running.wait()
            group.cancel_scope.cancel()
            if not abandon:
                go_on.set()
        worked = list(log)
    finally:
        go_on.set()

    assert worked == ([] if abandon else ["worked"])


# What they refuse, equality and repr


@ADAPTERS
def test_adapters_refuse_what_cannot_be_called(adapter: Any) -> None:
    for wrong in (None, 7, "function", Event()):
        with pytest.raises(TypeError, match=f"{adapter.__name__}\\(\\) takes a function"):
            adapter(wrong)
    with pytest.raises(TypeError, match="async"):
        in_thread(coroutine_function)
    with pytest.raises(TypeError, match="async"):
        EventDispatcher().add_listener(PLACED, adapter(function))


class Unhashable:
    __hash__ = None  # type: ignore[assignment]  # that is its subject

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)

    def __call__(self, event: Event) -> None: ...


shop = Shop()


@ADAPTERS
@pytest.mark.parametrize(
    "make", [lambda: function, lambda: shop.charge, Unhashable], ids=["function", "method", "object"]
)
def test_adapters_are_equal_if_their_functions_are(adapter: Any, make: Any) -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener(PLACED, adapter(make()))

    assert adapter(make()) == adapter(make())
    assert make is Unhashable or hash(adapter(make())) == hash(adapter(make()))
    dispatcher.remove_listener(PLACED, adapter(make()))
    assert not dispatcher.has_listeners()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (inline(function), inline(other_function)),
        (in_thread(function), in_thread(other_function)),
        (inline(function), in_thread(function)),
        (inline(function), named(function)),
        (in_thread(function), in_thread(function, abandon_on_cancel=True)),
        (inline(function), function),
        (in_thread(function), function),
    ],
    ids=[
        "functions",
        "functions in threads",
        "adapters",
        "adapters of one form",
        "options",
        "bare function",
        "bare function in a thread",
    ],
)
def test_adapters_of_other_functions_or_options_differ(one: Any, other: Any) -> None:
    dispatcher: Any = AsyncEventDispatcher()
    dispatcher.add_listener(PLACED, one)

    assert one != other
    with pytest.raises(ValueError, match="does not listen"):
        dispatcher.remove_listener(PLACED, other)


@pytest.mark.parametrize(
    ("adapted", "expected"),
    [
        (inline(function), f"inline({function!r})"),
        (in_thread(function), f"in_thread({function!r})"),
        (in_thread(function, abandon_on_cancel=True), f"in_thread({function!r}, abandon_on_cancel=True)"),
    ],
    ids=["inline", "in_thread", "abandon_on_cancel"],
)
def test_the_repr_of_an_adapter_is_how_it_was_made(adapted: Any, expected: str) -> None:
    assert repr(adapted) == expected


def get_adapters(dispatcher: AsyncEventDispatcher) -> list[str | None]:
    return [described.adapter for described in dispatcher.describe().listeners]


def test_a_description_shows_the_adapter_and_its_options() -> None:
    dispatcher = AsyncEventDispatcher()
    for listener in (inline(function), in_thread(function), in_thread(function, abandon_on_cancel=True)):
        dispatcher.add_listener(PLACED, listener)
    dispatcher.add_listener(PLACED, Decorated.by_both)

    assert get_adapters(dispatcher) == ["inline", "in_thread", "in_thread, abandon_on_cancel", "inline, named"]


@pytest.mark.parametrize(("way", "adapter"), [("inline", "inline"), ("thread", "in_thread")])
def test_a_description_shows_the_adapter_of_sync_listeners(way: Any, adapter: str) -> None:
    dispatcher = AsyncEventDispatcher(sync_listeners=way)
    for listener in (function, coroutine_function, named(function_of_a_name)):
        dispatcher.add_listener(PLACED, listener)

    assert get_adapters(dispatcher) == [adapter, None, f"{adapter}, named"]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((True,), {}, "write in_thread(function, abandon_on_cancel=True)"),
        ((), {"abandon": True}, "has no option abandon=; did you mean abandon_on_cancel="),
    ],
    ids=["position", "name"],
)
def test_a_wrong_option_of_in_thread_is_refused_with_the_fix(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        in_thread(function, *arguments, **options)

    assert message in str(caught.value)


@ADAPTERS
@pytest.mark.parametrize(
    "unbound", [print, functools.partial(function), Unhashable()], ids=["builtin", "partial", "object"]
)
def test_an_adapter_in_a_class_binds_only_what_python_binds(adapter: Any, unbound: Any) -> None:
    class Shop:
        charge = adapter(unbound)

    assert Shop.charge == Shop().charge == adapter(unbound)


# sync_listeners


def test_sync_listeners_refuse_is_the_default() -> None:
    dispatchers: list[Any] = [AsyncEventDispatcher(), AsyncEventDispatcher(sync_listeners="refuse")]
    for dispatcher in dispatchers:
        with pytest.raises(TypeError, match="inline"):
            dispatcher.add_listener(PLACED, function)


@WAYS
async def test_sync_listeners_does_not_adapt_async_listeners(way: Any) -> None:
    threads: list[int] = []

    async def validate(event: Event) -> None:
        threads.append(threading.get_ident())

    await dispatch_to(validate, dispatcher=AsyncEventDispatcher(sync_listeners=way))

    assert threads == [threading.get_ident()]


@WAYS
def test_sync_listeners_are_found_and_removed_as_given(way: Any) -> None:
    dispatcher: Any = AsyncEventDispatcher(sync_listeners=way)
    dispatcher.add_listener(PLACED, function)
    dispatcher.add_listener("order.paid", Shop().charge)
    dispatcher.add_listener("order.paid", shop.charge)

    assert dispatcher.get_listeners(PLACED) == (function,)
    dispatcher.remove_listener("order.paid", shop.charge)
    assert len(dispatcher.get_listeners("order.paid")) == 1
    with pytest.raises(TypeError, match="cannot be called"):
        dispatcher.add_listener("other", "function")
    assert not dispatcher.has_listeners("other")


@WAYS
async def test_sync_listeners_work_with_every_method(way: Any) -> None:
    dispatcher: Any = AsyncEventDispatcher(sync_listeners=way)
    log = []

    @dispatcher.listen(PLACED)  # type: ignore[untyped-decorator]
    def decorated(event: Event) -> None:
        log.append("listen")

    with dispatcher.temporarily() as registrar:
        registrar.add_listener(PLACED, lambda event: log.append("temporarily"), priority=1)
        dispatcher.add_listener(PLACED, lambda event: log.append("once"), priority=2, once=True)
        for _ in range(2):
            await dispatcher.adispatch(PLACED, Event())

    assert log == ["listen", "temporarily", "once", "listen", "temporarily"]


async def test_sync_listeners_inline_awaits_results() -> None:
    log: list[str] = []

    async def validate(event: Event) -> None:
        log.append("validated")

    await dispatch_to(lambda event: validate(event), dispatcher=AsyncEventDispatcher(sync_listeners="inline"))

    assert log == ["validated"]


class Decorated:
    """A decorator in a class binds its function also where Python binds the decorator itself, or looks up a call."""

    names: list[Any]

    @classmethod
    @inline
    def by_class(cls, event: Event) -> None:
        cls.names.append("by_class")

    @classmethod
    @named
    def by_name(cls, event: Event, name: str) -> None:
        cls.names.append(name)

    @classmethod
    @inline
    @named
    def by_both(cls, event: Event, name: str) -> None:
        cls.names.append(name)


class NamedCall(Decorated):
    @named
    async def __call__(self, event: Event, name: str) -> None:
        self.names.append(name)


class InlineCall(Decorated):
    @inline
    def __call__(self, event: Event) -> None:
        self.names.append("call")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Decorated.by_class, "by_class"),
        (lambda: Decorated().by_class, "by_class"),
        (lambda: Decorated.by_both, PLACED),
        (NamedCall, PLACED),
        (InlineCall, "call"),
    ],
    ids=["class", "object", "named", "named call", "inline call"],
)
async def test_an_adapter_in_a_class_decorates_class_methods_and_calls(make: Any, name: str) -> None:
    Decorated.names = []
    dispatcher, listener = AsyncEventDispatcher(), make()
    dispatcher.add_listener(PLACED, listener)

    await dispatcher.adispatch(PLACED, object())
    assert Decorated.names == [name]
    (described,) = dispatcher.describe().keys[0].listeners
    assert listener_name(listener).endswith(described.name)

    dispatcher.remove_listener(PLACED, listener)
    assert not dispatcher.has_listeners()


def test_a_named_class_method_is_a_plain_listener() -> None:
    Decorated.names = []
    dispatcher = EventDispatcher()
    dispatcher.add_listener(PLACED, Decorated.by_name)

    dispatcher.dispatch(PLACED, object())

    assert Decorated.names == [PLACED]
