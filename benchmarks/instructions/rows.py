"""The fixed set of what is counted. A row added here needs its figures: ``nox -s instructions -- --update``."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import product
from types import ModuleType
from typing import Any

from antiphon import AsyncEventDispatcher, Concurrent, Event, EventDispatcher, Race, Sequential
from antiphon.typing import AsyncListener
from benchmarks.events import NAME, event_class
from benchmarks.instructions.counting import Operation
from benchmarks.listeners import listeners

__all__ = ("BACKENDS", "Row", "dispatching", "rows", "sequential", "synchronous")

SIZES = (0, 1, 3, 10)

#: As many listeners of one event as a plan is made of anew.
MANY = 1_000

#: The loops, and ``none`` for what needs no loop.
BACKENDS = ("asyncio", "trio", "none")

Dispatch = Callable[..., Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Row:
    """One operation, with so many listeners, on one loop."""

    backend: str
    workload: str
    size: int
    #: Builds the operation, with a dispatcher of its own.
    build: Callable[[], Operation]

    @property
    def title(self) -> str:
        """What the table and the figures call the workload."""
        return self.workload if self.backend == "none" else f"{self.backend}: {self.workload}"


def rows() -> Iterator[Row]:
    """Yields all rows, those of one backend together."""
    for backend in BACKENDS:
        if backend == "none":
            yield from _rows_without_a_loop()
        else:
            yield from _rows_on(backend)


def _rows_on(backend: str) -> Iterator[Row]:
    for made, named, size in product((False, True), (False, True), SIZES):
        workload = f"sequential, event {'made' if made else 'given'}{', class-level name' if named else ''}"
        yield Row(backend, workload, size, partial(sequential, size, made=made, named=named))
    for kind, strategy, size in product(("returning", "suspending"), (Concurrent(), Race()), SIZES):
        workload = f"{type(strategy).__name__.lower()}, listeners {kind}"
        build = partial(sequential, size, kind=kind, backend=backend, strategy=strategy)
        yield Row(backend, workload, size, build)
    for strategy in (Concurrent(), Race()):
        workload = f"{type(strategy).__name__.lower()}, one in ten suspending"
        build = partial(sequential, 10, kind="one in ten suspending", backend=backend, strategy=strategy)
        yield Row(backend, workload, 10, build)
    yield from _rows_of_policies(backend)
    for size in SIZES:
        yield Row(backend, "by name alone", size, partial(_by_name, size))
        yield Row(backend, "by event alone", size, partial(_by_event, size))
    for size in SIZES[1:]:
        yield Row(backend, "heard by class", size, partial(sequential, size, key=Event))
        yield Row(backend, "heard by pattern", size, partial(sequential, size, key="order.*"))
    yield Row(backend, "dispatched again by its listener", 1, _nested)
    options: dict[str, dict[str, Any]] = {
        "where": {"where": bool},
        "timeout": {"timeout": 3600.0},
        "limit": {"limit": 1},
    }
    for name, option in options.items():
        yield Row(backend, f"option {name}", 1, partial(sequential, 1, **option))
    yield Row(backend, "option once, first dispatch", 1, _once)
    for size in SIZES:
        yield Row(backend, "on a scope", size, partial(_on_scope, size))
        yield Row(backend, "scope made, dispatched on, ended", size, partial(_scope, size))


def _rows_of_policies(backend: str) -> Iterator[Row]:
    """Yields what policies cost where nothing is raised, and where the last listener raises.

    Not the default where nothing is raised, which other rows have; nor where it leaves tasks that are cancelled, of
    which trio starts some or none.
    """
    policies: dict[str, Any] = {"raise": "raise", "collect": "collect", "callable": _passed_over}
    for (policy, errors), strategy, kind in product(
        policies.items(), (Sequential, Concurrent), ("returning", "last failing")
    ):
        if policy == "raise" and (kind == "returning" or strategy is Concurrent):
            continue
        who = "none" if kind == "returning" else "the last"
        workload = f"{strategy.__name__.lower()}, errors {policy}, {who} raises"
        for size in (1, 10):
            build = partial(sequential, size, kind=kind, backend=backend, strategy=strategy(errors=errors))
            yield Row(backend, workload, size, build)


def _rows_without_a_loop() -> Iterator[Row]:
    for made, named, size in product((False, True), (False, True), SIZES):
        workload = f"sync, event {'made' if made else 'given'}{', class-level name' if named else ''}"
        yield Row("none", workload, size, partial(synchronous, size, made=made, named=named))
    for size in SIZES[1:]:
        yield Row("none", "sync, heard by class", size, partial(synchronous, size, key=Event))
        yield Row("none", "sync, heard by pattern", size, partial(synchronous, size, key="order.*"))
    for size in SIZES:
        yield Row("none", "add one more", size, partial(_add, size))
        yield Row("none", "remove it by its handle", size, partial(_remove_by_handle, size))
        yield Row("none", "remove it by equality", size, partial(_remove_by_equality, size))
        yield Row("none", "first dispatch after that", size, partial(_first, size))
        yield Row("none", "sync, add one more, then dispatch", size, partial(_interleaved, size))
    yield Row("none", "first dispatch after that", MANY, partial(_first, MANY))
    yield Row("none", "scope made and ended", 0, _made_scope)
    yield Row("none", "import, once anyio is imported", 0, _import)


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
    """Builds an async dispatch by name and event, one after another unless there is a strategy.

    Args:
        size: How many listeners there are.
        kind: How they behave: one of ``benchmarks.listeners.KINDS``.
        backend: The loop they will run on.
        key: What they listen to.
        made: Whether each dispatch makes a new event.
        named: Whether the event's class has a ``name``.
        strategy: The strategy of the dispatcher.
        **options: Those of each registration.
    """
    dispatcher = AsyncEventDispatcher(strategy=strategy)
    for listener in listeners(kind, size, backend=backend):
        dispatcher.add_listener(key, listener, **options)
    return dispatching(dispatcher.adispatch, made=made, named=named)


def synchronous(size: int, *, key: Any = NAME, made: bool = False, named: bool = False) -> Operation:
    """Builds a dispatch to plain functions. The arguments are those of `sequential`."""
    dispatcher = EventDispatcher()
    for listener in listeners("synchronous", size):
        dispatcher.add_listener(key, listener)
    order_placed = event_class(Event, named=named)
    name, event = order_placed.name or NAME, order_placed(1, 2)

    async def run() -> None:
        dispatcher.dispatch(name, order_placed(1, 2) if made else event)

    return Operation(run)


def dispatching(dispatch: Dispatch, *, made: bool = False, named: bool = False) -> Operation:
    """Builds a dispatch by name and event from the method that does it.

    As in HARP, the name is the very object that stands on the class, if one does.
    """
    order_placed = event_class(Event, named=named)
    name, event = order_placed.name or NAME, order_placed(1, 2)

    async def run() -> None:
        try:
            await dispatch(name, order_placed(1, 2) if made else event)
        except Exception:  # noqa: S110 - what is counted may be what an error costs
            pass

    return Operation(run)


def _dispatcher(size: int) -> AsyncEventDispatcher:
    dispatcher = AsyncEventDispatcher()
    for listener in listeners("returning", size):
        dispatcher.add_listener(NAME, listener)
    return dispatcher


def _by_name(size: int) -> Operation:
    return Operation(partial(_dispatcher(size).adispatch, NAME))


def _by_event(size: int) -> Operation:
    return Operation(partial(_dispatcher(size).adispatch, event_class(Event, named=True)(1, 2)))


def _nested() -> Operation:
    dispatcher = AsyncEventDispatcher()

    async def again(event: Event) -> None:
        await dispatcher.adispatch("order.placed.again", event)

    dispatcher.add_listener(NAME, again)
    return dispatching(dispatcher.adispatch)


def _add(size: int) -> Operation:
    dispatcher = _dispatcher(size)
    listener = _another()

    async def run() -> None:
        dispatcher.add_listener(NAME, listener)

    return Operation(run, after=partial(dispatcher.remove_listener, NAME, listener))


def _remove_by_handle(size: int) -> Operation:
    dispatcher = _dispatcher(size)
    listener = _another()
    handles: list[Any] = []

    async def run() -> None:
        handles.pop().unsubscribe()

    return Operation(run, before=lambda: handles.append(dispatcher.add_listener(NAME, listener)))


def _remove_by_equality(size: int) -> Operation:
    dispatcher = _dispatcher(size)
    listener = _another()

    async def run() -> None:
        dispatcher.remove_listener(NAME, listener)

    return Operation(run, before=partial(dispatcher.add_listener, NAME, listener))


def _first(size: int) -> Operation:
    dispatcher = _dispatcher(size)

    def before() -> None:
        with dispatcher.add_listener(NAME, _another()):
            pass

    return Operation(dispatching(dispatcher.adispatch).run, before=before)


def _interleaved(size: int) -> Operation:
    dispatcher = EventDispatcher()
    *others, another = listeners("synchronous", size + 1)
    for listener in others:
        dispatcher.add_listener(NAME, listener)
    event = event_class(Event)(1, 2)

    async def run() -> None:
        dispatcher.add_listener(NAME, another)
        dispatcher.dispatch(NAME, event)

    return Operation(run, after=partial(dispatcher.remove_listener, NAME, another))


def _once() -> Operation:
    dispatcher = AsyncEventDispatcher()
    run = dispatching(dispatcher.adispatch).run
    return Operation(run, before=lambda: dispatcher.add_listener(NAME, _another(), once=True))


def _on_scope(size: int) -> Operation:
    return dispatching(_dispatcher(size).scope().__enter__().adispatch)


def _scope(size: int) -> Operation:
    dispatcher = _dispatcher(size)
    event = event_class(Event)(1, 2)

    async def run() -> None:
        with dispatcher.scope() as scoped:
            await scoped.adispatch(NAME, event)

    return Operation(run)


def _made_scope() -> Operation:
    dispatcher = _dispatcher(0)

    async def run() -> None:
        with dispatcher.scope():
            pass

    return Operation(run)


def _import() -> Operation:
    """Imports antiphon again, as if it had not been."""
    kept: dict[str, ModuleType] = {}

    def before() -> None:
        kept.update({name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "antiphon"})

    async def run() -> None:
        import_module("antiphon")

    def after() -> None:
        sys.modules.update(kept)

    return Operation(run, before=before, after=after)


def _passed_over(error: Exception, event: object, listener: object) -> None:
    """Does nothing with an error."""


def _another() -> AsyncListener:
    (listener,) = listeners("returning", 1)
    return listener
