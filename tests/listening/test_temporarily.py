"""``temporarily``: registrations on the dispatcher itself, all of which are taken back at the end of a block."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, listens_to
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener


class Silent(AsyncEventDispatcher):
    """Overrides ``add_listener`` as HARP does: it returns nothing, and knows no options."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        super().__init__()

    def add_listener(self, event_id: Any, listener: Any, /, *, priority: int = 0) -> None:  # type: ignore[override]
        self.seen.append((event_id, priority))
        super().add_listener(event_id, listener, priority=priority)


class SyncSilent(EventDispatcher):
    def add_listener(self, event_id: Any, listener: Any, /, *, priority: int = 0) -> None:  # type: ignore[override]
        super().add_listener(event_id, listener, priority=priority)


every_kind = pytest.mark.parametrize("kind", [AsyncEventDispatcher, EventDispatcher, Silent, SyncSilent])


@every_kind
@pytest.mark.parametrize("options", [{}, {"priority": 3}, {"once": True}, {"where": bool}], ids=repr)
@pytest.mark.parametrize("door", ["add_listener", "listen"])
def test_every_door_takes_back_what_came_through_it(kind: Any, options: dict[str, Any], door: str) -> None:
    dispatcher: AnyDispatcher = kind()
    staying, passing = make_listener(dispatcher, print), make_listener(dispatcher, print)
    dispatcher.add_listener("hymn", staying)

    with dispatcher.temporarily() as registrar:
        for key in ("hymn", "praise.*", Event, 7):
            if door == "add_listener":
                subscription = registrar.add_listener(key, passing, **options)
                assert subscription is not None and subscription.key == key
            else:
                assert registrar.listen(key, **options)(passing) is passing
        assert passing in dispatcher.get_listeners("hymn")

    assert dispatcher.get_listeners() == {"hymn": (staying,)}


@every_kind
def test_a_subscriber_is_taken_back(kind: Any) -> None:
    dispatcher: AnyDispatcher = kind()

    def sing(self: object, event: Event) -> None: ...

    async def sing_async(self: object, event: Event) -> None: ...

    method = sing if isinstance(dispatcher, EventDispatcher) else sing_async
    Choir = type("Choir", (), {"sing": listens_to("hymn")(listens_to("psalm", once=True)(method))})

    with dispatcher.temporarily() as registrar:
        handle = registrar.add_subscriber(Choir())
        assert [subscription.key for subscription in handle] == ["hymn", "psalm"]
        assert set(dispatcher.get_listeners()) == {"hymn", "psalm"}

    assert not dispatcher.has_listeners()
    assert handle.unsubscribe() is False


def test_plain_registrations_pass_through_an_overridden_add_listener() -> None:
    dispatcher = Silent()

    async def sing(event: Event) -> None: ...

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("hymn", sing, priority=2)
        registrar.listen("psalm")(sing)

    assert dispatcher.seen == [("hymn", 2), ("psalm", 0)]


def test_an_overridden_add_listener_that_registers_nothing_gives_no_handle() -> None:
    class Deaf(AsyncEventDispatcher):
        def add_listener(self, *arguments: Any, **options: Any) -> Any:
            return None

    async def sing(event: Event) -> None: ...

    with Deaf().temporarily() as registrar:
        assert registrar.add_listener("hymn", sing) is None


def test_all_that_an_overridden_add_listener_registers_is_taken_back() -> None:
    class Double(AsyncEventDispatcher):
        def add_listener(self, key: Any, listener: Any, /, **options: Any) -> Any:
            super().add_listener(key, listener, **options)
            return super().add_listener((key, "echo"), listener, **options)

    dispatcher = Double()

    async def sing(event: Event) -> None: ...

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("hymn", sing)
        assert list(dispatcher.get_listeners()) == ["hymn", ("hymn", "echo")]

    assert not dispatcher.has_listeners()


