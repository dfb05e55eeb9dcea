"""``python -m tests.endurance.bad_input``: every public call, with arguments of wrong types and values.

A call may raise only what the section "Raises" of its docstring lists. TypeError is always allowed if the signature does
not accept the arguments. After an error, the dispatcher has the same listeners as before, and dispatches to them.
"""

from __future__ import annotations

import argparse
import builtins
import inspect
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack
from enum import Enum
from functools import partial
from typing import Any, NewType, TypeVar

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import antiphon
import antiphon.diagrams
from antiphon import AsyncEventDispatcher, Event, EventDispatcher, Race
from antiphon._util.naming import safe_repr
from tests import figures
from tests.helpers import silent_log

#: The calls of a full run.
CALLS = 20_000
#: The names of counts.
_UNDOCUMENTED, _CHANGED = "undocumented errors", "changes after an error"


class OrderPlaced(Event): ...


class Color(Enum):
    """Members are names."""

    RED = "red"


class Unprintable:
    """Its repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError


class Unhashable:
    """It has no hash."""

    __hash__ = None  # type: ignore[assignment]


class Subscriber:
    """A subscriber with one listener."""

    @antiphon.listens_to("order.placed")
    async def confirm(self, event: Event) -> None: ...


async def listener(event: Event) -> None: ...


def sync_listener(event: Event) -> None: ...


async def without_event() -> None: ...


def generator(event: Event) -> Iterator[None]:
    yield


_T = TypeVar("_T")
#: Values that are right for some parameter, and wrong for most others.
_VALUES = st.sampled_from(
    [
        None, True, False, 0, 1, -1, 10**30, 0.5, -0.0, float("nan"), float("inf"), 1j, "", "order.placed", "order.*", "*",
        "**", "a*b", "*.", "\ud800", "x" * 10_000, b"order.placed", (), ("order.placed",), (OrderPlaced,), [], {}, set(),
        frozenset({"order.placed"}), object(), Unprintable(), Unhashable(), Event, OrderPlaced, int, type, list[int],
        int | str, OrderPlaced | Unhashable, _T, NewType("_N", int), Event(), OrderPlaced(), Color, Color.RED, listener,
        sync_listener, without_event, generator, lambda: None, lambda event: event, partial(listener), print, len, Subscriber,
        Subscriber(), Race(), Race, "raise", "collect", "log", "suspend", "drop_oldest", re.compile("order"), NotImplemented,
        Ellipsis, ValueError, ValueError("declined"), range(3), iter(()), AsyncEventDispatcher(), EventDispatcher, antiphon,
    ]
)  # fmt: skip
#: Values that get a call past its first checks.
_USUAL = st.sampled_from(["order.placed", OrderPlaced, "order.*", listener, sync_listener, OrderPlaced(), 0, 1, None])
_ANY = st.one_of(_USUAL, _VALUES, st.text(max_size=5), st.integers(), st.floats(), st.binary(max_size=3))


def _with_dispatcher(dispatcher: AsyncEventDispatcher, stack: ExitStack) -> Any:
    registrar: Any = stack.enter_context(dispatcher.temporarily())
    registrar.dispatcher = dispatcher
    return registrar


_SUBJECTS: dict[str, Callable[[ExitStack], Any]] = {
    "AsyncEventDispatcher": lambda _: AsyncEventDispatcher(),
    "EventDispatcher": lambda _: EventDispatcher(),
    "AsyncEventDispatcher.scope()": lambda stack: stack.enter_context(AsyncEventDispatcher().scope()),
    "EventDispatcher.scope()": lambda stack: stack.enter_context(EventDispatcher().scope()),
    "AsyncEventDispatcher.temporarily()": lambda stack: _with_dispatcher(AsyncEventDispatcher(), stack),
    "EventDispatcher(names=...)": lambda _: EventDispatcher(names=["order.placed"]),
}
#: What is entered in an event loop before its methods are called.
_WAITING: dict[str, Callable[[AsyncEventDispatcher], AbstractAsyncContextManager[Any]]] = {
    "queue": lambda dispatcher: dispatcher.queue(max_buffer_size=2, overflow="drop_oldest", errors="log"),
    "stream": lambda dispatcher: dispatcher.stream("order.placed", max_buffer_size=2),
}
_MODULES = {"antiphon": antiphon, "antiphon.diagrams": antiphon.diagrams}
_FUNCTIONS = [
    "AsyncEventDispatcher", "Concurrent", "EventDispatcher", "Race", "Sequential", "event_name", "in_thread", "inline",
    "listener_name", "listens_to", "named", "outside_dispatch", "resolved",
]  # fmt: skip
_DIAGRAMS = ["catalogue", "dot", "html", "json", "markdown", "mermaid", "table", "tree"]


def list_calls() -> list[tuple[str, str]]:
    """Return each public call, as a subject and the name of its method, or of a function of a module."""
    methods = []
    classes: dict[str, type[Any]] = {"queue": antiphon.Queue, "stream": antiphon.Stream}
    for subject, make in _SUBJECTS.items():
        with ExitStack() as stack:
            classes[subject] = type(make(stack))
    for subject, cls in classes.items():
        names = [name for name in dir(cls) if not name.startswith("_") and inspect.isfunction(getattr(cls, name))]
        # `do_dispatch` is for subclasses to override; only the dispatcher calls it.
        methods += [(subject, name) for name in names if name != "do_dispatch"]
    functions = [("antiphon", name) for name in _FUNCTIONS]
    return [*methods, *functions, *(("antiphon.diagrams", name) for name in _DIAGRAMS)]


def _make(subject: str, stack: ExitStack, portal: BlockingPortal) -> Any:
    """Return the object whose method, or the module whose function, is called."""
    if subject not in _WAITING:
        return _MODULES[subject] if subject in _MODULES else _SUBJECTS[subject](stack)
    dispatcher = AsyncEventDispatcher()
    made: Any = stack.enter_context(portal.wrap_async_context_manager(_WAITING[subject](dispatcher)))
    made.dispatcher = dispatcher
    return made


def documented_errors(function: Any) -> tuple[type[BaseException], ...]:
    """Read the errors of a function in the section "Raises" of its docstring."""
    doc = inspect.getdoc(function) or ""
    if isinstance(function, type):
        doc += "\n\n" + (inspect.getdoc(function.__init__) or "")
    section = re.findall(r"^Raises:\n((?:[ ]+.*\n?|\n)+)", doc, re.MULTILINE)
    names = re.findall(r"^    ([\w.]+):", "\n".join(section), re.MULTILINE)
    found = []
    for name in names:
        module = anyio if name.startswith("anyio.") else antiphon if hasattr(antiphon, name) else builtins
        found.append(getattr(module, name.rpartition(".")[2]))
    return tuple(found)


class UndocumentedError(AssertionError):
    """A call raised an error that its docstring does not list."""


class Caller:
    """Makes calls, and counts them."""

    def __init__(self, portal: BlockingPortal) -> None:
        self.portal = portal
        self.counts: Counter[str] = Counter()

    def call(self, subject: str, name: str, arguments: list[Any], options: dict[str, Any], then: Any) -> None:
        """Make one call, and use what it returns."""
        with ExitStack() as stack:
            made = _make(subject, stack, self.portal)
            check = None if subject in _MODULES else _Unchanged(made, self.portal)
            function = getattr(made, name)
            self.counts["calls"] += 1
            try:
                self._use(function(*arguments, **options), then)
            except Exception as error:
                self.counts["errors"] += 1
                if not isinstance(error, self._allowed(function, arguments, options)):
                    self.counts[_UNDOCUMENTED] += 1
                    call = f"{subject}.{name}(*{safe_repr(arguments)}, **{safe_repr(options)})"
                    raise UndocumentedError(f"{call}: {type(error).__name__}: {error}") from error
                if check is not None:
                    self.counts[_CHANGED] += 1
                    check.after_an_error()
                    self.counts[_CHANGED] -= 1

    def _allowed(self, function: Any, arguments: list[Any], options: dict[str, Any]) -> tuple[type[BaseException], ...]:
        try:
            inspect.signature(function).bind(*arguments, **options)
        except TypeError:
            return TypeError, *documented_errors(function)
        return documented_errors(function)

    def _use(self, result: Any, then: Any) -> None:
        if isinstance(result, Coroutine):
            self.portal.call(_finish, result)
        elif isinstance(result, AbstractContextManager):
            # Also a scope, whose `async with` is an error.
            with result:
                pass
        elif isinstance(result, AbstractAsyncContextManager):
            self.portal.call(_enter, result)
        elif inspect.isfunction(result) and result.__name__ in ("decorate", "mark"):
            result(then)


async def _finish(coroutine: Coroutine[Any, Any, Any]) -> None:
    with anyio.move_on_after(0):
        await coroutine


async def _enter(context: AbstractAsyncContextManager[Any]) -> None:
    with anyio.move_on_after(0):
        async with context:
            pass


class _Unchanged:
    """Adds a listener to a dispatcher, and checks that an error leaves it alone."""

    def __init__(self, subject: Any, portal: BlockingPortal) -> None:
        self.portal = portal
        self.dispatcher = getattr(subject, "dispatcher", subject)
        self.ran: list[Event] = []
        if isinstance(self.dispatcher, AsyncEventDispatcher):

            async def record(event: Event) -> None:
                self.ran.append(event)

            self.dispatcher.add_listener("order.placed", record)
        elif isinstance(self.dispatcher, EventDispatcher):
            self.dispatcher.add_listener("order.placed", self.ran.append)
        self.before = self._describe()

    def _describe(self) -> Any:
        return self.dispatcher.get_listeners(), self.dispatcher.describe().listeners

    def after_an_error(self) -> None:
        if self._describe() != self.before:
            raise AssertionError(f"the error changed the dispatcher: {self._describe()} != {self.before}")
        ran = len(self.ran)
        if isinstance(self.dispatcher, AsyncEventDispatcher):
            self.portal.call(self.dispatcher.adispatch, "order.placed")
        else:
            self.dispatcher.dispatch("order.placed")
        if len(self.ran) != ran + 1:
            raise AssertionError("the listener did not run after the error")


def _arguments_of(function: Any) -> st.SearchStrategy[tuple[list[Any], dict[str, Any]]]:
    parameters = inspect.signature(function).parameters.values()
    keywords = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
    keywords += [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD and isinstance(function, type)]
    number = sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters)
    positional = st.lists(_ANY, min_size=0 if number == 0 else 1, max_size=max(number, 2))
    options = st.dictionaries(st.sampled_from([*keywords, "unknown"]), _ANY, max_size=3) if keywords else st.just({})
    return st.tuples(positional, options)


def run(calls: int, seed: int = 0) -> Counter[str]:
    """Make calls on both backends, the same number of each.

    Raises:
        ExceptionGroup: Of an AssertionError for each call with an undocumented effect.
    """
    counts: Counter[str] = Counter()
    chosen = list_calls()
    each = max(1, calls // len(chosen) // 2)
    faults: list[AssertionError] = []
    for backend in ("asyncio", "trio"):
        with silent_log(), warnings.catch_warnings(), start_blocking_portal(backend) as portal:
            warnings.simplefilter("error")
            caller = Caller(portal)
            for subject, name in chosen:
                with ExitStack() as stack:
                    made = _make(subject, stack, portal)
                    arguments = _arguments_of(getattr(made, name))

                try:
                    _explore(partial(caller.call, subject, name), arguments, each, seed)
                except AssertionError as fault:
                    faults.append(fault)
            counts += caller.counts
    if faults:
        raise ExceptionGroup("wrong arguments had undocumented effects", faults)
    counts["public calls"] = len(chosen)
    return counts


def _explore(call: Callable[..., None], arguments: Any, number: int, seed: int) -> None:
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        derandomize=seed == 0,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(arguments=arguments, then=_ANY)
    def explore(arguments: Any, then: Any) -> None:
        call(*arguments, then)

    explore()


def main(arguments: list[str] | None = None) -> int:
    """Run the command; it raises the error of a wrong call."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance.bad_input", description=__doc__)
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--seed", type=int, default=0, help="0: the same calls in every run; otherwise random ones")
    parser.add_argument("--short", action="store_true", help="2,000 calls")
    options = parser.parse_args(arguments)
    counts = run(2_000 if options.short else options.calls, options.seed)
    print(", ".join(f"{number:,} {what}" for what, number in counts.items()))
    figures.print_left_out(counts["calls"], CALLS, "calls")
    if not options.short and options.calls >= CALLS:
        figures.keep("badinput", {**counts, _UNDOCUMENTED: counts[_UNDOCUMENTED], _CHANGED: counts[_CHANGED]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
