"""The operations that the gate counts. A row that is added here needs figures: ``nox -s instructions -- --update``."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import product
from types import MethodType, ModuleType
from typing import Any

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from benchmarks.instructions.applications import make_operations
from benchmarks.instructions.counting import Operation
from benchmarks.workload import NAME, event_class, listeners

__all__ = ("Row", "dispatching", "rows", "sequential", "synchronous")

SIZES = (0, 1, 3, 10)

#: The listeners of one event of which a plan is made after a change.
MANY = 1_000

#: The forms of the event, by name: whether each dispatch makes it, and whether its class has a name.
FORMS = {
    "event given": (False, False),
    "event given, class-level name": (False, True),
    "event made": (True, False),
    "event made, class-level name": (True, True),
}

OPTIONS: dict[str, dict[str, Any]] = {"where": {"where": bool}, "timeout": {"timeout": 3600.0}, "limit": {"limit": 1}}


@dataclass(frozen=True, slots=True)
class Row:
    """One operation, with a number of listeners, on one backend."""

    backend: str
    workload: str
    size: int
    #: Builds the operation, with a dispatcher of its own.
    build: Callable[[], Operation]

    @property
    def title(self) -> str:
        """The name of the workload in the table and in the figures."""
        return self.workload if self.backend == "none" else f"{self.backend}: {self.workload}"


def rows() -> Iterator[Row]:
    """Yield all rows, those of one backend together."""
    for backend in ("asyncio", "trio"):
        yield from _make_async_rows(backend)
    yield from _make_sync_rows()


def _make_async_rows(backend: str) -> Iterator[Row]:
    row = partial(Row, backend)
    for (form, (made, named)), size in product(FORMS.items(), SIZES):
        yield row(f"sequential, {form}", size, partial(sequential, size, made=made, named=named))
    tiered = {"concurrent": Concurrent(), "race": Race()}
    for kind, (name, strategy), size in product(("returning", "suspending"), tiered.items(), SIZES):
        build = partial(sequential, size, kind=kind, backend=backend, strategy=strategy)
        yield row(f"{name}, listeners {kind}", size, build)
    for name, strategy in tiered.items():
        kind = "one in ten suspending"
        yield row(f"{name}, {kind}", 10, partial(sequential, 10, kind=kind, backend=backend, strategy=strategy))
    yield from _make_policy_rows(backend)
    for size in SIZES:
        yield row("by name alone", size, partial(_dispatch_name, size))
        yield row("by event alone", size, partial(_dispatch_event, size))
        yield row("prepared", size, partial(_dispatch_prepared, size))
        yield row("through an override", size, partial(_dispatch_through_override, size))
    for size in SIZES[1:]:
        yield row("heard by class", size, partial(sequential, size, key=Event))
        yield row("heard by pattern", size, partial(sequential, size, key="order.*"))
    yield row("dispatched again by its listener", 1, _dispatch_again)
    for name, option in OPTIONS.items():
        yield row(f"option {name}", 1, partial(sequential, 1, **option))
    yield row("option once, first dispatch", 1, _dispatch_once)
    for size in SIZES[:2]:
        yield row("through a queue", size, partial(_post, size))
    for size in SIZES:
        yield row("on a scope", size, partial(_dispatch_on_scope, size))
        yield row("scope made, dispatched on, ended", size, partial(_dispatch_in_scope, size))
    for name, size, make in make_operations():
        yield row(name, size, make)


def _make_policy_rows(backend: str) -> Iterator[Row]:
    """Yield rows of each error policy, in which no listener raises or the last one does.

    Other rows have the default policy with no error. With an error it cancels tasks under `Concurrent`, and how many
    of those Trio starts is random.
    """
    policies: dict[str, Any] = {"raise": "raise", "collect": "collect", "callable": _ignore_error}
    outcomes = {"none": "returning", "the last": "last failing"}
    for policy, strategy, (who, kind), size in product(policies, (Sequential, Concurrent), outcomes.items(), (1, 10)):
        if policy == "raise" and (kind == "returning" or strategy is Concurrent):
            continue
        workload = f"{strategy.__name__.lower()}, errors {policy}, {who} raises"
        configured = strategy(errors=policies[policy])
        yield Row(backend, workload, size, partial(sequential, size, kind=kind, backend=backend, strategy=configured))


def _make_sync_rows() -> Iterator[Row]:
    row = partial(Row, "none")
    for (form, (made, named)), size in product(FORMS.items(), SIZES):
        yield row(f"sync, {form}", size, partial(synchronous, size, made=made, named=named))
    for size in SIZES[1:]:
        yield row("sync, heard by class", size, partial(synchronous, size, key=Event))
        yield row("sync, heard by pattern", size, partial(synchronous, size, key="order.*"))
    for size in SIZES:
        yield row("sync, prepared", size, partial(_dispatch_prepared_plainly, size))
        yield row("add one more", size, partial(_add, size))
        yield row("remove it by its handle", size, partial(_remove_by_handle, size))
        yield row("remove it by equality", size, partial(_remove_by_equality, size))
        yield row("first dispatch after that", size, partial(_dispatch_after_change, size))
        yield row("sync, add one more, then dispatch", size, partial(_add_and_dispatch, size))
    yield row("first dispatch after that", MANY, partial(_dispatch_after_change, MANY))
    yield row("add a method", 1, partial(_add, 1, MethodType(_listen, Event())))
    yield row("add with an option", 1, partial(_add, 1, once=True))
    yield row("add by listen", 1, _listen_once)
    yield row("prepare", 0, _prepare)
    yield row("scope made and ended", 0, _make_scope)
    yield row("import, once anyio is imported", 0, _import_again)


def sequential(
    size: int,
    *,
    kind: str = "returning",
    backend: str = "none",
    key: Any = NAME,
    made: bool = False,
    named: bool = False,
    strategy: Any = None,
    **options: Any,
) -> Operation:
    """Build an async dispatch by name and event. It is sequential unless there is a strategy.

    Args:
        size: The number of listeners.
        kind: The kind of listeners, as `benchmarks.workload.listeners` has it.
        backend: The event loop that they run on.
        key: What they listen to.
        made: Whether each dispatch makes a new event.
        named: Whether the event class has a class-level ``name``.
        strategy: The strategy of the dispatcher.
        **options: The options of each registration.
    """
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    for listener in listeners(kind, size, backend=backend):
        dispatcher.add_listener(key, listener, **options)
    return dispatching(dispatcher.adispatch, made=made, named=named)


def synchronous(size: int, *, key: Any = NAME, made: bool = False, named: bool = False) -> Operation:
    """Build a dispatch to plain functions. The arguments are those of `sequential`."""
    dispatcher = EventDispatcher()
    for listener in listeners("synchronous", size):
        dispatcher.add_listener(key, listener)
    order_placed = event_class(Event, name=NAME if named else None)
    name, event = order_placed.name or NAME, order_placed(1, 2)

    async def run() -> None:
        dispatcher.dispatch(name, order_placed(1, 2) if made else event)

    return Operation(run)


def dispatching(dispatch: Callable[..., Awaitable[object]], *, made: bool = False, named: bool = False) -> Operation:
    """Build a dispatch by name and event, from the method that dispatches."""
    order_placed = event_class(Event, name=NAME if named else None)
    # In HARP, too, the name is the object that the class has.
    name, event = order_placed.name or NAME, order_placed(1, 2)

    async def run() -> None:
        try:
            await dispatch(name, order_placed(1, 2) if made else event)
        except Exception:  # noqa: S110 - some rows count what an error costs
            pass

    return Operation(run)


def _make_dispatcher(size: int) -> AsyncEventDispatcher:
    dispatcher = AsyncEventDispatcher()
    for listener in listeners("returning", size):
        dispatcher.add_listener(NAME, listener)
    return dispatcher


def _make_listener() -> Any:
    (listener,) = listeners("returning", 1)
    return listener


def _dispatch_name(size: int) -> Operation:
    return Operation(partial(_make_dispatcher(size).adispatch, NAME))


def _dispatch_event(size: int) -> Operation:
    return Operation(partial(_make_dispatcher(size).adispatch, event_class(Event, name=NAME)(1, 2)))


def _dispatch_prepared(size: int) -> Operation:
    return Operation(partial(_make_dispatcher(size).prepare(NAME), event_class(Event)(1, 2)))


def _dispatch_prepared_plainly(size: int) -> Operation:
    dispatcher, event = EventDispatcher(), event_class(Event)(1, 2)
    for listener in listeners("synchronous", size):
        dispatcher.add_listener(NAME, listener)
    prepared = dispatcher.prepare(NAME)

    async def run() -> None:
        prepared(event)

    return Operation(run)


def _prepare() -> Operation:
    dispatcher = _make_dispatcher(0)

    async def run() -> None:
        dispatcher.prepare(NAME)

    return Operation(run)


class _Overriding(AsyncEventDispatcher):
    async def adispatch(self, name: Any, event: Any = None, /) -> Any:  # type: ignore[override]  # the signature of whistle, as in HARP
        return await super().adispatch(name, event)

    async def _adispatch(self, listeners: Any, event: Any) -> None:
        for listener in listeners:
            await listener(event)
            if event.propagation_stopped:
                break


def _dispatch_through_override(size: int) -> Operation:
    dispatcher = _Overriding()
    for listener in listeners("returning", size):
        dispatcher.add_listener(NAME, listener)
    return dispatching(dispatcher.adispatch)


def _dispatch_again() -> Operation:
    dispatcher = AsyncEventDispatcher()

    async def again(event: Event) -> None:
        await dispatcher.adispatch("order.placed.again", event)

    dispatcher.add_listener(NAME, again)
    return dispatching(dispatcher.adispatch)


def _dispatch_once() -> Operation:
    dispatcher = AsyncEventDispatcher()
    run = dispatching(dispatcher.adispatch).run
    return Operation(run, before=lambda: dispatcher.add_listener(NAME, _make_listener(), once=True))


def _dispatch_after_change(size: int) -> Operation:
    dispatcher = _make_dispatcher(size)

    def before() -> None:
        with dispatcher.add_listener(NAME, _make_listener()):
            pass

    return Operation(dispatching(dispatcher.adispatch).run, before=before)


def _post(size: int) -> Operation:
    queue = _make_dispatcher(size).queue()
    event = event_class(Event)(1, 2)

    async def run() -> None:
        await queue.post(NAME, event)
        # A worker dispatches the event meanwhile.
        await queue.join()

    return Operation(run, around=lambda: queue)


def _dispatch_on_scope(size: int) -> Operation:
    return dispatching(_make_dispatcher(size).scope().__enter__().adispatch)


def _dispatch_in_scope(size: int) -> Operation:
    dispatcher = _make_dispatcher(size)
    event = event_class(Event)(1, 2)

    async def run() -> None:
        with dispatcher.scope() as scoped:
            await scoped.adispatch(NAME, event)

    return Operation(run)


def _make_scope() -> Operation:
    dispatcher = _make_dispatcher(0)

    async def run() -> None:
        with dispatcher.scope():
            pass

    return Operation(run)


async def _listen(self: Event, event: Event) -> None: ...


def _listen_once() -> Operation:
    dispatcher, listener = _make_dispatcher(1), _make_listener()

    async def run() -> None:
        dispatcher.listen(NAME)(listener)

    return Operation(run, after=partial(dispatcher.remove_listener, NAME, listener))


def _add(size: int, listener: Any = None, **options: Any) -> Operation:
    dispatcher, listener = _make_dispatcher(size), listener or _make_listener()

    async def run() -> None:
        dispatcher.add_listener(NAME, listener, **options)

    return Operation(run, after=partial(dispatcher.remove_listener, NAME, listener))


def _remove_by_handle(size: int) -> Operation:
    dispatcher, listener = _make_dispatcher(size), _make_listener()
    handles: list[Any] = []

    async def run() -> None:
        handles.pop().unsubscribe()

    return Operation(run, before=lambda: handles.append(dispatcher.add_listener(NAME, listener)))


def _remove_by_equality(size: int) -> Operation:
    dispatcher, listener = _make_dispatcher(size), _make_listener()

    async def run() -> None:
        dispatcher.remove_listener(NAME, listener)

    return Operation(run, before=partial(dispatcher.add_listener, NAME, listener))


def _add_and_dispatch(size: int) -> Operation:
    dispatcher = EventDispatcher()
    *others, added = listeners("synchronous", size + 1)
    for listener in others:
        dispatcher.add_listener(NAME, listener)
    event = event_class(Event)(1, 2)

    async def run() -> None:
        dispatcher.add_listener(NAME, added)
        dispatcher.dispatch(NAME, event)

    return Operation(run, after=partial(dispatcher.remove_listener, NAME, added))


def _import_again() -> Operation:
    """Import antiphon as if it had not been imported."""
    removed: dict[str, ModuleType] = {}

    def before() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "antiphon"]:
            removed[name] = sys.modules.pop(name)

    async def run() -> None:
        import_module("antiphon")

    return Operation(run, before=before, after=lambda: sys.modules.update(removed))


def _ignore_error(error: Exception, event: object, listener: object) -> None:
    pass