def test_exactly_its_own_registrations_are_taken_back(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    before = dispatcher.add_listener("hymn", listener)

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("hymn", listener)
        after = dispatcher.add_listener("hymn", listener)

    assert dispatcher.get_listeners() == {"hymn": (listener, listener)}
    assert [before.unsubscribe(), after.unsubscribe()] == [True, True]


def test_what_a_listener_registers_on_the_dispatcher_during_the_block_stays() -> None:
    dispatcher = EventDispatcher()

    def register(event: Event) -> None:
        dispatcher.add_listener("later", repr)

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("hymn", register)
        dispatcher.dispatch("hymn")

    assert dispatcher.get_listeners() == {"later": (repr,)}


def test_blocks_that_overlap_each_take_back_their_own(dispatcher: AnyDispatcher) -> None:
    first, second = make_listener(dispatcher, print), make_listener(dispatcher, print)
    one, other = dispatcher.temporarily(), dispatcher.temporarily()

    one.__enter__()
    one.add_listener("hymn", first)
    other.__enter__()
    other.add_listener("hymn", second)
    one.add_listener("psalm", first)
    one.__exit__(None, None, None)
    between = dispatcher.get_listeners()
    other.__exit__(None, None, None)

    assert (between, dispatcher.get_listeners()) == ({"hymn": (second,)}, {})


async def test_blocks_nest(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    with dispatcher.temporarily() as outer:
        outer.add_listener("hymn", make_recording_listener(dispatcher, log, "outer"))
        with dispatcher.temporarily() as inner:
            inner.add_listener("hymn", make_recording_listener(dispatcher, log, "inner"))
            outer.add_listener("hymn", make_recording_listener(dispatcher, log, "outer again"))
            await dispatcher.adispatch("hymn", Event())
        await dispatcher.adispatch("hymn", Event())
    await dispatcher.adispatch("hymn", Event())

    assert log == ["outer", "inner", "outer again", "outer", "outer again"]


async def test_a_block_that_ends_during_a_dispatch_lets_none_of_its_listeners_start(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    registrar = dispatcher.temporarily()
    dispatcher.add_listener("hymn", make_listener(dispatcher, lambda event: registrar.__exit__(None, None, None)))
    registrar.add_listener("hymn", make_recording_listener(dispatcher, log, "heard"))

    await dispatcher.adispatch("hymn", Event())

    assert log == []


async def test_in_a_scope_both_ends_take_back(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    with dispatcher.scope() as scoped:
        with scoped.temporarily() as registrar:
            registrar.add_listener("hymn", make_recording_listener(dispatcher, log, "heard"))
            await scoped.adispatch("hymn", Event())
            await dispatcher.adispatch("hymn", Event())
        await scoped.adispatch("hymn", Event())

    assert log == ["heard"]


async def test_a_scope_hears_what_its_parent_has_temporarily(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    with dispatcher.scope() as scoped:
        with dispatcher.temporarily() as registrar:
            registrar.add_listener("hymn", make_recording_listener(dispatcher, log, "heard"))
            await scoped.adispatch("hymn", Event())
        await scoped.adispatch("hymn", Event())

    assert log == ["heard"]


def test_a_block_may_outlive_the_scope_it_registers_on(dispatcher: AnyDispatcher) -> None:
    with dispatcher.scope() as scoped:
        registrar = scoped.temporarily()
        registrar.__enter__()
        registrar.add_listener("hymn", make_listener(dispatcher, print))
    registrar.__exit__(None, None, None)

    assert not scoped.has_listeners()


@pytest.mark.parametrize("door", ["add_listener", "listen", "add_subscriber"])
def test_nothing_is_registered_after_the_end(door: str) -> None:
    dispatcher = AsyncEventDispatcher()

    class Choir:
        @listens_to("hymn")
        async def sing(self, event: Event) -> None: ...

    choir = Choir()
    with dispatcher.temporarily() as registrar:
        pass

    with pytest.raises(RuntimeError, match="has ended"):
        if door == "add_listener":
            registrar.add_listener("hymn", choir.sing)
        elif door == "listen":
            registrar.listen("hymn")(choir.sing)
        else:
            registrar.add_subscriber(choir)

    assert not dispatcher.has_listeners()


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt])
def test_a_block_that_raises_takes_back_too(dispatcher: AnyDispatcher, error: type[BaseException]) -> None:
    with pytest.raises(error), dispatcher.temporarily() as registrar:
        registrar.add_listener("hymn", make_listener(dispatcher, print))
        raise error

    assert not dispatcher.has_listeners()


def test_a_refused_registration_leaves_the_block_usable(dispatcher: AnyDispatcher) -> None:
    with dispatcher.temporarily() as registrar:
        heard = make_listener(dispatcher, print)
        for key, listener, error in ((None, heard, TypeError), ("hy*mn", heard, ValueError), ("hymn", 3, TypeError)):
            with pytest.raises(error):
                registrar.add_listener(key, listener)  # type: ignore[arg-type]  # one of them is none
        assert not dispatcher.has_listeners()
        registrar.add_listener("hymn", make_listener(dispatcher, print))
        assert dispatcher.has_listeners("hymn")

    assert not dispatcher.has_listeners()


def test_listen_without_a_key_teaches_how_to_write_it(dispatcher: AnyDispatcher) -> None:
    with dispatcher.temporarily() as registrar, pytest.raises(TypeError, match="takes the key"):
        registrar.listen(make_listener(dispatcher, print))


def test_a_block_keeps_nothing_alive_after_its_end(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    witness = weakref.ref(listener)
    with dispatcher.temporarily() as registrar:
        registrar.add_listener("hymn", listener)
    del listener
    gc.collect()

    assert witness() is None


async def test_a_long_block_does_not_collect_what_has_left_meanwhile(dispatcher: AnyDispatcher) -> None:
    witnesses: list[weakref.ref[Any]] = []

    async def hear_once(registrar: Any) -> None:
        listener = make_listener(dispatcher, lambda event: None)
        witnesses.append(weakref.ref(listener))
        registrar.add_listener("hymn", listener, once=True)
        await dispatcher.adispatch("hymn", Event())

    with dispatcher.temporarily() as registrar:
        for _ in range(100):
            await hear_once(registrar)
        gc.collect()

        assert sum(witness() is not None for witness in witnesses) < 50
