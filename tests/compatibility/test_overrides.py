"""Subclasses of antiphon's dispatchers that override ``add_listener``, ``_adispatch`` or ``do_dispatch`` (rule 13)."""

from __future__ import annotations

import functools
from collections.abc import Callable
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
    inline,
    listener_name,
)
from tests.compatibility.conftest import Implementation
from tests.event_kinds import Duck
from tests.helpers import make_listener, make_recording_listener

on_antiphon = pytest.mark.parametrize("implementation", ["HARP's shape on antiphon"], indirect=True)
every_refused_strategy = pytest.mark.parametrize(
    "strategy", [Concurrent(), Race(), Sequential(errors="collect")], ids=repr
)


async def route(event: Event) -> None:
    """Find the route."""


class Keeping(AsyncEventDispatcher):
    """Keeps the listeners that it gets, and runs them as its base does."""

    def __init__(self) -> None:
        self.given: list[Any] = []
        super().__init__()

    async def _adispatch(self, listeners: Any, event: Any) -> None:
        self.given.extend(listeners)
        await super()._adispatch(listeners, event)


class KeepingPlainly(EventDispatcher):
    """The same for plain functions."""

    def __init__(self) -> None:
        self.given: list[Any] = []
        super().__init__()

    def do_dispatch(self, listeners: Any, event: Any, /) -> None:
        self.given.extend(listeners)
        super().do_dispatch(listeners, event)


both = pytest.mark.parametrize("kind", [Keeping, KeepingPlainly], ids=lambda kind: kind.__name__)


# add_listener


@on_antiphon
@pytest.mark.parametrize("method", ["listen", "temporarily().add_listener", "temporarily().listen"])
async def test_registrations_pass_through_an_overridden_add_listener(
    implementation: Implementation, method: str
) -> None:
    dispatcher, lines, log = implementation.dispatcher, implementation.lines.lines, list[str]()
    listener = make_recording_listener(dispatcher, log, "ran")
    with dispatcher.temporarily() as registrar:
        if method == "temporarily().add_listener":
            registrar.add_listener("core.view", listener)
        else:
            (dispatcher if method == "listen" else registrar).listen("core.view")(listener)
        await dispatcher.adispatch("core.view", Event())

    assert (log, lines[0]) == (["ran"], f"[Add] core.view ({listener})")
    # The registrar takes back what the override did not return.
    assert dispatcher.has_listeners() == (method == "listen")


@on_antiphon
async def test_listen_takes_options_that_the_override_does_not_know(implementation: Implementation) -> None:
    dispatcher, log = implementation.dispatcher, list[str]()
    dispatcher.listen("core.view", once=True)(make_recording_listener(dispatcher, log, "ran"))

    for _ in range(2):
        await dispatcher.adispatch("core.view", Event())

    assert log == ["ran"]


def test_an_overridden_add_listener_that_raises_registers_nothing() -> None:
    class Refusing(AsyncEventDispatcher):
        def add_listener(self, event_id: str, listener: Any, /, *, priority: int = 0) -> Any:
            super().add_listener(event_id, listener, priority=priority)
            raise PermissionError

    dispatcher = Refusing()

    with pytest.raises(PermissionError), dispatcher.temporarily() as registrar:
        registrar.add_listener("core.view", route)

    assert not dispatcher.has_listeners()


def test_an_overridden_add_listener_may_register_a_wrapper() -> None:
    class Wrapping(AsyncEventDispatcher):
        def add_listener(self, event_id: str, listener: Any, /, *, priority: int = 0) -> Any:
            async def wrapper(event: Any) -> None:
                await listener(event)

            super().add_listener(event_id, wrapper, priority=priority)

    dispatcher = Wrapping()

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("core.view", route)
        inside = dispatcher.has_listeners("core.view")

    assert (inside, dispatcher.has_listeners("core.view")) == (True, False)


def test_temporarily_keeps_what_an_override_registers_elsewhere() -> None:
    class Auditing(AsyncEventDispatcher):
        def add_listener(self, event_id: str, listener: Any, /, *, priority: int = 0) -> Any:
            audit.add_listener("registered", route)
            super().add_listener(event_id, listener, priority=priority)

    audit, dispatcher = AsyncEventDispatcher(), Auditing()

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("core.view", route)

    assert (audit.has_listeners(), dispatcher.has_listeners()) == (True, False)


