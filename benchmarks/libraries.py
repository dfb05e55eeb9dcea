"""What dispatches: antiphon and the other libraries, each with the statements that register, remove and dispatch.

``difference`` says in which guarantees a library differs from antiphon. It is printed under each table, because a
library that promises less can be faster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from importlib.metadata import version
from time import perf_counter_ns
from typing import Any

from antiphon import AsyncEventDispatcher, Event, EventDispatcher
from antiphon.instruments.logging import LoggingInstrument
from benchmarks.applications import make_overriding, quiet_logger
from benchmarks.measuring import ANTIPHON, Candidate
from benchmarks.workload import ARGUMENTS, NAME, Load, Sampler, compile_loop, event_class, listeners

__all__ = (
    "DISPATCHER",
    "LOGGING",
    "OVERRIDING",
    "PEERS",
    "WHISTLE",
    "WHISTLE_OVERRIDING",
    "Library",
    "find_missing",
    "get_peers",
    "get_versions",
)


@dataclass(frozen=True, slots=True)
class Library:
    """How a library is used.

    The statements see ``target`` (what ``make`` returned), ``name`` and ``item`` (a listener). In a dispatch ``EVENT``
    is the event.
    """

    #: The name of its distribution.
    name: str
    #: Makes the object that listeners are added to.
    make: Callable[[Load], Any]
    #: The statement that dispatches, by the group of the load, or a function that makes the sampler.
    dispatch: Mapping[str, str | Callable[[Library, Load], Sampler]]
    difference: str = ""
    #: The module that is imported, if it is not called like the distribution.
    module: str = ""
    add: str = "target.add_listener(name, item)"
    remove: str = "target.remove_listener(name, item)"
    #: Makes of a listener what the library registers.
    wrap: Callable[[Any], Any] = lambda listener: listener
    #: The parameters of a listener.
    arguments: str = ARGUMENTS
    #: Prepares the target for dispatching.
    finish: Callable[[Any], object] = lambda target: None
    get_event_base: Callable[[], type] = lambda: object
    backends: frozenset[str] = field(default=frozenset({"none", "asyncio", "uvloop", "trio"}))
    #: The most listeners that can be registered in reasonable time.
    max_registered: int = 1_000_000
    min_listeners: int = 0
    #: Whether it has many names, and finds the listeners of an event by its name.
    has_names: bool = False
    #: Whether it reads a class-level ``name`` of events. To other libraries such an event is like any other.
    reads_class_name: bool = False

    def fill(self, target: Any, items: list[Any]) -> None:
        """Register items with a target."""
        for item in items:
            self.add_listener(target, NAME, item)

    def add_listener(self, target: Any, name: str, item: Any) -> None:
        """Register an item with a target, under a name."""
        _compile_add(self.add)(target, name, item)

    def can_dispatch(self, load: Load) -> bool:
        """Return whether the library has a dispatch of this kind."""
        can_run = load.backend in self.backends and load.size >= self.min_listeners
        return load.group in self.dispatch and can_run and (self.reads_class_name or not load.named)

    def make_candidate(self, load: Load) -> Candidate:
        """Make the candidate that dispatches a load."""
        how = self.dispatch[load.group]
        if not isinstance(how, str):
            return Candidate(self.name, how(self, load))
        target, items = self.make(load), self.make_items(load)
        self.fill(target, items)
        self.finish(target)
        # Pass the items on: blinker and Django hold listeners weakly.
        return Candidate(self.name, load.make_sampler(how, event_base=self.get_event_base(), target=target, kept=items))

    def make_items(self, load: Load) -> list[Any]:
        """Make the listeners of a load, as the library registers them."""
        made = listeners(load.kind, load.size, backend=load.backend, arguments=self.arguments)
        return [self.wrap(listener) for listener in made]


@cache
def _compile_add(statement: str) -> Callable[[Any, str, Any], None]:
    namespace: dict[str, Any] = {}
    exec(f"def add(target, name, item): {statement}", namespace)  # noqa: S102
    add: Callable[[Any, str, Any], None] = namespace["add"]
    return add


def find_missing() -> dict[str, str]:
    """Return the libraries that cannot be measured here, with the reason."""
    return {peer.name: reason for peer in PEERS if (reason := _find_import_error(peer.module or peer.name))}


def get_peers() -> list[Library]:
    """Return the other libraries that can be measured here."""
    return [peer for peer in PEERS if not _find_import_error(peer.module or peer.name)]


def get_versions() -> dict[str, str]:
    """Return the versions of what takes part."""
    names = [ANTIPHON, "anyio", *(peer.name for peer in get_peers())]
    backends = [name for name in ("trio", "uvloop") if not _find_import_error(name)]
    return {name: version(name) for name in (*names, *backends)}


@cache
def _find_import_error(module: str) -> str | None:
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        return "not installed" if error.name == module.partition(".")[0] else f"cannot be imported: {error}"
    except Exception as error:  # an error in one library must not prevent the measurement of the others
        return f"cannot be imported: {type(error).__name__}: {error}"
    return None


def _make_dispatcher(load: Load) -> Any:
    return EventDispatcher() if load.group == "sync" else AsyncEventDispatcher()


DISPATCHER = Library(
    name=ANTIPHON,
    make=_make_dispatcher,
    dispatch={
        "sequential": "await target.adispatch(name, EVENT)",
        "concurrent": "await target.adispatch(name, EVENT)",
        "sync": "target.dispatch(name, EVENT)",
    },
    get_event_base=lambda: Event,
    reads_class_name=True,
)


def _make_logged_dispatcher(load: Load) -> Any:
    dispatcher = AsyncEventDispatcher()
    dispatcher.add_instrument(LoggingInstrument(quiet_logger))
    return dispatcher


#: antiphon through an override that logs each dispatch and each call.
OVERRIDING = replace(DISPATCHER, make=lambda load: make_overriding(AsyncEventDispatcher)())

#: antiphon with an instrument that logs each dispatch and each call.
LOGGING = replace(DISPATCHER, make=_make_logged_dispatcher)


def _make_whistle(load: Load) -> Any:
    whistle = import_module("whistle")
    return whistle.EventDispatcher() if load.group == "sync" else whistle.AsyncEventDispatcher()


class _Relay:
    """A nursery for pyee's emitter, which accepts one for its whole life: the nursery of the current dispatch."""

    start_soon: Any = None


