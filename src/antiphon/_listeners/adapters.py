"""Checks of a listener at its registration, and adapters that make a plain function an async listener.

`adapt_for_async` and `adapt_for_sync` return the callable that a dispatch calls for a listener, or raise a `TypeError`
that shows how to fix the listener.
"""

from __future__ import annotations

from collections.abc import Callable
from dis import opmap
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, isawaitable
from types import CodeType, FunctionType, MethodType
from typing import Any, Final, Literal, TypeAlias, cast

from antiphon._events.attributes import reports_stops
from antiphon._events.stop_observer import stop_observer
from antiphon._util.callables import find_unrun_kind, is_async_callable, is_generator_callable, unwrap_callable
from antiphon._util.naming import Wrapper, safe_repr

__all__ = (
    "SyncListeners",
    "adapt_for_async",
    "adapt_for_sync",
    "check_sync_listeners",
    "in_thread",
    "inline",
    "unwrap_adapter",
)

#: How an ``AsyncEventDispatcher`` handles plain functions.
SyncListeners: TypeAlias = Literal["refuse", "inline", "thread"]


class _Adapter(Wrapper):
    """A listener that wraps a function. Two adapters are equal if their classes, functions and options are.

    Abstract: `_Inline` and `_InThread` define `describe`.
    """

    __slots__ = ("__weakref__", "function")

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function: Callable[[Any], Any] = function

    @property
    def __wrapped__(self) -> Any:
        return self.function

    def describe(self) -> str:
        """Return the name of the adapter and its options."""
        raise NotImplementedError

    def _comparison_key(self) -> tuple[Any, ...]:
        return (self.function,)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Adapter) or type(other) is not type(self):
            return NotImplemented
        return self._comparison_key() == other._comparison_key()

    def __hash__(self) -> int:
        return hash((type(self), *self._comparison_key()))


class _Inline(_Adapter):
    __slots__ = ()

    async def __call__(self, event: Any, /) -> Any:
        result = self.function(event)
        if isawaitable(result):
            return await result
        _check_has_run(result, self.function, "")
        return result

    def describe(self) -> str:
        return "inline"

    def __repr__(self) -> str:
        return f"inline({safe_repr(self.function)})"


class _InThread(_Adapter):
    __slots__ = ("abandon_on_cancel",)

    def __init__(self, function: Callable[[Any], Any], *, abandon_on_cancel: bool) -> None:
        super().__init__(function)
        self.abandon_on_cancel: bool = abandon_on_cancel

    def _comparison_key(self) -> tuple[Any, ...]:
        return (self.function, self.abandon_on_cancel)

    async def __call__(self, event: Any, /) -> Any:
        # Import it here: it loads anyio's module for threads, and many programs do not use threads.
        from anyio.to_thread import run_sync

        return await run_sync(self._run, event, abandon_on_cancel=self.abandon_on_cancel)

    def _run(self, event: Any) -> Any:
        has_unreported_stops = stop_observer.get() is not None and not reports_stops(event.__class__)
        result = self._call_and_report_stop(event) if has_unreported_stops else self.function(event)
        _check_has_run(
            result,
            self.function,
            f"which a worker thread cannot do: register inline({_format_argument(self.function)})",
        )
        return result

    def _call_and_report_stop(self, event: Any) -> Any:
        # The task that waits for this thread would notice too late that the event was stopped by an assignment. In a
        # race, the other listeners have to be cancelled at once.
        was_stopped = getattr(event, "propagation_stopped", False)
        try:
            return self.function(event)
        finally:
            observer = stop_observer.get()
            if observer is not None and not was_stopped and getattr(event, "propagation_stopped", False):
                observer(event)

    def describe(self) -> str:
        return "in_thread, abandon_on_cancel" if self.abandon_on_cancel else "in_thread"

    def __repr__(self) -> str:
        option = ", abandon_on_cancel=True" if self.abandon_on_cancel else ""
        return f"in_thread({safe_repr(self.function)}{option})"


