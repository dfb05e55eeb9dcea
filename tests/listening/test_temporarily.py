"""``temporarily``: registrations on the dispatcher itself, all of which are removed at the end of a block."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, listens_to
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener

PLACED = "order.placed"


class OrderPlaced(Event): ...


class OrderPaid(Event): ...


class WithoutHandle(AsyncEventDispatcher):
    """Overrides ``add_listener`` as HARP does: it returns nothing, and knows no options."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        super().__init__()

    def add_listener(self, event_id: Any, listener: Any, /, *, priority: int = 0) -> None:  # type: ignore[override]
        self.seen.append((event_id, priority))
        super().add_listener(event_id, listener, priority=priority)


class SyncWithoutHandle(EventDispatcher):
    def add_listener(self, event_id: Any, listener: Any, /, *, priority: int = 0) -> None:  # type: ignore[override]
        super().add_listener(event_id, listener, priority=priority)


async def charge(event: Event) -> None: ...


class Shop:
    @listens_to(PLACED)
    async def charge(self, event: Event) -> None: ...


class SyncShop:
    @listens_to(PLACED)
    @listens_to("order.paid", once=True)
    def charge(self, event: Event) -> None: ...


every_kind = pytest.mark.parametrize("kind", [AsyncEventDispatcher, EventDispatcher, WithoutHandle, SyncWithoutHandle])


@every_kind
@pytest.mark.parametrize("options", [{}, {"priority": 3}, {"once": True}, {"where": bool}], ids=repr)
@pytest.mark.parametrize("method", ["add_listener", "listen"])
def test_every_method_removes_what_it_registered(kind: Any, options: dict[str, Any], method: str) -> None:
    dispatcher: AnyDispatcher = kind()
    staying, passing = make_listener(dispatcher, print), make_listener(dispatcher, print)
    dispatcher.add_listener(PLACED, staying)

    with dispatcher.temporarily() as registrar:
        for key in (PLACED, "order.*", Event, 7):
            if method == "add_listener":
                subscription = registrar.add_listener(key, passing, **options)
                assert subscription.key == key
            else:
                assert registrar.listen(key, **options)(passing) is passing
        assert passing in dispatcher.get_listeners(PLACED)

    assert dispatcher.get_listeners() == {PLACED: (staying,)}


@every_kind
def test_a_subscriber_is_removed(kind: Any) -> None:
    dispatcher: AnyDispatcher = kind()
    expected = {PLACED} if isinstance(dispatcher, AsyncEventDispatcher) else {PLACED, "order.paid"}

    with dispatcher.temporarily() as registrar:
        handle = registrar.add_subscriber(Shop() if isinstance(dispatcher, AsyncEventDispatcher) else SyncShop())
        assert {subscription.key for subscription in handle} == set(dispatcher.get_listeners()) == expected

    assert not dispatcher.has_listeners()
    assert handle.unsubscribe() is False


def test_plain_registrations_reach_an_overridden_add_listener() -> None:
    dispatcher = WithoutHandle()

    with dispatcher.temporarily() as registrar:
        registrar.add_listener(PLACED, charge, priority=2)
        registrar.listen("order.paid")(charge)

    assert dispatcher.seen == [(PLACED, 2), ("order.paid", 0)]


def test_an_override_may_register_nothing_or_more() -> None:
    class Nothing(AsyncEventDispatcher):
        def add_listener(self, *arguments: Any, **options: Any) -> Any:
            return None

    class Double(AsyncEventDispatcher):
        def add_listener(self, key: Any, listener: Any, /, **options: Any) -> Any:
            super().add_listener(key, listener, **options)
            return super().add_listener(f"{key}.again", listener, **options)

    dispatcher = Double()
    with Nothing().temporarily() as empty, dispatcher.temporarily() as registrar:
        with empty.add_listener(PLACED, charge) as handle:
            assert (handle.key, handle.listener) == (PLACED, charge)
            assert not handle.is_registered() and not handle.unsubscribe()
        registrar.add_listener(PLACED, charge)
        assert list(dispatcher.get_listeners()) == [PLACED, f"{PLACED}.again"]

    assert not dispatcher.has_listeners()


