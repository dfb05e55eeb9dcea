"""``python -m tests.endurance.bad_input``: every public call, with arguments of wrong types and values.

A call may raise only what the section "Raises" of its docstring lists. TypeError is always allowed if the signature does
not accept the arguments. After an error, the dispatcher has the same listeners and options as before, and dispatches to
its listeners. No call leaves an instrument on all dispatchers.
"""

from __future__ import annotations

import argparse
import builtins
import inspect
import logging
import math
import re
import sys
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, chdir, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, Phase, given, settings

import antiphon
import antiphon.bridges
from antiphon import AsyncEventDispatcher, Event, EventDispatcher
from antiphon._dispatchers.instruments import global_instruments
from antiphon._util.naming import safe_str
from tests import figures
from tests.endurance.public_calls import SUBJECTS, list_calls, make
from tests.endurance.wrong_values import Arguments, OrderPlaced, arguments_of, listener, sync_listener
from tests.helpers import silent_log

#: The calls of a full run.
CALLS = 40_000
#: The names of counts.
_UNDOCUMENTED, _CHANGED = "undocumented errors", "changes after an error"
#: Where the errors of a docstring are.
_ERRORS = (antiphon, antiphon.bridges, builtins)


def documented_errors(function: Any) -> tuple[type[BaseException], ...]:
    """Read the errors of a function in the section "Raises" of its docstring."""
    doc = inspect.getdoc(function) or ""
    if isinstance(function, type):
        doc += "\n\n" + (inspect.getdoc(function.__init__) or "")
    section = re.findall(r"^Raises:\n((?:[ ]+.*\n?|\n)+)", doc, re.MULTILINE)
    names = re.findall(r"^    ([\w.]+):", "\n".join(section), re.MULTILINE)
    found = []
    for name in names:
        module = anyio if name.startswith("anyio.") else next(each for each in _ERRORS if hasattr(each, name))
        found.append(getattr(module, name.rpartition(".")[2]))
    return tuple(found)


class UndocumentedError(AssertionError):
    """A call raised an error that its docstring does not list."""


class Caller:
    """Makes calls, and counts them."""

    def __init__(self, portal: BlockingPortal) -> None:
        self.portal = portal
        self.counts: Counter[str] = Counter()

    def call(self, owner: str, name: str, arguments: Arguments) -> None:
        """Make one call, and use what it returns."""
        with ExitStack() as stack:
            made = make(owner, stack, self.portal)
            check = None if made.dispatcher is None else _Unchanged(made.dispatcher, self.portal)
            function = getattr(made.target, name)
            self.counts["calls"] += 1
            try:
                self._use(function(*arguments.given, **arguments.options), arguments.decorated)
            except Exception as error:
                self.counts["errors"] += 1
                if not isinstance(error, self._allowed(owner, function, arguments)):
                    self.counts[_UNDOCUMENTED] += 1
                    raise UndocumentedError(
                        f"{owner}.{name}{arguments!r}: {type(error).__name__}: {safe_str(error)}"
                    ) from error
                if check is not None:
                    self.counts[_CHANGED] += 1
                    check.after_an_error()
                    self.counts[_CHANGED] -= 1
            if global_instruments:
                raise AssertionError(f"{owner}.{name} left instruments: {global_instruments}")

    def _allowed(self, owner: str, function: Any, arguments: Arguments) -> tuple[type[BaseException], ...]:
        documented = SUBJECTS[owner].documented_by if owner in SUBJECTS else None
        errors = documented_errors(documented or function)
        try:
            inspect.signature(function).bind(*arguments.given, **arguments.options)
        except TypeError:
            return TypeError, *errors
        return errors

    def _use(self, result: Any, decorated: Any) -> None:
        if isinstance(result, Coroutine):
            self.portal.call(_finish, result)
        elif isinstance(result, AbstractContextManager):
            # Also a scope, whose `async with` is an error.
            with result:
                pass
        elif isinstance(result, AbstractAsyncContextManager):
            self.portal.call(_enter, result)
        elif isinstance(result, AsyncIterator):
            self.portal.call(_read, result)
        elif inspect.isfunction(result) and result.__name__ in ("decorate", "mark"):
            result(decorated)