def inline(function: Callable[[Any], Any], /) -> _Inline:
    """Make a listener that calls a function in the event loop, and awaits the result if it is awaitable.

    Use it for short plain functions, and for wrappers and lambdas that return the result of an async function.
    A function that blocks stops the whole event loop: use `in_thread` for it.

    Args:
        function: A callable of the event.

    Returns:
        An async callable. Two of them are equal if their functions are.

    Raises:
        TypeError: If the function is not callable.
    """
    _check_callable(function, "inline() takes a function of the event")
    return _Inline(function)


def in_thread(function: Callable[[Any], Any], /, *, abandon_on_cancel: bool = False) -> _InThread:
    """Make a listener that calls a function in a worker thread.

    The thread has a copy of the listener's context variables, and ``anyio.from_thread`` works in it.

    Args:
        function: A callable of the event.
        abandon_on_cancel: Whether a cancelled dispatch leaves the thread running, and ignores its result. By default
            the cancellation waits until the function has returned.

    Returns:
        An async callable. Two of them are equal if their functions and options are.

    Raises:
        TypeError: If the function is not callable, or is async: a worker thread has no event loop to run it.
    """
    _check_callable(function, "in_thread() takes a function of the event")
    if is_async_callable(function):
        raise TypeError(
            f"in_thread() takes a plain function; {safe_repr(function)} is async: register it without in_thread()"
        )
    return _InThread(function, abandon_on_cancel=bool(abandon_on_cancel))


def _format_argument(function: object) -> str:
    # For the code that a message suggests. `listener_name` returns dotted names, which are rarely valid code there.
    return getattr(function, "__name__", None) or safe_repr(function)


def _check_has_run(result: object, function: object, reason: str) -> None:
    # An awaitable or a generator that a function returned has not run, and is not going to.
    kind = "" if result is None else find_unrun_kind(result)
    if not kind:
        return
    if kind == "a generator":
        raise TypeError(f"a listener has no `yield`; {safe_repr(function)} returned a generator, so nothing of it runs")
    raise TypeError(f"{safe_repr(function)} returned {kind}, {reason}")


def _check_callable(function: object, expected: str) -> None:
    if not callable(function):
        raise TypeError(f"{expected}; got {safe_repr(function)} ({type(function).__name__}), which cannot be called")
    called = unwrap_callable(function)
    if isinstance(called, type) and not hasattr(called, "__await__"):
        raise TypeError(
            f"{expected}; got the class {called.__name__}, which only makes an instance when it is called, and the "
            f"instance is dropped: make an instance that can be called, {called.__name__}(...)"
        )
    if is_generator_callable(function):
        raise TypeError(
            f"{expected}; {safe_repr(function)} is a generator function, or has one as its `__call__`, and calling it "
            f"runs nothing of it: a listener has no `yield`"
        )


#: The flags of functions whose body does not run when they are called.
_NOT_PLAIN: Final = CO_COROUTINE | CO_GENERATOR | CO_ASYNC_GENERATOR

# Python 3.12 and 3.13 have a separate instruction that returns a constant. Other versions load the constant first.
_RETURN: Final = opmap["RETURN_VALUE"]
_RETURN_CONST: Final = opmap.get("RETURN_CONST")
_LOAD_CONST: Final = opmap["LOAD_CONST"]
_JUMPS_WITH_VALUE: Final = frozenset(
    (opmap["JUMP_FORWARD"], opmap.get("JUMP_IF_FALSE_OR_POP"), opmap.get("JUMP_IF_TRUE_OR_POP"))
)

_ADAPTERS_BY_MODE: Final[dict[str, Callable[[Callable[[Any], Any]], Callable[[Any], Any]]]] = {
    "inline": inline,
    "thread": in_thread,
}