class Overriding(EventDispatcher):
    """Calls a function with each key that is added, before its base registers the listener."""

    def __init__(self, on_key: Callable[[Any], object]) -> None:
        self.on_key = on_key
        super().__init__()

    def add_listener(self, event_id: Any, listener: Any, /, *, priority: int = 0) -> Any:
        self.on_key(event_id)
        super().add_listener(event_id, listener, priority=priority)


def test_an_override_that_raises_for_a_later_key_registers_nothing() -> None:
    def refuse(key: str) -> None:
        if key == "core.error":
            raise PermissionError

    dispatcher = Overriding(refuse)

    with pytest.raises(PermissionError):
        dispatcher.listen("core.view", "core.error")(print)

    assert not dispatcher.has_listeners()


def test_an_override_may_register_more_for_some_of_the_keys() -> None:
    dispatcher = Overriding(lambda key: key == "core.view" and EventDispatcher.add_listener(dispatcher, "audit", print))

    with dispatcher.temporarily() as registrar:
        registrar.listen("core.view", "core.error")(print)
        assert set(dispatcher.get_listeners()) == {"core.view", "core.error", "audit"}

    assert not dispatcher.has_listeners()


def test_options_of_several_keys_bypass_the_override() -> None:
    seen: list[Any] = []
    dispatcher, log = Overriding(seen.append), list[Any]()
    dispatcher.listen("core.view", "core.error", once=True)(lambda event: log.append(event.name))

    for name in ("core.error", "core.view"):
        dispatcher.dispatch(name)

    assert (seen, log) == ([], ["core.error"])


def test_a_registrar_removes_what_an_override_registers_for_a_union() -> None:
    class Widening(EventDispatcher):
        def add_listener(self, event_id: Any, listener: Any, /, *, priority: int = 0) -> Any:
            super().add_listener(Event | Bare, listener, priority=priority)

    dispatcher = Widening()

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("core.view", print)
        assert set(dispatcher.get_listeners()) == {Event, Bare}

    assert not dispatcher.has_listeners()


def test_a_registrar_removes_what_an_override_registers_after_another_listener() -> None:
    def audit(key: str) -> None:
        if key != "audit":
            dispatcher.listen("audit")(print)

    dispatcher = Overriding(audit)

    with dispatcher.temporarily() as registrar:
        registrar.add_listener("core.view", print)

    assert set(dispatcher.get_listeners()) == {"audit"}


def test_a_registrar_that_has_ended_does_not_call_the_override() -> None:
    seen: list[Any] = []
    dispatcher = Overriding(seen.append)
    with dispatcher.temporarily() as registrar:
        pass

    with pytest.raises(RuntimeError, match="has ended"):
        registrar.add_listener("core.view", print)

    assert seen == []


# _adispatch and do_dispatch


@both
@pytest.mark.parametrize("make_event", [Event, Duck])
async def test_super_runs_the_listeners_and_stops(kind: Any, make_event: Any) -> None:
    dispatcher, log = kind(), list[str]()
    dispatcher.add_listener("core.view", make_recording_listener(dispatcher, log, "first"))
    dispatcher.add_listener("core.view", make_listener(dispatcher, lambda event: event.stop_propagation()))
    dispatcher.add_listener("core.view", make_recording_listener(dispatcher, log, "later"))

    await dispatcher.adispatch("core.view", make_event())

    assert log == ["first"]


class Bare:
    """An object that cannot be stopped, because it has no ``stop_propagation``."""

    __slots__ = ()

    @property
    def propagation_stopped(self) -> bool:
        raise RuntimeError("never read")


class Fixed:
    __slots__ = ()

    propagation_stopped = True


@both
@pytest.mark.parametrize("event", [object(), Bare(), Fixed()], ids=["object", "raises", "is set"])
async def test_super_reads_no_mark_of_a_bare_object(kind: Any, event: Any) -> None:
    dispatcher, given = kind(), list[Any]()
    for _ in range(2):
        dispatcher.add_listener("core.view", make_listener(dispatcher, given.append))

    await dispatcher.adispatch("core.view", event)

    assert given == [event, event]