def test_exactly_its_own_registrations_are_removed(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    before = dispatcher.add_listener(PLACED, listener)

    with dispatcher.temporarily() as registrar:
        registrar.add_listener(PLACED, listener)
        after = dispatcher.add_listener(PLACED, listener)
        assert len(dispatcher.get_listeners(PLACED)) == 3

    assert dispatcher.get_listeners() == {PLACED: (listener, listener)}
    assert [before.unsubscribe(), after.unsubscribe()] == [True, True]


def test_a_registration_may_be_removed_before_the_end(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)

    with dispatcher.temporarily() as registrar:
        registrar.add_listener(PLACED, listener)
        dispatcher.remove_listener(PLACED, listener)
        dispatcher.add_listener(PLACED, listener)

    assert dispatcher.get_listeners(PLACED) == (listener,)


def test_what_a_listener_registers_during_the_block_stays() -> None:
    dispatcher = EventDispatcher()

    with dispatcher.temporarily() as registrar:
        registrar.add_listener(PLACED, lambda event: [dispatcher.add_listener("later", repr), None][1])
        dispatcher.dispatch(PLACED)

    assert dispatcher.get_listeners() == {"later": (repr,)}


def test_overlapping_blocks_remove_their_own(dispatcher: AnyDispatcher) -> None:
    first, second = make_listener(dispatcher, print), make_listener(dispatcher, print)
    one, other = dispatcher.temporarily(), dispatcher.temporarily()

    one.__enter__()
    one.add_listener(PLACED, first)
    other.__enter__()
    other.add_listener(PLACED, second)
    one.add_listener("order.paid", first)
    one.__exit__(None, None, None)
    between = dispatcher.get_listeners()
    other.__exit__(None, None, None)

    assert (between, dispatcher.get_listeners()) == ({PLACED: (second,)}, {})


async def test_blocks_nest_in_scopes_and_other_blocks(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []

    async def dispatch() -> None:
        log.append("-")
        await dispatcher.adispatch(PLACED, Event())
        await scoped.adispatch(PLACED, Event())

    with dispatcher.scope() as scoped:
        with dispatcher.temporarily() as outer:
            outer.add_listener(PLACED, make_recording_listener(dispatcher, log, "outer"))
            with scoped.temporarily() as inner:
                inner.add_listener(PLACED, make_recording_listener(dispatcher, log, "inner"))
                outer.add_listener(PLACED, make_recording_listener(dispatcher, log, "once"), priority=-1, once=True)
                await dispatch()
            await dispatch()
        await dispatch()

    assert log == ["-", "once", "outer", "outer", "inner", "-", "outer", "outer", "-"]


async def test_a_block_that_ends_in_a_dispatch_starts_no_listener(dispatcher: AnyDispatcher) -> None:
    log: list[str] = []
    registrar = dispatcher.temporarily()
    dispatcher.add_listener(PLACED, make_listener(dispatcher, lambda event: registrar.__exit__(None, None, None)))
    registrar.add_listener(PLACED, make_recording_listener(dispatcher, log, "called"))

    await dispatcher.adispatch(PLACED, Event())

    assert log == []


def test_a_block_that_has_ended_is_not_entered_again(dispatcher: AnyDispatcher) -> None:
    with dispatcher.temporarily() as registrar:
        pass

    with pytest.raises(RuntimeError, match=r"has ended; write a new `with dispatcher\.temporarily\(\)`"), registrar:
        raise AssertionError


def test_a_block_may_outlive_its_scope(dispatcher: AnyDispatcher) -> None:
    with dispatcher.scope() as scoped:
        registrar = scoped.temporarily()
        registrar.__enter__()
        registrar.add_listener(PLACED, make_listener(dispatcher, print))
    registrar.__exit__(None, None, None)

    assert not scoped.has_listeners()


@pytest.mark.parametrize("method", ["add_listener", "listen", "add_subscriber"])
def test_nothing_is_registered_after_the_end(method: str) -> None:
    dispatcher = AsyncEventDispatcher()
    with dispatcher.temporarily() as registrar:
        pass

    register: Any = {
        "add_listener": lambda: registrar.add_listener(PLACED, charge),
        "listen": lambda: registrar.listen(PLACED)(charge),
        "add_subscriber": lambda: registrar.add_subscriber(Shop()),
    }
    with pytest.raises(RuntimeError, match="has ended"):
        register[method]()

    assert not dispatcher.has_listeners()


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt])
def test_a_block_that_raises_removes_too(dispatcher: AnyDispatcher, error: type[BaseException]) -> None:
    with pytest.raises(error), dispatcher.temporarily() as registrar:
        registrar.add_listener(PLACED, make_listener(dispatcher, print))
        raise error

    assert not dispatcher.has_listeners()


def test_a_refused_registration_leaves_the_block_usable(dispatcher: AnyDispatcher) -> None:
    listener = make_listener(dispatcher, print)
    with dispatcher.temporarily() as registrar:
        for key, refused, error in ((None, listener, TypeError), ("a*", listener, ValueError), (PLACED, 3, TypeError)):
            with pytest.raises(error):
                registrar.add_listener(key, refused)  # type: ignore[arg-type]  # one is not a listener
        assert not dispatcher.has_listeners()
        registrar.add_listener(PLACED, listener)
        assert dispatcher.has_listeners(PLACED)

    assert not dispatcher.has_listeners()


async def test_a_block_keeps_no_removed_listener(dispatcher: AnyDispatcher) -> None:
    references: list[weakref.ref[Any]] = []

    async def call_once(registrar: Any) -> None:
        listener = make_listener(dispatcher, lambda event: None)
        references.append(weakref.ref(listener))
        registrar.add_listener(PLACED, listener, once=True)
        await dispatcher.adispatch(PLACED, Event())

    with dispatcher.temporarily() as registrar:
        for _ in range(100):
            await call_once(registrar)
        gc.collect()
        assert sum(reference() is not None for reference in references) < 50
    gc.collect()

    assert not any(reference() for reference in references)


def test_the_handle_of_one_key_is_that_of_its_registration(dispatcher: AnyDispatcher) -> None:
    with dispatcher.temporarily() as registrar:
        plain = dispatcher.add_listener(PLACED, make_listener(dispatcher, print))
        handle = registrar.add_listener(PLACED, make_listener(dispatcher, print))
        several = registrar.add_listener(OrderPlaced | OrderPaid, make_listener(dispatcher, print))

    assert (handle.key, several.key) == (PLACED, OrderPlaced | OrderPaid)
    assert type(handle) is type(plain) is not type(several)