def _make_pyee(load: Load) -> Any:
    if load.group != "concurrent":
        return import_module("pyee").EventEmitter()
    if load.backend != "trio":
        return import_module("pyee.asyncio").AsyncIOEventEmitter()
    relay = _Relay()
    emitter = import_module("pyee.trio").TrioEventEmitter(nursery=relay)
    emitter.relay, emitter.open_nursery = relay, import_module("trio").open_nursery
    return emitter


def _dispatch_with_pyee(library: Library, load: Load) -> Sampler:
    emitter = library.make(load)
    library.fill(emitter, library.make_items(load))
    if load.backend == "trio":
        statement = (
            "async with target.open_nursery() as nursery:\n"
            "    target.relay.start_soon = nursery.start_soon\n"
            "    target.emit(name, EVENT)"
        )
    else:
        statement = "target.emit(name, EVENT); await target.wait_for_complete()"
    return load.make_sampler(statement, target=emitter)


def _make_pluggy(load: Load) -> Any:
    pluggy = import_module("pluggy")

    class Specification:
        @pluggy.HookspecMarker("shop")
        def order_placed(self, event: object) -> None:
            pass

    manager = pluggy.PluginManager("shop")
    manager.add_hookspecs(Specification)
    return manager


def _make_plugin(listener: Callable[[Any], Any]) -> Any:
    marked = import_module("pluggy").HookimplMarker("shop")(listener)
    return type("Plugin", (), {"order_placed": staticmethod(marked)})()


def _dispatch_with_litestar(library: Library, load: Load) -> Sampler:
    events = import_module("litestar.events")
    registered = [events.EventListener(NAME)(listener) for listener in library.make_items(load)]
    values = {"event": event_class()(1, 2), "name": NAME}
    loop = compile_loop("emitter.emit(name, event)", ("emitter", *values))

    async def sampler(count: int) -> float:
        # Leaving the emitter waits until all listeners have run.
        async with events.SimpleEventEmitter(registered) as emitter:
            started = perf_counter_ns()
            await loop(range(count), emitter=emitter, **values)
        return perf_counter_ns() - started

    return sampler


WHISTLE = Library(
    name="whistle",
    make=_make_whistle,
    dispatch={key: DISPATCHER.dispatch[key] for key in ("sequential", "sync")},
    get_event_base=lambda: import_module("whistle").Event,
    has_names=True,
    reads_class_name=True,
    difference=(
        "Sequential only. An event stays stopped after the dispatch that stopped it, a nested dispatch overwrites "
        "the attributes of the outer one, listeners that were removed during a dispatch still run, and errors "
        "carry no note."
    ),
)

#: whistle through an override that logs each dispatch and each call.
WHISTLE_OVERRIDING = replace(
    WHISTLE, make=lambda load: make_overriding(import_module("whistle").AsyncEventDispatcher)()
)

