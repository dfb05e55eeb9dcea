"""A registration, a scope or an instrument is either completely there or not at all, in every thread.

No test races: each one interrupts the code at the critical point, by what the code itself calls there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from antiphon import AsyncEventDispatcher, Event, EventDispatcher, inline, listens_to
from antiphon._registry.registry import Registry
from antiphon.instruments import everywhere
from tests.helpers import AnyDispatcher, make_listener, make_recording_listener


class Interrupt(BaseException):
    """As a ``KeyboardInterrupt``, which would end the tests if one of them failed."""


class Colliding:
    """A key or name that cannot be compared with others of its kind, though all of them have one hash."""

    error: type[BaseException] = ZeroDivisionError

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        raise self.error("compared")


class Interrupting(Colliding):
    error = Interrupt


def in_thread(function: Callable[[], object]) -> None:
    """Run a function in another thread, and wait for it; a deadlock fails the test."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as exc:
            errors.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "deadlock"
    if errors:
        raise errors[0]


# Scopes that are made while something is registered


@pytest.mark.parametrize("key", ["order.placed", "order.*", Event], ids=["name", "pattern", "class"])
def test_a_parent_knows_complete_scopes_only(
    dispatcher: AnyDispatcher, key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = make_listener(dispatcher, print)
    register = [True]

    class Watched(Registry):
        """A registry during whose making the parent registers, at each attribute that is set."""

        __slots__ = ()

        def __setattr__(self, attribute: str, value: object) -> None:
            super().__setattr__(attribute, value)
            if attribute != "_lock" and register:
                register.clear()
                dispatcher.add_listener(key, listener).unsubscribe()
                register.append(True)

    monkeypatch.setattr("antiphon._dispatchers.base.Registry", Watched)

    with dispatcher.scope() as scoped:
        pass

    assert (dispatcher.get_listeners(), scoped.get_listeners()) == ({}, {})


async def test_a_scope_may_be_made_while_plans_are_dropped(dispatcher: AnyDispatcher) -> None:
    made: list[Any] = []

    class Name:
        """A name that makes a scope when nothing keeps it any more, as a finalizer may."""

        def __del__(self) -> None:
            made.append(dispatcher.scope())

    scopes = [dispatcher.scope() for _ in range(3)]
    for scoped in scopes:
        await scoped.adispatch(Name(), Event())

    log: list[str] = []
    dispatcher.add_listener("*", make_recording_listener(dispatcher, log, "called"))
    for scoped in scopes:
        await scoped.adispatch("order.placed", Event())

    assert (len(made), log) == (3, ["called"] * 3)


async def test_scopes_may_be_collected_while_plans_are_dropped(dispatcher: AnyDispatcher) -> None:
    scopes = [dispatcher.scope() for _ in range(9)]

    class Name:
        def __del__(self) -> None:
            del scopes[1:]

    await scopes[0].adispatch(Name(), Event())

    dispatcher.add_listener("*", make_listener(dispatcher, print))

    assert len(scopes) == 1
    assert scopes[0].has_listeners("order.placed")


# A failed registration changes nothing, whatever fails


@pytest.mark.parametrize("kind", [Colliding, Interrupting])
@pytest.mark.parametrize("options", [{}, {"once": True}], ids=["plain", "options"])
async def test_a_failure_to_look_up_a_key_leaves_nothing(
    dispatcher: AnyDispatcher, kind: Any, options: dict[str, Any]
) -> None:
    staying = make_listener(dispatcher, print)
    key = kind()
    dispatcher.add_listener(key, staying)

    with pytest.raises(kind.error):
        dispatcher.add_listener(kind(), make_listener(dispatcher, print), **options)

    assert list(dispatcher.get_listeners().values()) == [(staying,)]


@pytest.mark.parametrize("in_scope", [False, True], ids=["dispatcher", "scope"])
async def test_incomparable_names_do_not_hide_a_key(dispatcher: AnyDispatcher, in_scope: bool) -> None:
    log: list[str] = []
    where: AnyDispatcher = dispatcher.scope() if in_scope else dispatcher
    await where.adispatch(Colliding(), Event())
    key = Colliding()

    dispatcher.add_listener(key, make_recording_listener(dispatcher, log, "called"))
    await where.adispatch(key, Event())

    assert log == ["called"]


@pytest.mark.parametrize("in_scope", [False, True], ids=["dispatcher", "scope"])
async def test_an_interrupt_while_plans_are_dropped_leaves_nothing(dispatcher: AnyDispatcher, in_scope: bool) -> None:
    log: list[str] = []
    where: AnyDispatcher = dispatcher.scope() if in_scope else dispatcher
    await where.adispatch(Interrupting(), Event())
    key = Interrupting()

    with pytest.raises(Interrupt):
        dispatcher.add_listener(key, make_recording_listener(dispatcher, log, "called"))
    await where.adispatch(key, Event())

    assert (log, dispatcher.get_listeners()) == ([], {})


@pytest.mark.parametrize("key", ["order.placed", Interrupting()], ids=["comparable", "incomparable"])
def test_a_listener_whose_hash_is_interrupted_leaves_no_key(key: Any) -> None:
    dispatcher = EventDispatcher()
    dispatcher.dispatch(Interrupting(), Event())

    class Listener:
        def __hash__(self) -> int:
            raise Interrupt

        def __call__(self, event: Event) -> None: ...

    with pytest.raises(Interrupt):
        dispatcher.add_listener(key, Listener())

    assert (dispatcher.has_listeners(), dispatcher.get_listeners()) == (False, {})


class Incomparable(Colliding):
    """A listener that cannot be compared with others."""

    def __call__(self, event: Event) -> None: ...


def test_incomparable_listeners_can_be_registered_and_removed() -> None:
    dispatcher = EventDispatcher()
    listeners = [Incomparable() for _ in range(3)]
    handles = [dispatcher.add_listener("order.placed", listener) for listener in listeners]
    assert list(map(id, dispatcher.get_listeners("order.placed"))) == list(map(id, listeners))

    assert [handle.unsubscribe() for handle in handles] == [True] * 3
    assert not dispatcher.has_listeners()


def test_a_hash_that_removes_the_last_listener_loses_none() -> None:
    dispatcher = EventDispatcher()
    last = dispatcher.add_listener("order.placed", print)

    class Listener:
        def __hash__(self) -> int:
            last.unsubscribe()
            return 7

        def __call__(self, event: Event) -> None: ...

    listener = Listener()
    dispatcher.add_listener("order.placed", listener)

    assert dispatcher.get_listeners("order.placed") == (listener,)


class Rehashed:
    """A listener whose hash is another one each time."""

    def __init__(self) -> None:
        self.hashes = 0

    def __hash__(self) -> int:
        self.hashes += 1
        return self.hashes

    def __call__(self, event: Event) -> None: ...


@pytest.mark.parametrize("others", [0, 2])
def test_a_hash_that_removes_a_rehashed_listener_loses_none(others: int) -> None:
    dispatcher = EventDispatcher()
    rehashed = dispatcher.add_listener("order.placed", Rehashed())
    kept = [make_listener(dispatcher, print) for _ in range(others)]
    for listener in kept:
        dispatcher.add_listener("order.placed", listener)

    class Listener:
        def __hash__(self) -> int:
            rehashed.unsubscribe()
            return 7

        def __call__(self, event: Event) -> None: ...

    added = Listener()
    dispatcher.add_listener("order.placed", added)

    assert dispatcher.get_listeners("order.placed") == (*kept, added)


@pytest.mark.parametrize("others", [0, 2])
def test_a_failed_registration_of_a_rehashed_listener_leaves_nothing(others: int) -> None:
    dispatcher = EventDispatcher()
    kept = [make_listener(dispatcher, print) for _ in range(others)]
    for listener in kept:
        dispatcher.add_listener("order.placed", listener)
    interrupts = False

    class Name(str):
        """A name that cannot be compared at the time of the registration."""

        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            if interrupts:
                raise Interrupt
            return super().__eq__(other)

    dispatcher.dispatch(Name("order.placed"), Event())
    interrupts = True
    with pytest.raises(Interrupt):
        dispatcher.add_listener("order.placed", Rehashed())
    interrupts = False

    assert dispatcher.get_listeners("order.placed") == tuple(kept)
    assert dispatcher.has_listeners() is bool(others)


def test_a_key_check_that_registers_loses_no_registration() -> None:
    dispatcher = EventDispatcher()

    class Meta(type):
        def __subclasscheck__(cls, other: type) -> bool:
            if registering:
                registering.clear()
                dispatcher.add_listener(cls, print)
            return False

    class Placed(metaclass=Meta): ...

    registering = [True]
    dispatcher.add_listener(Placed, repr)

    assert dispatcher.get_listeners() == {Placed: (repr, print)}


def test_nothing_is_registered_while_a_scope_ends() -> None:
    dispatcher = EventDispatcher()
    refused: list[str] = []
    scoped = dispatcher.scope()

    class Name:
        """A name whose finalizer registers for a key that the scope is about to remove."""

        def __del__(self) -> None:
            try:
                scoped.add_listener("order.placed", print)
            except RuntimeError as exc:
                refused.append(str(exc))

    scoped.add_listener("order.placed", print)
    scoped.add_listener("*", print)
    scoped.dispatch(Name(), Event())
    with scoped:
        pass

    assert ["has ended" in text for text in refused] == [True]
    assert scoped.get_listeners() == {}


@pytest.mark.parametrize("others", [0, 1, 2])
def test_a_listener_whose_hash_ends_its_scope_is_refused(others: int) -> None:
    scoped = EventDispatcher().scope()
    for _ in range(others):
        scoped.add_listener("order.placed", make_listener(scoped, print))

    class Listener:
        def __hash__(self) -> int:
            scoped.__exit__(None, None, None)
            return 7

        def __call__(self, event: Event) -> None: ...

    with pytest.raises(RuntimeError, match="has ended"):
        scoped.add_listener("order.placed", Listener())

    assert scoped.get_listeners() == {}


def test_a_scope_cannot_be_made_of_one_that_has_ended(dispatcher: AnyDispatcher) -> None:
    with dispatcher.scope() as ended:
        pass

    with pytest.raises(RuntimeError, match=r"has ended.*dispatcher\.scope"):
        ended.scope()


# Looking up


def test_no_key_without_listeners_is_shown(dispatcher: AnyDispatcher) -> None:
    class Key:
        """A key that removes a listener of another one when it is looked up."""

        def __hash__(self) -> int:
            if looking:
                last.unsubscribe()
            return 7

    looking: list[bool] = []
    key, listener = Key(), make_listener(dispatcher, print)
    dispatcher.add_listener(key, listener)
    last = dispatcher.add_listener("order.paid", make_listener(dispatcher, print))

    looking.append(True)

    assert dispatcher.get_listeners() == {key: (listener,)}


# Instruments


class Recording:
    """An instrument that records names; it calls a function when a dispatcher looks at it."""

    def __init__(self, look: Callable[[], object] = lambda: None) -> None:
        self.look = look
        self.names: list[Any] = []

    @property
    def dispatch_started(self) -> Any:
        self.look()
        return lambda record: self.names.append(record.name)


def test_adding_an_instrument_does_not_wait_for_a_registration() -> None:
    dispatcher = EventDispatcher()

    class Failing:
        def dispatch_started(self, record: Any) -> None:
            raise ZeroDivisionError

    class Key:
        """A key that dispatches when the registry hashes it, while another thread adds an instrument."""

        def __hash__(self) -> int:
            if adding:
                adding.clear()
                thread = threading.Thread(target=dispatcher.add_instrument, args=(slow,), daemon=True)
                thread.start()
                entered.wait(10)
                # This dispatch removes the failing instrument.
                dispatcher.dispatch("order.placed")
                threads.append(thread)
            return 7

    threads: list[threading.Thread] = []
    entered, adding = threading.Event(), list[bool]()
    slow = Recording(entered.set)
    dispatcher.add_instrument(Failing())
    key = Key()
    adding.append(True)

    in_thread(lambda: dispatcher.add_listener(key, print))
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive(), "deadlock"


def test_an_instrument_removed_meanwhile_is_not_on_a_dispatcher() -> None:
    blocks: list[Any] = []
    leaving, staying = Recording(lambda: blocks and blocks.pop().__exit__(None, None, None)), Recording()
    block = everywhere(leaving)
    block.__enter__()
    with everywhere(staying):
        blocks.append(block)
        EventDispatcher().dispatch("order.placed")

    assert (leaving.names, staying.names) == ([], ["order.placed"])


def test_searching_dispatchers_does_not_touch_unfinished_tuples() -> None:
    looking, made, looks = threading.Event(), threading.Event(), list[int]()

    def wait() -> None:
        looks.append(1)
        # It is looked at once before the search.
        if len(looks) > 1:
            looking.set()
            made.wait(10)

    def numbers() -> Iterator[int]:
        # A tuple grows while a generator fills it, which fails if anything else refers to the tuple.
        for number in range(100):
            if number == 50:
                thread.start()
                looking.wait(10)
            yield number

    def look() -> None:
        with everywhere(instrument):
            pass

    dispatchers = [EventDispatcher(), EventDispatcher()]
    thread = threading.Thread(target=look, daemon=True)
    instrument = Recording(wait)
    try:
        assert tuple(numbers()) == tuple(range(100))
    finally:
        made.set()
        thread.join(10)
    assert all(not dispatcher._instruments for dispatcher in dispatchers)


# Registering for a while


class Ending(EventDispatcher):
    """Ends a block at the moment when something is registered through it, as another thread may."""

    block: Any = None
    in_time = True

    def add_listener(self, key: Any, listener: Any, /, **options: Any) -> Any:
        block, self.block = self.block, None
        if block is not None and self.in_time:
            in_thread(lambda: block.__exit__(None, None, None))
        registered = super().add_listener(key, listener, **options)
        if block is not None and not self.in_time:
            in_thread(lambda: block.__exit__(None, None, None))
        return registered


class Accounts:
    @listens_to("order.placed")
    def book(self, event: Event) -> None: ...

    @listens_to("order.paid")
    def close(self, event: Event) -> None: ...


REGISTER: dict[str, Callable[[Any, Accounts], object]] = {
    "add_listener": lambda registrar, accounts: registrar.add_listener("order.placed", accounts.book),
    "listen": lambda registrar, accounts: registrar.listen("order.placed")(accounts.book),
    "add_subscriber": lambda registrar, accounts: registrar.add_subscriber(accounts),
}


@pytest.mark.parametrize("in_time", [True, False], ids=["before it registers", "after it registered"])
@pytest.mark.parametrize("register", REGISTER.values(), ids=REGISTER)
def test_a_block_that_another_thread_ends_registers_nothing(register: Any, in_time: bool) -> None:
    dispatcher = Ending()
    dispatcher.in_time = in_time
    dispatcher.block = registrar = dispatcher.temporarily()

    with pytest.raises(RuntimeError, match="has ended"):
        register(registrar, Accounts())

    assert (dispatcher.has_listeners(), dispatcher.get_listeners()) == (False, {})


@pytest.mark.parametrize("options", [{}, {"where": bool}], ids=["plain", "options"])
def test_a_scope_that_another_thread_ends_registers_nothing(
    dispatcher: AnyDispatcher, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    scoped = dispatcher.scope()
    callable_for = type(scoped)._adapt_listener

    class Listener:
        """Not a plain function, so that the scope has to ask what to call."""

        def __call__(self, event: Event) -> None: ...

    def end_meanwhile(self: Any, listener: Any, /) -> Any:
        in_thread(lambda: scoped.__exit__(None, None, None))
        return callable_for(self, inline(listener) if isinstance(scoped, AsyncEventDispatcher) else listener)

    monkeypatch.setattr(type(scoped), "_adapt_listener", end_meanwhile)

    with pytest.raises(RuntimeError, match="has ended"):
        scoped.add_listener("order.placed", Listener(), **options)  # type: ignore[arg-type]  # it is made one

    assert scoped.get_listeners() == {}
