"""Adapters that make a plain function an async listener."""

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

#: What an ``AsyncEventDispatcher`` does with plain functions.
SyncListeners: TypeAlias = Literal["refuse", "inline", "thread"]


class _Adapter(Wrapper):
    """A listener around a function; two are equal if they do the same with the same function."""

    __slots__ = ("__weakref__", "function")

    function: Callable[[Any], Any]

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    @property
    def __wrapped__(self) -> Any:
        return self.function

    def describe(self) -> str:
        """Tell what it does with the function."""
        # A base, never made by itself.
        raise NotImplementedError

    def _options(self) -> tuple[Any, ...]:
        return ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Adapter) or type(other) is not type(self):
            return NotImplemented
        return bool(self.function == other.function) and self._options() == other._options()

    def __hash__(self) -> int:
        return hash((type(self), self.function, self._options()))


class _Inline(_Adapter):
    __slots__ = ()

    async def __call__(self, event: Any, /) -> Any:
        result = self.function(event)
        if isawaitable(result):
            return await result
        _refuse_unrun(result, self.function, "")
        return result

    def describe(self) -> str:
        return "inline"

    def __repr__(self) -> str:
        return f"inline({safe_repr(self.function)})"


class _InThread(_Adapter):
    __slots__ = ("abandon_on_cancel",)

    abandon_on_cancel: bool

    def __init__(self, function: Callable[[Any], Any], *, abandon_on_cancel: bool) -> None:
        super().__init__(function)
        self.abandon_on_cancel = abandon_on_cancel

    def _options(self) -> tuple[Any, ...]:
        return (self.abandon_on_cancel,)

    async def __call__(self, event: Any, /) -> Any:
        # Import it here: it loads the module for threads of anyio, and many programs start none.
        from anyio.to_thread import run_sync

        return await run_sync(self._run, event, abandon_on_cancel=self.abandon_on_cancel)

    def _run(self, event: Any) -> Any:
        is_watched = stop_observer.get() is not None and not reports_stops(event.__class__)
        result = self._call_and_report_stop(event) if is_watched else self.function(event)
        _refuse_unrun(
            result, self.function, f"which a worker thread cannot do: register inline({_name(self.function)})"
        )
        return result

    def _call_and_report_stop(self, event: Any) -> Any:
        # In a race: whoever waits for this thread cannot see the event being stopped by assignment, but it can.
        before = getattr(event, "propagation_stopped", False)
        try:
            return self.function(event)
        finally:
            observer = stop_observer.get()
            if observer is not None and not before and getattr(event, "propagation_stopped", False):
                observer(event)

    def describe(self) -> str:
        return "in_thread, abandon_on_cancel" if self.abandon_on_cancel else "in_thread"

    def __repr__(self) -> str:
        option = ", abandon_on_cancel=True" if self.abandon_on_cancel else ""
        return f"in_thread({safe_repr(self.function)}{option})"


def inline(function: Callable[[Any], Any], /) -> _Inline:
    """Make a function a listener that is called on the event loop, and whose result is awaited if it can be.

    For short plain functions, and for wrappers and lambdas that return what an async function gives them.
    A function that blocks stops the whole loop: use `in_thread` for that.

    Args:
        function: Called with the event.

    Returns:
        An async callable. Two of them are equal if their functions are.

    Raises:
        TypeError: The function is not callable.
    """
    _check_callable(function, "inline() takes a function of the event")
    return _Inline(function)


def in_thread(function: Callable[[Any], Any], /, *, abandon_on_cancel: bool = False) -> _InThread:
    """Make a function a listener that runs in a worker thread.

    The thread has a copy of the listener's context variables, and ``anyio.from_thread`` works in it.

    Args:
        function: Called with the event, in the thread.
        abandon_on_cancel: Whether a cancelled dispatch leaves the thread behind, running on its own; if not,
            the cancellation waits until the function has returned.

    Returns:
        An async callable. Two of them are equal if their functions and options are.

    Raises:
        TypeError: The function is not callable, or it is async: a worker thread has no loop to run it.
    """
    _check_callable(function, "in_thread() takes a function of the event")
    if is_async_callable(function):
        raise TypeError(
            f"in_thread() takes a plain function; {safe_repr(function)} is async, and is a listener as it is"
        )
    return _InThread(function, abandon_on_cancel=bool(abandon_on_cancel))


