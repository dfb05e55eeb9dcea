"""What happens at the edges: slips of the caller, and things that end while they are in use."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
import trio

from antiphon import (
    AsyncEventDispatcher,
    Concurrent,
    Event,
    EventDispatcher,
    QueueNotDrained,
    StreamLagged,
    Subscription,
    listens_to,
)
from antiphon._backend import _get_asyncio_backend
from antiphon._util.owner_loop import OwnerLoop


@pytest.fixture(params=[AsyncEventDispatcher, EventDispatcher])
def dispatcher(request: pytest.FixtureRequest) -> Any:
    return request.param()


async def dispatch(dispatcher: Any, *arguments: Any) -> Any:
    return await dispatcher.adispatch(*arguments)


async def test_a_class_given_for_an_event_is_refused_by_name_and_alone(dispatcher: Any) -> None:
    for arguments in [("order.placed", Event), (Event,)]:
        with pytest.raises(TypeError, match=r"Event\(\.\.\.\)"):
            await dispatch(dispatcher, *arguments)


async def test_an_event_given_for_the_name_is_refused(dispatcher: Any) -> None:
    with pytest.raises(TypeError, match="the name comes first"):
        await dispatch(dispatcher, Event(), "order.placed")


def test_a_scope_that_has_ended_cannot_be_entered_again(dispatcher: Any) -> None:
    scope = dispatcher.scope()
    with scope:
        pass

    with pytest.raises(RuntimeError, match="has ended"):
        scope.__enter__()


def test_what_is_registered_while_the_block_of_a_registrar_ends_is_taken_back() -> None:
    class Ending(EventDispatcher):
        def add_listener(self, key: Any, listener: Any, /, **options: Any) -> Subscription:
            subscription = super().add_listener(key, listener, **options)
            registrar.__exit__(None, None, None)
            return subscription

    dispatcher = Ending()
    registrar = dispatcher.temporarily()

    with pytest.raises(RuntimeError, match="has ended"):
        registrar.add_listener("order.placed", print)

    assert not dispatcher.has_listeners()


def test_a_property_cannot_be_marked() -> None:
    with pytest.raises(TypeError, match="marks methods"):
        listens_to("order.placed")(property(print))  # type: ignore[type-var]  # that is the slip


async def test_a_call_of_a_once_listener_that_is_kept_runs_it_once(dispatcher: Any) -> None:
    heard: list[Event] = []

    async def listen(event: Event) -> None:
        heard.append(event)

    asynchronous = isinstance(dispatcher, AsyncEventDispatcher)
    call = dispatcher.add_listener("order.placed", listen if asynchronous else heard.append, once=True).call
    for _ in range(2):
        result = call(Event())
        if asynchronous:
            await result

    assert len(heard) == 1


async def test_a_where_that_removes_its_listener_keeps_it_from_starting(dispatcher: Any) -> None:
    def remove(event: Event) -> bool:
        return bool(subscription.unsubscribe())

    async def never(event: Event) -> None:
        raise AssertionError("removed")

    def plain_never(event: Event) -> None:
        raise AssertionError("removed")

    listener = never if isinstance(dispatcher, AsyncEventDispatcher) else plain_never
    subscription = dispatcher.add_listener("order.placed", listener, where=remove)

    await dispatch(dispatcher, "order.placed")

    assert not dispatcher.has_listeners("order.placed")


def test_guards_can_be_told_apart_in_a_set() -> None:
    seen: list[int] = []

    class Counting(EventDispatcher):
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            seen.append(len(set(listeners)))

    dispatcher = Counting()
    for listener in (print, print, repr):
        dispatcher.add_listener("order.placed", listener)

    dispatcher.dispatch("order.placed")

    assert seen == [2]


def test_errors_of_waiting_say_how_much_was_lost() -> None:
    assert "missed 3 of its events" in str(StreamLagged(3))
    assert "before 2 of its events" in str(QueueNotDrained([("order.placed", 1), ("order.placed", 2)]))
    assert QueueNotDrained([("order.placed", 1)]).unfinished == (("order.placed", 1),)


def test_what_is_handed_to_a_loop_that_has_ended_is_let_go() -> None:
    async def make() -> OwnerLoop:
        return OwnerLoop()

    for backend in ("asyncio", "trio"):
        home = anyio.run(make, backend=backend)
        called: list[str] = []

        assert not home.is_current()
        home.call(lambda: called.append("called"))

        assert called == []


def test_listeners_run_together_under_an_anyio_that_does_not_tell_its_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher, order = AsyncEventDispatcher(strategy=Concurrent()), list[str]()

    async def first(event: Event) -> None:
        await later.wait()
        order.append("first")

    async def second(event: Event) -> None:
        order.append("second")
        later.set()

    async def main() -> None:
        with anyio.fail_after(5):
            await dispatcher.adispatch("order.placed")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await dispatcher.adispatch("order.placed")
        assert scope.cancelled_caught

    later = anyio.Event()
    dispatcher.add_listener("order.placed", first)
    dispatcher.add_listener("order.placed", second)
    monkeypatch.setattr(anyio.lowlevel, "current_token", object)
    _get_asyncio_backend.cache_clear()
    try:
        anyio.run(main, backend="asyncio")
        assert _get_asyncio_backend().__name__ == "_PublicBackend"
    finally:
        _get_asyncio_backend.cache_clear()

    assert order == ["second", "first"]


def test_trio_within_a_task_of_asyncio_is_taken_for_trio() -> None:
    dispatcher, ran = AsyncEventDispatcher(strategy=Concurrent()), list[str]()

    async def voice(event: Event) -> None:
        await anyio.lowlevel.checkpoint()
        ran.append("voice")

    async def within() -> None:
        await dispatcher.adispatch("order.placed")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await dispatcher.adispatch("order.placed")
        assert scope.cancelled_caught

    async def main() -> None:
        await within()
        trio.run(within)
        await within()

    dispatcher.add_listener("order.placed", voice)
    dispatcher.add_listener("order.placed", voice)
    anyio.run(main, backend="asyncio")

    assert ran == ["voice"] * 6


REGISTRATION_METHODS: dict[str, Any] = {
    "add_listener": lambda d, options: d.add_listener("order.placed", print, **options),
    "listen": lambda d, options: d.listen("order.placed", **options)(print),
    "temporarily().add_listener": lambda d, options: d.temporarily().add_listener("order.placed", print, **options),
    "temporarily().listen": lambda d, options: d.temporarily().listen("order.placed", **options)(print),
    "scope().add_listener": lambda d, options: d.scope().add_listener("order.placed", print, **options),
    "scope().listen": lambda d, options: d.scope().listen("order.placed", **options)(print),
    "add_subscriber": lambda d, options: d.add_subscriber(plain_subscriber(options)),
    "temporarily().add_subscriber": lambda d, options: d.temporarily().add_subscriber(plain_subscriber(options)),
    "scope().add_subscriber": lambda d, options: d.scope().add_subscriber(plain_subscriber(options)),
}


def plain_subscriber(options: Any) -> object:
    class Choir:
        @listens_to("order.placed", **options)
        def sing(self, event: Event) -> None:
            raise AssertionError("never registered")

    return Choir()


@pytest.mark.parametrize("door", REGISTRATION_METHODS)
@pytest.mark.parametrize("options", [{}, {"once": True}, {"where": bool}, {"timeout": 1}, {"limit": 1}], ids=str)
def test_a_plain_function_is_refused_at_every_door_with_every_option(door: str, options: dict[str, Any]) -> None:
    dispatcher = AsyncEventDispatcher()

    with pytest.raises(TypeError, match="inline"):
        REGISTRATION_METHODS[door](dispatcher, options)

    assert not dispatcher.has_listeners()
