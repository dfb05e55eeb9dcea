"""Mistakes of the caller, and objects that are used after their end."""

from __future__ import annotations

import asyncio
import traceback
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
    in_thread,
    listens_to,
)
from antiphon._backend import OwnerLoop, _get_asyncio_backend
from tests.helpers import BOTH, make_listener


@pytest.fixture(params=BOTH)
def dispatcher(request: pytest.FixtureRequest) -> Any:
    return request.param()


# Registering


def test_a_scope_that_has_ended_cannot_be_entered_again(dispatcher: Any) -> None:
    scope = dispatcher.scope()
    with scope:
        pass

    with pytest.raises(RuntimeError, match="has ended"):
        scope.__enter__()


def test_a_registration_that_ends_its_registrar_is_removed() -> None:
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
        listens_to("order.placed")(property(print))


@pytest.mark.parametrize("priority", [True, False, "high", 1.0, None])
def test_a_priority_is_an_int_and_not_a_bool(priority: Any) -> None:
    with pytest.raises(TypeError, match="a priority is an int"):
        EventDispatcher().add_listener("order.placed", print, priority=priority)


def test_once_is_a_bool() -> None:
    with pytest.raises(TypeError, match="once= is True or False"):
        EventDispatcher().add_listener("order.placed", print, once="no")


def plain_subscriber(options: Any) -> object:
    return type("Subscriber", (), {"charge": listens_to("order.placed", **options)(lambda self, event: None)})()


REGISTRATION_METHODS: dict[str, Any] = {
    "add_listener": lambda registrar, options: registrar.add_listener("order.placed", print, **options),
    "listen": lambda registrar, options: registrar.listen("order.placed", **options)(print),
    "add_subscriber": lambda registrar, options: registrar.add_subscriber(plain_subscriber(options)),
}


@pytest.mark.parametrize("method", REGISTRATION_METHODS)
@pytest.mark.parametrize("of", ["dispatcher", "temporarily", "scope"])
@pytest.mark.parametrize("options", [{}, {"once": True}, {"where": bool}, {"timeout": 1}, {"limit": 1}], ids=str)
def test_a_plain_function_is_refused_by_every_method(method: str, of: str, options: dict[str, Any]) -> None:
    dispatcher = AsyncEventDispatcher()
    registrar = dispatcher if of == "dispatcher" else getattr(dispatcher, of)()

    with pytest.raises(TypeError, match="inline"):
        REGISTRATION_METHODS[method](registrar, options)

    assert not dispatcher.has_listeners()
    assert of == "temporarily" or not registrar.has_listeners()


# Calls


async def test_a_stored_call_of_a_once_listener_runs_it_once(dispatcher: Any) -> None:
    calls: list[Event] = []
    call = dispatcher.add_listener("order.placed", make_listener(dispatcher, calls.append), once=True).call
    for _ in range(2):
        result = call(Event())
        if isinstance(dispatcher, AsyncEventDispatcher):
            await result

    assert len(calls) == 1


async def test_a_where_that_removes_its_listener_keeps_it_from_starting(dispatcher: Any) -> None:
    calls: list[Event] = []
    subscription = dispatcher.add_listener(
        "order.placed", make_listener(dispatcher, calls.append), where=lambda event: subscription.unsubscribe()
    )

    await dispatcher.adispatch("order.placed")

    assert (calls, dispatcher.has_listeners("order.placed")) == ([], False)


async def test_in_thread_refuses_a_result_that_has_to_be_awaited() -> None:
    async def needs_a_loop(event: Event) -> None:
        raise AssertionError("never awaited")

    dispatcher = AsyncEventDispatcher()
    dispatcher.add_listener("order.placed", in_thread(lambda event: needs_a_loop(event)))

    with pytest.raises(TypeError, match="something to await"):
        await dispatcher.adispatch("order.placed")


async def test_a_met_expectation_takes_no_second_event() -> None:
    dispatcher, first = AsyncEventDispatcher(), Event()

    async with dispatcher.expect("order.placed") as expected:
        listener = dispatcher.get_listeners("order.placed")[0]
        await listener(first)
        await listener(Event())

    assert expected.event is first


def test_errors_of_waiting_say_how_much_was_lost() -> None:
    assert "missed 3 of its events" in str(StreamLagged(3))
    assert "before 2 of its events were dispatched ('placed', 'paid')" in str(
        QueueNotDrained([("placed", 1), ("paid", 2)])
    )
    assert "before 7 of its events were dispatched (0, 1, 2, 3, 4, ...)" in str(
        QueueNotDrained([(number, None) for number in range(7)])
    )
    assert QueueNotDrained([("order.placed", 1)]).unfinished == (("order.placed", 1),)


