"""Rule 2, its mends: ``inline``, ``in_thread`` and ``sync_listeners``."""

from __future__ import annotations

import functools
import threading
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from anyio import from_thread

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential, in_thread, inline
from tests.naming import without_address

STRATEGIES = pytest.mark.parametrize("strategy", [Sequential(), Concurrent(), Race()], ids=repr)

variable: ContextVar[str] = ContextVar("variable", default="unset")


def function(event: Event) -> None: ...


def other_function(event: Event) -> None: ...


async def coroutine_function(event: Event) -> None: ...


class Cantor:
    def sing(self, event: Event) -> None: ...


# inline


@STRATEGIES
async def test_inline_calls_the_function_on_the_loop(strategy: Any) -> None:
    dispatcher, threads = AsyncEventDispatcher(strategy=strategy), []
    dispatcher.add_listener("hymn", inline(lambda event: threads.append(threading.get_ident())))

    await dispatcher.adispatch("hymn", Event())

    assert threads == [threading.get_ident()]


async def test_inline_gives_the_very_event() -> None:
    dispatcher, event = AsyncEventDispatcher(), Event()
    given: list[Any] = []
    dispatcher.add_listener("hymn", inline(given.append))

    await dispatcher.adispatch("hymn", event)

    assert given[0] is event


async def test_inline_awaits_what_a_lambda_around_a_coroutine_function_returns() -> None:
    dispatcher, log = AsyncEventDispatcher(), []

    async def sing(event: Event, text: str) -> None:
        await anyio.lowlevel.checkpoint()
        log.append(text)

    dispatcher.add_listener("hymn", inline(lambda event: sing(event, "gloria")))
    await dispatcher.adispatch("hymn", Event())

    assert log == ["gloria"]


async def test_inline_awaits_what_a_plain_decorator_of_a_coroutine_function_returns() -> None:
    dispatcher, log = AsyncEventDispatcher(), []

    async def sing(event: Event) -> None:
        log.append("sung")

    @functools.wraps(sing)
    def decorated(event: Event) -> Awaitable[None]:
        log.append("decorated")
        return sing(event)

    dispatcher.add_listener("hymn", inline(decorated))
    await dispatcher.adispatch("hymn", Event())

    assert log == ["decorated", "sung"]


async def test_inline_awaits_any_awaitable() -> None:
    dispatcher, log = AsyncEventDispatcher(), []

    class Later:
        def __await__(self) -> Any:
            log.append("awaited")
            yield from ()

    dispatcher.add_listener("hymn", inline(lambda event: Later()))
    await dispatcher.adispatch("hymn", Event())

    assert log == ["awaited"]


async def test_inline_takes_a_coroutine_function_as_well() -> None:
    dispatcher, log = AsyncEventDispatcher(), []

    async def sing(event: Event) -> None:
        log.append("sung")

    dispatcher.add_listener("hymn", inline(sing))
    await dispatcher.adispatch("hymn", Event())

    assert log == ["sung"]


async def test_the_error_of_an_inline_function_leaves_unchanged() -> None:
    dispatcher, error = AsyncEventDispatcher(), LookupError()

    def fail(event: Event) -> None:
        raise error

    dispatcher.add_listener("hymn", inline(fail))
    with pytest.raises(LookupError) as caught:
        await dispatcher.adispatch("hymn", Event())

    assert caught.value is error


async def test_an_inline_function_may_stop_the_event() -> None:
    dispatcher = AsyncEventDispatcher()
    log: list[Any] = []
    dispatcher.add_listener("hymn", inline(Event.stop_propagation))
    dispatcher.add_listener("hymn", inline(log.append))

    await dispatcher.adispatch("hymn", Event())

    assert log == []


# in_thread


@STRATEGIES
async def test_in_thread_calls_the_function_in_another_thread(strategy: Any) -> None:
    dispatcher, threads = AsyncEventDispatcher(strategy=strategy), []
    dispatcher.add_listener("hymn", in_thread(lambda event: threads.append(threading.get_ident())))

    await dispatcher.adispatch("hymn", Event())

    assert len(threads) == 1
    assert threads != [threading.get_ident()]


async def test_in_thread_gives_the_very_event() -> None:
    dispatcher, event = AsyncEventDispatcher(), Event()
    given: list[Any] = []
    dispatcher.add_listener("hymn", in_thread(given.append))

    await dispatcher.adispatch("hymn", event)

    assert given[0] is event


async def test_a_dispatch_waits_for_the_thread() -> None:
    dispatcher, log = AsyncEventDispatcher(), []
    dispatcher.add_listener("hymn", in_thread(lambda event: log.append("thread")))
    dispatcher.add_listener("hymn", inline(lambda event: log.append("next")))

    await dispatcher.adispatch("hymn", Event())

    assert log == ["thread", "next"]


