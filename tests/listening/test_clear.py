"""`clear(key)` and `clear()`: all listeners are removed at once."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Event, listens_to
from tests.helpers import AnyDispatcher, make_recording_listener


class OrderPlaced(Event): ...


def test_a_key_is_cleared_and_the_others_stay(dispatcher: AnyDispatcher) -> None:
    listener, other = (make_recording_listener(dispatcher, [], number) for number in range(2))
    for key in ("order.placed", "order.*", OrderPlaced):
        dispatcher.add_listener(key, listener)
        dispatcher.add_listener(key, other, once=True)

    dispatcher.clear("order.placed")
    assert set(dispatcher.get_listeners()) == {"order.*", OrderPlaced}
    assert dispatcher.get_listeners("order.placed") == (listener, other)
    dispatcher.clear("order.*")
    dispatcher.clear(OrderPlaced)

    assert not dispatcher.has_listeners()


async def test_everything_is_cleared_and_can_be_registered_again(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    listener = make_recording_listener(dispatcher, log, "called")
    handles = [dispatcher.add_listener(key, listener) for key in ("order.placed", "order.placed", "*")]
    await dispatcher.adispatch("order.placed")

    dispatcher.clear()
    await dispatcher.adispatch("order.placed")
    dispatcher.add_listener("order.placed", listener)
    await dispatcher.adispatch("order.placed")

    assert log == ["called"] * 4
    assert [handle.unsubscribe() for handle in handles] == [False] * 3


async def test_a_running_dispatch_starts_no_cleared_listener(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []

    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "first"), priority=-1)
    if isinstance(dispatcher, AsyncEventDispatcher):

        async def clear(event: Any) -> None:
            dispatcher.clear()

        dispatcher.add_listener("order.placed", clear)
    else:
        dispatcher.add_listener("order.placed", lambda event: dispatcher.clear())
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "second"), priority=1)

    await dispatcher.adispatch("order.placed")

    assert log == ["first"]


async def test_what_waits_ends() -> None:
    dispatcher, read = AsyncEventDispatcher(), list[Any]()

    async with dispatcher.stream("order.*") as stream:
        event = await dispatcher.adispatch("order.placed")
        with pytest.raises(anyio.ClosedResourceError, match="its registration was removed"):
            async with dispatcher.expect("order.shipped"):
                dispatcher.clear()
        read.extend([received async for received in stream])

    assert read == [event]


async def test_a_scope_clears_its_own_listeners(dispatcher: AnyDispatcher) -> None:
    log: list[Any] = []
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, log, "parent"))
    with dispatcher.scope() as scoped:
        scoped.add_listener("order.placed", make_recording_listener(dispatcher, log, "scope"))
        scoped.clear("order.placed")
        await scoped.adispatch("order.placed")
        scoped.add_listener("order.placed", make_recording_listener(dispatcher, log, "scope"))
        scoped.clear()
        await scoped.adispatch("order.placed")
        dispatcher.clear()
        await scoped.adispatch("order.placed")
    scoped.clear()

    assert log == ["parent", "parent"]


def test_a_registrar_clears_the_listeners_of_its_block(dispatcher: AnyDispatcher) -> None:
    kept, first, second = (make_recording_listener(dispatcher, [], number) for number in range(3))
    dispatcher.add_listener("order.placed", kept)

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("order.placed", first)
        registrar.add_listener("order.shipped", first)
        registrar.clear("order.placed")
        assert dispatcher.get_listeners() == {"order.placed": (kept,), "order.shipped": (first,)}
        registrar.clear()
        registrar.add_listener("order.placed", second)
        assert dispatcher.get_listeners() == {"order.placed": (kept, second)}

    assert dispatcher.get_listeners() == {"order.placed": (kept,)}


@pytest.mark.parametrize("key", [None, [], "order*"], ids=repr)
def test_an_invalid_key_is_refused_and_nothing_is_removed(dispatcher: AnyDispatcher, key: Any) -> None:
    dispatcher.add_listener("order.placed", make_recording_listener(dispatcher, [], 1))

    for target in (dispatcher, dispatcher.temporarily(), dispatcher.scope()):
        with pytest.raises((TypeError, ValueError), match=r"key|pattern"):
            target.clear(key)

    assert dispatcher.has_listeners("order.placed")


def test_a_key_without_listeners_is_cleared() -> None:
    class Shop:
        @listens_to("order.placed")
        async def reserve(self, event: Event) -> None: ...

    dispatcher = AsyncEventDispatcher()
    handle = dispatcher.add_subscriber(Shop())
    dispatcher.clear("order.shipped")
    assert dispatcher.has_listeners("order.placed")
    dispatcher.clear()

    assert not handle.unsubscribe()
