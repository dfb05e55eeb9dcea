"""The public calls: each function and class of the public modules, and each method of their objects.

They are found in ``__all__`` of the modules. A class whose methods are not those of a subject is an error, so a new name
must get a subject, or an entry in `NOT_CALLED` with a reason.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from types import ModuleType, SimpleNamespace
from typing import Any, Final, NamedTuple

from anyio.from_thread import BlockingPortal

import antiphon
from antiphon import AsyncEventDispatcher, Event, EventDispatcher, Registrar
from antiphon.bridges import Bridge, Channel, DeadLetter, EventRegistry, MemoryBroker, RegisteredType, Retry
from antiphon.diagrams import Description
from antiphon.instruments.coverage import Coverage
from antiphon.instruments.timeline import Timeline
from antiphon.testing import Backend, Recording, record
from antiphon.testing.brokers import BrokerCheck, broker_checks
from tests.endurance.wrong_values import EVENTS, ORDERS, OrderShipped, Subscriber, listener

__all__ = ("NOT_CALLED", "SUBJECTS", "Made", "MissingSubjectError", "PublicCall", "list_calls", "make")

_BY_DISPATCHERS = "only dispatchers call it"
_BY_BRIDGES = "only bridges call it"
_RETURNED = "other calls return its objects"
_BROKER = ("dead", "health", "publish", "running", "source")
_FOUND_BY_TOOL = "pytest or Sphinx calls it"

#: What is not called: a name of a module, a method of a class, or a method of all classes. The value is the reason.
NOT_CALLED: Final[dict[str, str]] = {
    "do_dispatch": "subclasses override it, and only dispatchers call it",
    "Instrument": "its methods are for subclasses to override",
    **dict.fromkeys(("dispatch_started", "dispatch_finished", "get_interest"), _BY_DISPATCHERS),
    **dict.fromkeys(("listener_started", "listener_finished", "listener_skipped"), _BY_DISPATCHERS),
    **dict.fromkeys(("Concurrent.run", "Race.run", "Sequential.run"), _BY_DISPATCHERS),
    **dict.fromkeys(("ListenerCoverage.add", "EventCoverage.add"), "only the coverage instrument calls it"),
    **dict.fromkeys(("ListenerCoverage.merge", "EventCoverage.merge"), "`Coverage.merge` calls it"),
    **dict.fromkeys((f"MemoryBroker.{name}" for name in _BROKER), _BY_BRIDGES),
    **dict.fromkeys((f"RedisStreams.{name}" for name in _BROKER), _BY_BRIDGES),
    **dict.fromkeys(("EventRegistry.encode", "EventRegistry.decode", "EventRegistry.check"), _BY_BRIDGES),
    **dict.fromkeys(("AsyncScope", "Scope", "Registrar", "Subscription", "Subscriptions", "Plan"), _RETURNED),
    **dict.fromkeys(("Stream", "Queue", "Expectation", "Recording", "ListenerCoverage", "EventCoverage"), _RETURNED),
    **dict.fromkeys(("DispatchRecord", "ListenerRecord", "BrokerCheck"), _RETURNED),
    "QueueNotDrained": "only queues raise it",
    "EventName": "it is for annotations",
    **dict.fromkeys(("virtual_backend", "seeded_backend", "setup"), _FOUND_BY_TOOL),
}  # fmt: skip


class MissingSubjectError(LookupError):
    """A public method is not among the calls."""


class Made(NamedTuple):
    """The object whose method is called."""

    target: Any
    #: The dispatcher that an error must leave unchanged, or None.
    dispatcher: Any = None


class Subject(NamedTuple):
    """A way to make an object with public methods."""

    cls: type[Any]
    make: Callable[[ExitStack, BlockingPortal], Made]
    #: Further methods, whose names are not public ones, or those of a namespace of functions.
    names: tuple[str, ...] = ()
    #: Documents the errors of these functions, if they have no docstrings.
    documented_by: Any = None


class PublicCall(NamedTuple):
    """A public call."""

    #: The subject or the module.
    owner: str
    #: The method or the function.
    name: str


def _enter_scope(dispatcher: Any, stack: ExitStack) -> Made:
    scope = stack.enter_context(dispatcher.scope())
    return Made(scope, scope)


def _register(stack: ExitStack, _portal: BlockingPortal) -> Made:
    dispatcher = AsyncEventDispatcher()
    return Made(stack.enter_context(dispatcher.temporarily()), dispatcher)


def _enter_queue(stack: ExitStack, portal: BlockingPortal) -> Made:
    dispatcher = AsyncEventDispatcher()
    queue = dispatcher.queue(max_buffer_size=2, overflow="drop_oldest", errors="log")
    return Made(stack.enter_context(portal.wrap_async_context_manager(queue)), dispatcher)


def _enter_stream(stack: ExitStack, portal: BlockingPortal) -> Made:
    dispatcher = AsyncEventDispatcher()
    stream = dispatcher.stream("order.placed", max_buffer_size=2)
    return Made(stack.enter_context(portal.wrap_async_context_manager(stream)), dispatcher)


def _prepare(dispatcher: Any) -> Made:
    return Made(SimpleNamespace(prepared=dispatcher.prepare("order.placed")), dispatcher)


def _make_handle(_stack: ExitStack, _portal: BlockingPortal) -> Made:
    return Made(AsyncEventDispatcher().add_listener("order.paid", listener))


def _make_handle_of_subscriber(_stack: ExitStack, _portal: BlockingPortal) -> Made:
    return Made(AsyncEventDispatcher().add_subscriber(Subscriber()))


def _make_description(_stack: ExitStack, _portal: BlockingPortal) -> Made:
    dispatcher = AsyncEventDispatcher()
    for key in ("order.placed", "order.*", Event):
        dispatcher.add_listener(key, listener)
    return Made(dispatcher.describe(), dispatcher)


def _observe(instrument: Any) -> Any:
    dispatcher = EventDispatcher(name="shop")
    dispatcher.add_listener("order.placed", print, where=lambda event: False)
    dispatcher.add_instrument(instrument)
    dispatcher.dispatch("order.placed")
    return instrument


def _record(stack: ExitStack, _portal: BlockingPortal) -> Made:
    dispatcher = EventDispatcher()
    recording = stack.enter_context(record(dispatcher))
    dispatcher.dispatch("order.placed")
    return Made(recording)


def _make_registry(_stack: ExitStack, _portal: BlockingPortal) -> Made:
    registry = EventRegistry()
    registry.register("shop.order-shipped")(OrderShipped)
    return Made(registry)


def _make_bridge() -> tuple[Any, AsyncEventDispatcher]:
    dispatcher = AsyncEventDispatcher()
    bridge = Bridge(dispatcher, MemoryBroker(), EVENTS, source="/shop/web")
    bridge.receive(ORDERS, group="packing")
    return bridge, dispatcher


def _enter_bridge(stack: ExitStack, portal: BlockingPortal) -> Made:
    bridge, dispatcher = _make_bridge()
    return Made(stack.enter_context(portal.wrap_async_context_manager(bridge)), dispatcher)


def _make_dead_letter(_stack: ExitStack, _portal: BlockingPortal) -> Made:
    entries = MemoryBroker().dead(ORDERS, 0, "packing")
    return Made(DeadLetter("orders", 0, "packing", "1", b"{}", None, None, "declined", 1, datetime.now(UTC), entries))


def _simply(make: Callable[[], Any]) -> Callable[[ExitStack, BlockingPortal], Made]:
    return lambda _stack, _portal: Made(make())


def _dispatcher(make: Callable[[], Any]) -> Callable[[ExitStack, BlockingPortal], Made]:
    def make_both(_stack: ExitStack, _portal: BlockingPortal) -> Made:
        dispatcher = make()
        return Made(dispatcher, dispatcher)

    return make_both


SUBJECTS: Final[dict[str, Subject]] = {
    "AsyncEventDispatcher": Subject(AsyncEventDispatcher, _dispatcher(AsyncEventDispatcher)),
    "EventDispatcher": Subject(EventDispatcher, _dispatcher(EventDispatcher)),
    "EventDispatcher(names=...)": Subject(EventDispatcher, _dispatcher(lambda: EventDispatcher(names=["order.placed"]))),
    "AsyncEventDispatcher.scope()": Subject(antiphon.AsyncScope, lambda stack, _: _enter_scope(AsyncEventDispatcher(), stack)),
    "EventDispatcher.scope()": Subject(antiphon.Scope, lambda stack, _: _enter_scope(EventDispatcher(), stack)),
    "AsyncEventDispatcher.temporarily()": Subject(Registrar, _register),
    "queue": Subject(antiphon.Queue, _enter_queue),
    "stream": Subject(antiphon.Stream, _enter_stream),
    "AsyncEventDispatcher.prepare()": Subject(
        SimpleNamespace, lambda _, __: _prepare(AsyncEventDispatcher()), ("prepared",), AsyncEventDispatcher.adispatch
    ),
    "EventDispatcher.prepare()": Subject(
        SimpleNamespace, lambda _, __: _prepare(EventDispatcher()), ("prepared",), EventDispatcher.dispatch
    ),
    "add_listener()": Subject(antiphon.Subscription, _make_handle),
    "add_subscriber()": Subject(antiphon.Subscriptions, _make_handle_of_subscriber),
    "describe()": Subject(Description, _make_description),
    "event": Subject(Event, _simply(Event)),
    "Timeline": Subject(Timeline, _simply(lambda: _observe(Timeline()))),
    "Coverage": Subject(Coverage, _simply(lambda: _observe(Coverage()))),
    "record()": Subject(Recording, _record),
    "Backend": Subject(Backend, _simply(lambda: Backend("asyncio"))),
    "broker_checks()": Subject(BrokerCheck, _simply(lambda: broker_checks()[0]), ("__call__",)),
    "EventRegistry": Subject(EventRegistry, _make_registry),
    "RegisteredType": Subject(RegisteredType, _simply(lambda: EVENTS.types[0])),
    "Channel": Subject(Channel, _simply(lambda: Channel("orders", 3))),
    "Retry": Subject(Retry, _simply(Retry)),
    "MemoryBroker": Subject(MemoryBroker, _simply(MemoryBroker)),
    "Bridge": Subject(Bridge, lambda _, __: Made(*_make_bridge())),
    "entered Bridge": Subject(Bridge, _enter_bridge),
    "DeadLetter": Subject(DeadLetter, _make_dead_letter),
}  # fmt: skip


def _find_modules() -> dict[str, ModuleType]:
    found = {"antiphon": antiphon}
    for module in pkgutil.walk_packages(antiphon.__path__, "antiphon."):
        if not any(part.startswith("_") for part in module.name.split(".")):
            found[module.name] = importlib.import_module(module.name)
    return found


MODULES: Final = _find_modules()


def _is_called(cls: type[Any], name: str) -> bool:
    return NOT_CALLED.keys().isdisjoint({name, *(f"{each.__name__}.{name}" for each in cls.__mro__)})


def _find_methods(cls: type[Any]) -> dict[str, Any]:
    """Return the public methods of a class that antiphon defines, without those of `NOT_CALLED`."""
    methods = {}
    for name in dir(cls):
        method = inspect.getattr_static(cls, name)
        is_own = str(getattr(getattr(cls, name), "__module__", None)).startswith("antiphon")
        if not name.startswith("_") and callable(getattr(cls, name)) and is_own and _is_called(cls, name):
            methods[name] = method
    return methods


def list_calls() -> list[PublicCall]:
    """Return each public call.

    Raises:
        MissingSubjectError: If a public method is not that of a subject.
    """
    calls = []
    covered = []
    for owner, subject in SUBJECTS.items():
        methods = _find_methods(subject.cls)
        covered += methods.values()
        calls += [PublicCall(owner, name) for name in (*methods, *subject.names)]
    seen: list[Any] = []
    for path, module in MODULES.items():
        for name in getattr(module, "__all__", ()):
            public = getattr(module, name)
            if any(public is other for other in seen) or not (inspect.isclass(public) or inspect.isfunction(public)):
                # Others are aliases of types, and fixtures.
                continue
            seen.append(public)
            if getattr(public, "_is_protocol", False) or getattr(public, "__init__", None) is Exception.__init__:
                continue
            if inspect.isclass(public):
                for method, function in _find_methods(public).items():
                    if name not in NOT_CALLED and all(function is not other for other in covered):
                        raise MissingSubjectError(f"{path}.{name}.{method} needs a subject, or a reason in NOT_CALLED")
            if name not in NOT_CALLED:
                calls.append(PublicCall(path, name))
    return calls


def make(owner: str, stack: ExitStack, portal: BlockingPortal) -> Made:
    """Return the object whose method, or the module whose function, is called."""
    return Made(MODULES[owner]) if owner in MODULES else SUBJECTS[owner].make(stack, portal)