def _name(function: object) -> str:
    return getattr(function, "__name__", None) or safe_repr(function)


def _refuse_unrun(result: object, function: object, reason: str) -> None:
    # Refuse what a function returned, if nothing of that has run and nothing will run it.
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


#: The flags of functions that do not run to their end when they are called.
_NOT_PLAIN: Final = CO_COROUTINE | CO_GENERATOR | CO_ASYNC_GENERATOR

# How code returns what it returns. From Python 3.14 on one instruction returns all, and no function is known to return
# only constants.
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
    """Give what an async dispatcher calls for a listener.

    Raises:
        TypeError: The listener is not callable, or it is a plain function and those are refused.
    """
    if is_async_callable(listener):
        return cast("Callable[[Any], Any]", listener)
    _check_callable(listener, "a listener is an async callable taking the event")
    if sync_listeners != "refuse":
        return _ADAPTERS_BY_MODE[sync_listeners](listener)
    what, name = safe_repr(listener), _name(listener)
    raise TypeError(
        f"a listener of an AsyncEventDispatcher is an async callable taking the event; {what} is not known to be "
        f"async. Make it `async def`, or register inline({name}), which calls it on the event loop (and awaits what it "
        f"returns, if that can be awaited), or in_thread({name}), which runs it in a worker thread"
    )


def unwrap_adapter(listener: Any, sync_listeners: SyncListeners) -> tuple[Any, str | None]:
    """Tell which function is called for a listener in the end, and the adapter that does it, if there is one."""
    call: Any = listener
    if sync_listeners != "refuse" and not is_async_callable(listener):
        call = _ADAPTERS_BY_MODE[sync_listeners](listener)
    adapter = call.describe() if isinstance(call, _Adapter) else None
    while isinstance(call, _Adapter):
        call = call.function
    return call, adapter


def adapt_for_sync(listener: Any) -> Callable[[Any], Any]:
    """Give what a sync dispatcher calls for a listener.

    Raises:
        TypeError: The listener is not callable, or it is async.
    """
    if (
        listener.__class__ is FunctionType
        and not listener.__code__.co_flags & _NOT_PLAIN
        # What marks a function as async is in its attributes.
        and not listener.__dict__
        and _returns_constants(listener.__code__)
    ):
        return cast("Callable[[Any], Any]", listener)
    _check_callable(listener, "a listener is a callable taking the event")
    if is_async_callable(listener):
        raise TypeError(
            f"an EventDispatcher calls plain functions; {safe_repr(listener)} is async, and nobody would await it. "
            f"Register it with an AsyncEventDispatcher"
        )
    function = listener.__func__ if isinstance(listener, MethodType) else listener
    if isinstance(function, FunctionType) and _returns_constants(function.__code__):
        return cast("Callable[[Any], Any]", listener)
    return _checked(listener)


def _returns_constants(code: CodeType) -> bool:
    # Whether a function can return nothing but constants, such as None. Nearly all listeners do, so a dispatch calls
    # them as they are, and does not look at what they return: that would cost each call a twentieth of its time.
    operations = code.co_code[::2]
    if _RETURN_CONST is not None:
        return _RETURN not in operations
    # Python 3.11 loads a constant before it returns it. An `and`, `or` or `if` in an expression may jump over that with
    # another value.
    if not _JUMPS_WITH_VALUE.isdisjoint(operations):
        return False
    returns = [number for number, operation in enumerate(operations) if operation == _RETURN]
    return all(operations[number - 1] == _LOAD_CONST for number in returns)


def _checked(listener: Callable[[Any], Any]) -> Callable[[Any], Any]:
    # A plain function may return what an async one gave it, and only its call shows that.
    def call(event: Any, /) -> Any:
        result = listener(event)
        if result is not None:
            _refuse_unrun(
                result,
                listener,
                f"which an EventDispatcher cannot do: register inline({_name(listener)}) with an AsyncEventDispatcher",
            )
        return result

    return call


def check_sync_listeners(sync_listeners: object) -> SyncListeners:
    """Refuse an unknown way with plain functions.

    Raises:
        ValueError: It is none of the three.
    """
    for known in ("refuse", "inline", "thread"):
        if sync_listeners == known:
            return known
    raise ValueError(f'sync_listeners= is "refuse", "inline" or "thread"; got {safe_repr(sync_listeners)}')