# Event loops


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_call_in_a_loop_that_has_ended_is_dropped(backend: str) -> None:
    async def make() -> OwnerLoop:
        return OwnerLoop()

    home, calls = anyio.run(make, backend=backend), list[str]()

    assert not home.is_current()
    home.call(lambda: calls.append("called"))

    assert calls == []


def test_a_loop_is_current_in_its_callbacks() -> None:
    async def main() -> list[bool]:
        owner, found = OwnerLoop(), list[bool]()
        asyncio.get_running_loop().call_soon(lambda: found.append(owner.is_current()))
        await anyio.lowlevel.checkpoint()
        return found

    assert asyncio.run(main()) == [True]


def test_asyncio_and_its_guest_are_different_loops() -> None:
    """Trio can run in the thread of asyncio, as a guest."""

    async def main() -> list[bool]:
        loop, found, ended = asyncio.get_running_loop(), list[bool](), asyncio.Event()
        host = OwnerLoop()
        guests: list[OwnerLoop] = []

        async def guest() -> None:
            guests.append(OwnerLoop())
            found.extend((host.is_current(), guests[0].is_current()))

        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=lambda _: ended.set(),
            host_uses_signal_set_wakeup_fd=True,
        )
        await ended.wait()
        found.extend((host.is_current(), guests[0].is_current()))
        return found

    assert asyncio.run(main()) == [False, True, True, False]


async def dispatch_and_cancel(dispatcher: AsyncEventDispatcher) -> None:
    """Dispatch, and dispatch again in a cancelled scope, which no listener of a concurrent dispatch starts in."""
    with anyio.fail_after(5):
        await dispatcher.adispatch("order.placed")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await dispatcher.adispatch("order.placed")
    assert scope.cancelled_caught


def test_listeners_run_together_if_anyio_does_not_name_its_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    dispatcher, order = AsyncEventDispatcher(strategy=Concurrent()), list[str]()
    later = anyio.Event()

    @dispatcher.listen("order.placed")
    async def first(event: Event) -> None:
        await later.wait()
        order.append("first")

    @dispatcher.listen("order.placed")
    async def second(event: Event) -> None:
        order.append("second")
        later.set()

    monkeypatch.setattr(anyio.lowlevel, "current_token", object)
    _get_asyncio_backend.cache_clear()
    try:
        anyio.run(dispatch_and_cancel, dispatcher, backend="asyncio")
        assert _get_asyncio_backend().__name__ == "_PublicBackend"
    finally:
        _get_asyncio_backend.cache_clear()

    assert order == ["second", "first"]


def test_trio_within_an_asyncio_task_is_taken_for_trio() -> None:
    dispatcher, ran = AsyncEventDispatcher(strategy=Concurrent()), list[str]()

    async def listener(event: Event) -> None:
        await anyio.lowlevel.checkpoint()
        ran.append("ran")

    async def main() -> None:
        await dispatch_and_cancel(dispatcher)
        trio.run(dispatch_and_cancel, dispatcher)
        await dispatch_and_cancel(dispatcher)

    dispatcher.add_listener("order.placed", listener)
    dispatcher.add_listener("order.placed", listener)
    anyio.run(main, backend="asyncio")

    assert ran == ["ran"] * 6


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
def test_the_arguments_of_a_subclass_reach_its_other_base(kind: Any) -> None:
    class Tagged:
        def __init_subclass__(cls, *, tag: str, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            cls.tag = tag

    class Tagging(kind, Tagged, tag="orders"): ...

    assert Tagging.tag == "orders"


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)
def test_a_wrong_option_is_refused_with_the_name_of_the_call(kind: Any) -> None:
    for call, name in [(kind, kind.__name__), (kind().scope, "scope")]:
        with pytest.raises(TypeError, match=rf"^{name}\(\) has no option verbose="):
            call(verbose=True)


def test_a_wrong_option_of_expect_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^expect\(\) has no option verbose="):
        AsyncEventDispatcher().expect("order.placed", verbose=True)  # type: ignore[call-overload]


def raise_again(exc: Exception, event: Any, listener: Any) -> None:
    raise exc


@pytest.mark.parametrize("event", [Event(), object()], ids=["Event", "bare"])
@pytest.mark.parametrize("errors", ["raise", raise_again])
def test_the_traceback_of_an_error_shows_each_function_once(errors: Any, event: Any) -> None:
    def charge(event: Any) -> None:
        raise LookupError

    dispatcher = EventDispatcher(errors=errors)
    dispatcher.add_listener("order.placed", charge)

    with pytest.raises(LookupError) as caught:
        dispatcher.dispatch("order.placed", event)

    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert (names[-1], len(names)) == ("charge", len(set(names)))