async def test_the_thread_sees_the_context_of_the_dispatch() -> None:
    dispatcher, seen = AsyncEventDispatcher(), []
    dispatcher.add_listener("hymn", in_thread(lambda event: seen.append(variable.get())))
    token = variable.set("set by the caller")
    try:
        await dispatcher.adispatch("hymn", Event())
    finally:
        variable.reset(token)

    assert seen == ["set by the caller"]


async def test_what_the_thread_sets_in_its_context_stays_there() -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("hymn", in_thread(lambda event: variable.set("set by the thread")))

    await dispatcher.adispatch("hymn", Event())

    assert variable.get() == "unset"


async def test_the_error_of_a_function_in_a_thread_leaves_unchanged() -> None:
    dispatcher, error = AsyncEventDispatcher(), LookupError()

    def fail(event: Event) -> None:
        raise error

    dispatcher.add_listener("hymn", in_thread(fail))
    with pytest.raises(LookupError) as caught:
        await dispatcher.adispatch("hymn", Event())

    assert caught.value is error


@STRATEGIES
async def test_a_function_in_a_thread_may_stop_the_event(strategy: Any) -> None:
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    log: list[Any] = []
    dispatcher.add_listener("hymn", in_thread(Event.stop_propagation))
    dispatcher.add_listener("hymn", inline(log.append), priority=1)

    await dispatcher.adispatch("hymn", Event())

    assert log == []


@STRATEGIES
async def test_a_function_in_a_thread_may_call_back_into_the_loop(strategy: Any) -> None:
    dispatcher, log = AsyncEventDispatcher(strategy=strategy), []
    dispatcher.add_listener("psalm", inline(lambda event: log.append(threading.get_ident())))

    def dispatch_from_the_thread(event: Event) -> None:
        from_thread.run(dispatcher.adispatch, "psalm", Event())

    dispatcher.add_listener("hymn", in_thread(dispatch_from_the_thread))
    await dispatcher.adispatch("hymn", Event())

    assert log == [threading.get_ident()]


@pytest.mark.parametrize("abandon", [False, True], ids=["by default", "abandon_on_cancel=True"])
async def test_a_cancelled_dispatch_waits_for_the_thread_unless_it_may_abandon_it(abandon: bool) -> None:
    dispatcher, log = AsyncEventDispatcher(), []
    running, go_on = anyio.Event(), threading.Event()

    def work(event: Event) -> None:
        from_thread.run_sync(running.set)
        go_on.wait(10)
        log.append("worked")

    listener = in_thread(work, abandon_on_cancel=True) if abandon else in_thread(work)
    dispatcher.add_listener("hymn", listener)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(dispatcher.adispatch, "hymn", Event())
            await running.wait()
            group.cancel_scope.cancel()
            if not abandon:
                go_on.set()
        worked = list(log)
    finally:
        go_on.set()

    assert worked == ([] if abandon else ["worked"])


def test_in_thread_refuses_a_coroutine_function() -> None:
    with pytest.raises(TypeError, match="async"):
        in_thread(coroutine_function)


# Both


@pytest.mark.parametrize("adapter", [inline, in_thread])
@pytest.mark.parametrize("not_callable", [None, 7, "function", Event()], ids=without_address)
def test_an_adapter_refuses_what_cannot_be_called(adapter: Any, not_callable: Any) -> None:
    with pytest.raises(TypeError, match=f"{adapter.__name__}\\(\\) takes a function"):
        adapter(not_callable)


@pytest.mark.parametrize("adapter", [inline, in_thread])
def test_an_adapter_is_an_async_callable_that_a_sync_dispatcher_refuses(adapter: Any) -> None:
    with pytest.raises(TypeError, match="async"):
        EventDispatcher().add_listener("hymn", adapter(function))


@pytest.mark.parametrize("adapter", [inline, in_thread])
def test_the_same_adapters_of_one_function_are_equal(adapter: Any) -> None:
    assert adapter(function) == adapter(function)
    assert hash(adapter(function)) == hash(adapter(function))


@pytest.mark.parametrize("adapter", [inline, in_thread])
def test_the_same_adapters_of_one_method_are_equal(adapter: Any) -> None:
    cantor = Cantor()

    assert adapter(cantor.sing) == adapter(cantor.sing)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (inline(function), inline(other_function)),
        (in_thread(function), in_thread(other_function)),
        (inline(function), in_thread(function)),
        (in_thread(function), in_thread(function, abandon_on_cancel=True)),
        (inline(function), function),
        (in_thread(function), function),
    ],
    ids=["functions", "functions in threads", "adapters", "options", "bare function", "bare function in a thread"],
)
def test_adapters_of_different_functions_or_options_differ(one: Any, other: Any) -> None:
    assert one != other


@pytest.mark.parametrize("adapter", [inline, in_thread])
def test_an_adapted_listener_is_removed_by_adapting_its_function_again(adapter: Any) -> None:
    dispatcher, cantor = AsyncEventDispatcher(), Cantor()
    dispatcher.add_listener("hymn", adapter(cantor.sing))

    dispatcher.remove_listener("hymn", adapter(cantor.sing))

    assert not dispatcher.has_listeners()