async def _finish(coroutine: Coroutine[Any, Any, Any]) -> None:
    with anyio.move_on_after(0):
        await coroutine


async def _enter(context: AbstractAsyncContextManager[Any]) -> None:
    with anyio.move_on_after(0):
        async with context:
            pass


async def _read(iterator: AsyncIterator[Any]) -> None:
    with anyio.move_on_after(0):
        async for _ in iterator:
            pass


class _Unchanged:
    """Adds a listener to a dispatcher, and checks that an error leaves it alone."""

    def __init__(self, dispatcher: Any, portal: BlockingPortal) -> None:
        self.portal = portal
        self.dispatcher = dispatcher
        self.ran: list[Event] = []
        if isinstance(self.dispatcher, AsyncEventDispatcher):

            async def record(event: Event) -> None:
                self.ran.append(event)

            self.dispatcher.add_listener("order.placed", record)
            self.dispatcher.add_listener(OrderPlaced, listener)
        elif isinstance(self.dispatcher, EventDispatcher):
            self.dispatcher.add_listener("order.placed", self.ran.append)
            self.dispatcher.add_listener(OrderPlaced, sync_listener)
        self.before = self._describe()

    def _describe(self) -> Any:
        # The handles of listeners, options such as the strategy, and the instruments.
        return self.dispatcher.get_listeners(), self.dispatcher.describe().listeners, dict(vars(self.dispatcher))

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


@contextmanager
def _quiet_folder() -> Iterator[None]:
    """Write files in a new folder, and forget the loggers that the block makes."""
    loggers = logging.Logger.manager.loggerDict
    before = dict(loggers)
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, silent_log(), warnings.catch_warnings():
        warnings.simplefilter("error")
        # Deep enough for names such as "..".
        deep = Path(folder, "a", "b")
        deep.mkdir(parents=True)
        try:
            with chdir(deep):
                yield
        finally:
            loggers.clear()
            loggers.update(before)


def run(calls: int, seed: int = 0, only: str = "") -> Counter[str]:
    """Make calls on both backends, at least the given number in all, and the same number of each.

    Args:
        calls: How many.
        seed: 0 for the same calls in every run.
        only: A part of the names of the calls to make; all by default.

    Raises:
        ExceptionGroup: Of an AssertionError for each call with an undocumented effect.
    """
    counts: Counter[str] = Counter()
    chosen = [call for call in list_calls() if only in f"{call.owner}.{call.name}"]
    each = math.ceil(calls / len(chosen) / 2)
    faults: list[Exception] = []
    for backend in ("asyncio", "trio"):
        with _quiet_folder(), start_blocking_portal(backend) as portal:
            caller = Caller(portal)
            for owner, name in chosen:
                with ExitStack() as stack:
                    arguments = arguments_of(getattr(make(owner, stack, portal).target, name))

                try:
                    _explore(partial(caller.call, owner, name), arguments, each, seed)
                except AssertionError as fault:
                    faults.append(fault)
                except ExceptionGroup as group:
                    # The different faults of one call.
                    faults += group.exceptions
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
    @given(arguments)
    def explore(arguments: Arguments) -> None:
        call(arguments)

    explore()


def main(arguments: list[str] | None = None) -> int:
    """Run the command; it raises the error of a wrong call."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance.bad_input", description=__doc__)
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--seed", type=int, default=0, help="0: the same calls in every run; otherwise random ones")
    parser.add_argument("--short", action="store_true", help="6,000 calls")
    parser.add_argument("--only", default="", help="only calls whose names contain this, such as Timeline.write")
    options = parser.parse_args(arguments)
    counts = run(6_000 if options.short else options.calls, options.seed, options.only)
    print(", ".join(f"{number:,} {what}" for what, number in counts.items()))
    figures.print_left_out(counts["calls"], CALLS, "calls")
    if not options.short and not options.only and options.calls >= CALLS:
        figures.keep("badinput", {**counts, _UNDOCUMENTED: counts[_UNDOCUMENTED], _CHANGED: counts[_CHANGED]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