def adapt_for_async(listener: Any, sync_listeners: SyncListeners) -> Callable[[Any], Any]:
    """Return the callable that an async dispatcher calls for a listener.

    Raises:
        TypeError: If the listener is not callable, or is a plain function and ``sync_listeners`` is ``"refuse"``.
    """
    if is_async_callable(listener):
        return cast("Callable[[Any], Any]", listener)
    _check_callable(listener, "a listener is an async callable taking the event")
    if sync_listeners != "refuse":
        return _ADAPTERS_BY_MODE[sync_listeners](listener)
    argument = _format_argument(listener)
    raise TypeError(
        f"a listener of an AsyncEventDispatcher is an async callable taking the event; {safe_repr(listener)} is not "
        f"known to be async. Make it `async def`, or register inline({argument}), which calls it in the event loop and "
        f"awaits the result if it is awaitable, or in_thread({argument}), which calls it in a worker thread"
    )


def unwrap_adapter(listener: Any, sync_listeners: SyncListeners) -> tuple[Any, str | None]:
    """Return the function that a listener wraps, and the name of its adapter, or None if it has none."""
    function: Any = listener
    if sync_listeners != "refuse" and not is_async_callable(listener):
        function = _ADAPTERS_BY_MODE[sync_listeners](listener)
    adapter = function.describe() if isinstance(function, _Adapter) else None
    while isinstance(function, _Adapter):
        function = function.function
    return function, adapter


def adapt_for_sync(listener: Any) -> Callable[[Any], Any]:
    """Return the callable that a sync dispatcher calls for a listener.

    Raises:
        TypeError: If the listener is not callable, or is async.
    """
    if (
        listener.__class__ is FunctionType
        and not listener.__code__.co_flags & _NOT_PLAIN
        # A function that is marked as async has the mark in its attributes.
        and not listener.__dict__
        and _returns_constants(listener.__code__)
    ):
        return cast("Callable[[Any], Any]", listener)
    _check_callable(listener, "a listener is a callable taking the event")
    if is_async_callable(listener):
        raise TypeError(
            f"an EventDispatcher calls plain functions; {safe_repr(listener)} is async, and would not be awaited. "
            f"Register it with an AsyncEventDispatcher"
        )
    function = listener.__func__ if isinstance(listener, MethodType) else listener
    if isinstance(function, FunctionType) and _returns_constants(function.__code__):
        return cast("Callable[[Any], Any]", listener)
    return _wrap_with_check(listener)


def _returns_constants(code: CodeType) -> bool:
    # Nearly all listeners can return only constants, such as None. A dispatch calls them directly, because a wrapper
    # that checks their results would make each call slower.
    operations = code.co_code[::2]
    if _RETURN_CONST is not None:
        return _RETURN not in operations
    # An `and`, `or` or `if` in an expression may load another value, and jump over the constant to the return.
    if not _JUMPS_WITH_VALUE.isdisjoint(operations):
        return False
    returns = [number for number, operation in enumerate(operations) if operation == _RETURN]
    return all(operations[number - 1] == _LOAD_CONST for number in returns)


def _wrap_with_check(listener: Callable[[Any], Any]) -> Callable[[Any], Any]:
    # A plain function may return the coroutine of an async one. Only its result shows that.
    def call(event: Any, /) -> Any:
        result = listener(event)
        if result is not None:
            _check_has_run(
                result,
                listener,
                f"which an EventDispatcher cannot do: register inline({_format_argument(listener)}) with an "
                f"AsyncEventDispatcher",
            )
        return result

    return call


def check_sync_listeners(sync_listeners: object) -> SyncListeners:
    """Return ``sync_listeners`` if it is valid.

    Raises:
        ValueError: If it is not ``"refuse"``, ``"inline"`` or ``"thread"``.
    """
    for known in ("refuse", "inline", "thread"):
        if sync_listeners == known:
            return known
    raise ValueError(f'sync_listeners= is "refuse", "inline" or "thread"; got {safe_repr(sync_listeners)}')