PEERS = (
    WHISTLE,
    Library(
        name="xtr-event-dispatcher",
        module="xtr_event_dispatcher",
        make=lambda load: import_module("xtr_event_dispatcher").EventDispatcher(),
        dispatch={"sequential": "await target.dispatch(EVENT, name)"},
        get_event_base=lambda: import_module("xtr_event_dispatcher").Event,
        has_names=True,
        max_registered=10_000,  # `remove_listener` searches all listeners of the event
        difference=(
            "Sequential only, highest priority first. It also accepts plain functions, builds listeners when they are "
            "first needed, and skips listeners that were removed during the dispatch. An event stays stopped, and "
            "errors carry no note."
        ),
    ),
    Library(
        name="aiosignal",
        make=lambda load: import_module("aiosignal").Signal(object()),
        add="target.append(item)",
        remove="target.remove(item)",
        finish=lambda signal: signal.freeze(),
        dispatch={"sequential": "await target.send(EVENT)"},
        max_registered=10_000,  # `remove` searches the list
        difference=(
            "A list that is frozen before the first dispatch: it has no names, no priorities and no stop, cannot "
            "change later, and adds nothing to an error."
        ),
    ),
    Library(
        name="blinker",
        make=lambda load: import_module("blinker").Signal(),
        add="target.connect(item)",
        remove="target.disconnect(item)",
        dispatch={"sequential": "await target.send_async(EVENT)", "sync": "target.send(EVENT)"},
        difference=(
            "A signal object instead of a name, and here the event is the sender. It holds listeners weakly, returns "
            "their results, and can select one sender. It has no order, no priorities and no stop, and adds nothing "
            "to an error."
        ),
    ),
    Library(
        name="pyee",
        make=_make_pyee,
        add="target.on(name, item)",
        dispatch={"concurrent": _dispatch_with_pyee, "sync": "target.emit(name, EVENT)"},
        difference=(
            "It starts a task for each async listener and does not wait for it. Here it waits: on asyncio by its own "
            "method, on Trio by a nursery for each dispatch. It has no priorities and no stop, an error becomes an "
            "event, and it registers the same listener only once."
        ),
    ),
    Library(
        name="Django",
        module="django.dispatch",
        make=lambda load: import_module("django.dispatch").Signal(),
        add="target.connect(item)",
        remove="target.disconnect(item)",
        arguments="sender, event, **named",
        dispatch={"concurrent": "await target.asend(None, event=EVENT)", "sync": "target.send(None, event=EVENT)"},
        backends=frozenset({"none", "asyncio", "uvloop"}),
        max_registered=1_000,  # `connect` searches all that are connected
        difference=(
            "A signal object instead of a name, and listeners that accept keyword arguments. It holds listeners "
            "weakly, returns their results, and can select one sender. It has no priorities and no stop, and adds "
            "nothing to an error. Async listeners always run together, on asyncio only, in one shared context."
        ),
    ),
    Library(
        name="psygnal",
        make=lambda load: import_module("psygnal").SignalInstance((object,)),
        add="target.connect(item)",
        remove="target.disconnect(item)",
        dispatch={"sync": "target.emit(EVENT)"},
        max_registered=10_000,  # `disconnect` searches all that are connected
        difference=(
            "A signal of one object instead of a name, compiled to C in its wheel. It checks the parameters of a "
            "listener when it is connected, can be paused and blocked, and wraps each error. It has no stop, and does "
            "not wait for async listeners, so only plain functions are compared."
        ),
    ),
    Library(
        name="pluggy",
        make=_make_pluggy,
        add="target.register(item)",
        remove="target.unregister(item)",
        wrap=_make_plugin,
        dispatch={"sync": "target.hook.order_placed(event=EVENT)"},
        max_registered=100,  # it reads each attribute of a plugin and searches all plugins
        difference=(
            "Plugins instead of listeners, last registered first. It checks them against a declared signature, can "
            "wrap calls, and returns their results. It is not async and has no numeric priorities. Only a hook that "
            "is declared to return its first result stops."
        ),
    ),
    Library(
        name="litestar",
        module="litestar.events",
        make=lambda load: None,
        add="",
        dispatch={"concurrent": _dispatch_with_litestar},
        min_listeners=1,
        difference=(
            "It queues events without a bound and returns before a listener runs. A caller cannot wait for one "
            "dispatch, stop it or receive its errors, which are logged. So the figure is of many events at once, "
            "until the last listener has finished. Its listeners are fixed and have no order."
        ),
    ),
)
"""The other libraries, in the order of their names on the page."""