def test_an_adapter_with_other_options_removes_nothing() -> None:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("hymn", in_thread(function))

    with pytest.raises(ValueError, match="does not listen"):
        dispatcher.remove_listener("hymn", in_thread(function, abandon_on_cancel=True))

    assert dispatcher.has_listeners("hymn")


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


def test_an_adapter_of_an_unhashable_callable_can_be_registered_and_removed() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]  # that is its subject

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Unhashable)

        def __call__(self, event: Event) -> None: ...

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("hymn", inline(Unhashable()))

    dispatcher.remove_listener("hymn", inline(Unhashable()))

    assert not dispatcher.has_listeners()


# sync_listeners


async def test_sync_listeners_inline_calls_plain_functions_on_the_loop() -> None:
    dispatcher: Any = AsyncEventDispatcher(sync_listeners="inline")
    threads = []
    dispatcher.add_listener("hymn", lambda event: threads.append(threading.get_ident()))

    await dispatcher.adispatch("hymn", Event())

    assert threads == [threading.get_ident()]


async def test_sync_listeners_thread_calls_plain_functions_in_another_thread() -> None:
    dispatcher: Any = AsyncEventDispatcher(sync_listeners="thread")
    threads = []
    dispatcher.add_listener("hymn", lambda event: threads.append(threading.get_ident()))

    await dispatcher.adispatch("hymn", Event())

    assert len(threads) == 1
    assert threads != [threading.get_ident()]


def test_sync_listeners_refuse_is_the_default() -> None:
    dispatchers: list[Any] = [AsyncEventDispatcher(), AsyncEventDispatcher(sync_listeners="refuse")]
    for dispatcher in dispatchers:
        with pytest.raises(TypeError, match="inline"):
            dispatcher.add_listener("hymn", function)


@pytest.mark.parametrize("way", ["inline", "thread"])
async def test_sync_listeners_leaves_async_listeners_alone(way: Any) -> None:
    dispatcher: Any = AsyncEventDispatcher(sync_listeners=way)
    threads = []

    @dispatcher.listen("hymn")  # type: ignore[untyped-decorator]
    async def sing(event: Event) -> None:
        threads.append(threading.get_ident())

    await dispatcher.adispatch("hymn", Event())

    assert threads == [threading.get_ident()]


@pytest.mark.parametrize("way", ["inline", "thread"])
def test_sync_listeners_are_known_as_they_were_given(way: Any) -> None:
    dispatcher: Any = AsyncEventDispatcher(sync_listeners=way)

    dispatcher.add_listener("hymn", function)

    assert dispatcher.get_listeners("hymn") == (function,)


@pytest.mark.parametrize("way", ["inline", "thread"])
def test_sync_listeners_are_removed_as_they_were_given(way: Any) -> None:
    dispatcher: Any = AsyncEventDispatcher(sync_listeners=way)
    cantor = Cantor()
    dispatcher.add_listener("hymn", cantor.sing)

    dispatcher.remove_listener("hymn", cantor.sing)

    assert not dispatcher.has_listeners()


@pytest.mark.parametrize("way", ["inline", "thread"])
async def test_sync_listeners_work_through_every_door(way: Any) -> None:
    dispatcher: Any = AsyncEventDispatcher(sync_listeners=way)
    log = []

    @dispatcher.listen("hymn")  # type: ignore[untyped-decorator]
    def decorated(event: Event) -> None:
        log.append("listen")

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("hymn", lambda event: log.append("temporarily"), priority=1)
        await dispatcher.adispatch("hymn", Event())

    assert log == ["listen", "temporarily"]


@pytest.mark.parametrize("way", ["inline", "thread"])
async def test_sync_listeners_may_be_called_once(way: Any) -> None:
    dispatcher: Any = AsyncEventDispatcher(sync_listeners=way)
    log: list[Any] = []
    dispatcher.add_listener("hymn", log.append, once=True)

    for _ in range(2):
        await dispatcher.adispatch("hymn", Event())

    assert len(log) == 1


async def test_sync_listeners_inline_awaits_what_a_plain_function_returns() -> None:
    dispatcher: Any = AsyncEventDispatcher(sync_listeners="inline")
    log = []

    async def sing(event: Event) -> None:
        log.append("sung")

    dispatcher.add_listener("hymn", lambda event: sing(event))
    await dispatcher.adispatch("hymn", Event())

    assert log == ["sung"]


@pytest.mark.parametrize("way", ["inline", "thread"])
def test_sync_listeners_does_not_admit_what_cannot_be_called(way: Any) -> None:
    dispatcher: Any = AsyncEventDispatcher(sync_listeners=way)

    with pytest.raises(TypeError, match="cannot be called"):
        dispatcher.add_listener("hymn", "function")

    assert not dispatcher.has_listeners()