@both
async def test_a_listener_removed_during_the_dispatch_does_nothing(kind: Any) -> None:
    dispatcher, log = kind(), list[str]()
    removed = make_recording_listener(dispatcher, log, "removed")
    dispatcher.add_listener(
        "core.view", make_listener(dispatcher, lambda event: dispatcher.remove_listener("core.view", removed))
    )
    dispatcher.add_listener("core.view", removed)

    await dispatcher.adispatch("core.view", Event())

    assert log == []


@both
async def test_a_once_listener_is_called_once(kind: Any) -> None:
    dispatcher, log = kind(), list[str]()
    dispatcher.add_listener("core.view", make_recording_listener(dispatcher, log, "ran"), once=True)

    for _ in range(2):
        await dispatcher.adispatch("core.view", Event())

    assert log == ["ran"]


async def test_an_override_may_run_its_listeners_together() -> None:
    class Together(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            async with anyio.create_task_group() as group:
                for listener in listeners:
                    group.start_soon(listener, event)

    dispatcher, log, released = Together(), list[str](), anyio.Event()

    @dispatcher.listen("core.view")
    async def wait(event: Event) -> None:
        await released.wait()
        log.append("waited")

    dispatcher.add_listener("core.view", make_listener(dispatcher, lambda event: released.set()), priority=1)
    await dispatcher.adispatch("core.view", Event())

    assert log == ["waited"]


async def test_a_nested_dispatch_restores_the_outer_one() -> None:
    dispatcher, seen = Keeping(), []

    @dispatcher.listen("outer")
    async def nest(event: Event) -> None:
        await dispatcher.adispatch("inner", event)
        seen.append((event.name, event.propagation_stopped))

    dispatcher.add_listener("inner", make_listener(dispatcher, Event.stop_propagation))
    await dispatcher.adispatch("outer", Event())

    assert seen == [("outer", False)]


class Grandchild(Keeping): ...


class Mixin:
    given: list[Any]

    async def _adispatch(self, listeners: Any, event: Any) -> None:
        self.given = list(listeners)


class Mixed(Mixin, AsyncEventDispatcher): ...


@pytest.mark.parametrize("kind", [Grandchild, Mixed], ids=lambda kind: kind.__name__)
async def test_an_override_is_inherited(kind: Any) -> None:
    dispatcher = kind()
    dispatcher.add_listener("core.view", route)

    await dispatcher.adispatch("core.view", Event())

    assert dispatcher.given == [route]


# Errors and strategies


@both
async def test_an_error_carries_one_note_that_names_the_listener(kind: Any) -> None:
    def find_route(event: Any) -> None:
        raise LookupError

    async def async_find_route(event: Any) -> None:
        raise LookupError

    dispatcher = kind()
    dispatcher.add_listener("core.request", async_find_route if kind is Keeping else find_route)

    with pytest.raises(LookupError) as caught:
        await dispatcher.adispatch("core.request", Event())

    [note] = caught.value.__notes__
    assert all(part in note for part in ("find_route", "'core.request'", "Event"))


class Shop:
    async def find_route(self, event: Event) -> None:
        raise LookupError

    async def __call__(self, event: Event) -> None:
        raise LookupError


class BookShop(Shop): ...


def decorate(function: Any) -> Any:
    @functools.wraps(function)
    async def call(event: Event) -> None:
        await function(event)

    return call


async def find_route(event: Event, times: int = 1) -> None:
    raise LookupError


async def find_nothing(event: Event) -> None: ...


def find_plainly(event: Event) -> None:
    raise LookupError


LISTENERS: dict[str, Any] = {
    "function": find_route,
    "method": Shop().find_route,
    "inherited method": BookShop().find_route,
    "decorated": decorate(find_route),
    "object": Shop(),
    "partial": functools.partial(find_route, times=2),
    "adapter": inline(find_plainly),
}


async def run_in_turn(listeners: Any, event: Any) -> None:
    for listener in listeners:
        await listener(event)


async def run_in_a_group(listeners: Any, event: Any) -> None:
    async with anyio.create_task_group() as group:
        for listener in listeners:
            group.start_soon(listener, event)


async def replace_errors(listeners: Any, event: Any) -> None:
    try:
        await run_in_turn(listeners, event)
    except Exception as exc:
        raise ValueError from exc


def leaves(exc: BaseException) -> list[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for member in exc.exceptions for leaf in leaves(member)]
    return [exc.__cause__ or exc]


@pytest.mark.parametrize("run", [run_in_turn, run_in_a_group, replace_errors])
@pytest.mark.parametrize("options", [{}, {"once": True}], ids=["plain", "with an option"])
@pytest.mark.parametrize("event", [Event(), object()], ids=["Event", "bare"])
@pytest.mark.parametrize("kind", LISTENERS)
async def test_the_note_names_the_listener_however_the_override_runs_it(
    kind: str, event: Any, options: Any, run: Any
) -> None:
    class Running(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            await run(listeners, event)

    dispatcher, failing = Running(), LISTENERS[kind]
    for listener in (find_nothing, decorate(find_nothing), functools.partial(find_nothing)):
        dispatcher.add_listener("core.view", listener)
    dispatcher.add_listener("core.view", failing, **options)

    with pytest.raises(Exception) as caught:
        await dispatcher.adispatch("core.view", event)

    [error] = leaves(caught.value)
    [note] = error.__notes__
    assert f"listener {listener_name(failing)}, while" in note


async def test_an_error_of_the_override_itself_leaves_unchanged() -> None:
    class Failing(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None:
            raise LookupError

    dispatcher, event = Failing(), Event()
    dispatcher.add_listener("core.view", route)

    with pytest.raises(LookupError):
        await dispatcher.adispatch("core.view", event)

    assert (event.name, event.dispatcher) == ("core.view", dispatcher)


@every_refused_strategy
async def test_another_strategy_is_refused(strategy: Any) -> None:
    class Choosing(AsyncEventDispatcher):
        async def _adispatch(self, listeners: Any, event: Any) -> None: ...

    with pytest.raises(TypeError, match="Choosing overrides _adispatch"):
        Choosing(strategy=strategy)

    dispatcher, event = Keeping(), Event()
    dispatcher.add_listener("core.view", route)
    with pytest.raises(TypeError, match="Keeping overrides _adispatch"):
        await dispatcher.adispatch("core.view", event, strategy=strategy)
    assert (dispatcher.given, vars(event)) == ([], {})

    await dispatcher.adispatch("core.view", event, strategy=Sequential())
    assert dispatcher.given == [route]


@pytest.mark.parametrize("errors", ["collect", print], ids=repr)
def test_another_policy_of_a_sync_override_is_refused(errors: Any) -> None:
    class Recording(EventDispatcher):
        def do_dispatch(self, listeners: Any, event: Any, /) -> None: ...

    with pytest.raises(TypeError, match="Recording overrides do_dispatch"):
        Recording(errors=errors)


async def test_an_override_of_add_listener_takes_any_strategy() -> None:
    class Adding(AsyncEventDispatcher):
        def add_listener(self, event_id: str, listener: Any, /, *, priority: int = 0) -> Any:
            super().add_listener(event_id, listener, priority=priority)

    dispatcher, log = Adding(strategy=Concurrent()), list[str]()
    dispatcher.add_listener("core.view", make_recording_listener(dispatcher, log, "ran"))

    await dispatcher.adispatch("core.view", Event(), strategy=Race())

    assert log == ["ran"]


def test_a_sync_override_may_log_names_and_sees_the_errors() -> None:
    names: list[str] = []

    class Logging(EventDispatcher):
        def do_dispatch(self, listeners: Any, event: Any, /) -> None:
            names.extend(listener.__name__ for listener in listeners)
            super().do_dispatch(listeners, event)

    dispatcher, error = Logging(), ValueError()

    @dispatcher.listen("order.placed")
    def charge(event: Event) -> None:
        raise error

    with pytest.raises(ValueError) as raised:
        dispatcher.dispatch("order.placed")

    assert names == ["charge"]
    assert raised.value is error
    assert len(error.__notes__) == 1
