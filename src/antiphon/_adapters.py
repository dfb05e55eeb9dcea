"""Adapters that make a plain function an async listener."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isasyncgenfunction, isawaitable, isgeneratorfunction
from types import CoroutineType
from typing import Any, Final, Literal, TypeAlias, cast

from antiphon._events import stop_observer
from antiphon._listeners import Wrapper, is_async_callable, safe_repr

__all__ = ("SyncListeners", "adapted", "as_async", "as_sync", "check_sync_listeners", "in_thread", "inline")

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

    def described(self) -> str:
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
        return await result if isawaitable(result) else result

    def described(self) -> str:
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
        result = self.function(event) if stop_observer.get() is None else self._watched(event)
        if isawaitable(result):
            if isinstance(result, CoroutineType):
                result.close()
            raise TypeError(
                f"{safe_repr(self.function)} returned something to await, which a worker thread cannot do: register "
                f"inline({_name(self.function)})"
            )
        return result

    def _watched(self, event: Any) -> Any:
        # In a race: whoever waits for this thread cannot see the event being stopped by assignment, but it can.
        before = getattr(event, "propagation_stopped", False)
        try:
            return self.function(event)
        finally:
            observer = stop_observer.get()
            if observer is not None and not before and getattr(event, "propagation_stopped", False):
                observer(event)

    def described(self) -> str:
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


def _check_callable(function: object, expected: str) -> None:
    if not callable(function):
        raise TypeError(f"{expected}; got {safe_repr(function)} ({type(function).__name__}), which cannot be called")
    if isgeneratorfunction(function) or isasyncgenfunction(function):
        raise TypeError(
            f"{expected}; {safe_repr(function)} is a generator function, and calling it runs nothing of it: a listener "
            f"has no `yield`"
        )


_ADAPT: Final[dict[str, Callable[[Callable[[Any], Any]], Callable[[Any], Any]]]] = {
    "inline": inline,
    "thread": in_thread,
}


def as_async(listener: Any, sync_listeners: SyncListeners) -> Callable[[Any], Any]:
    """Give what an async dispatcher calls for a listener.

    Raises:
        TypeError: The listener is not callable, or it is a plain function and those are refused.
    """
    if is_async_callable(listener):
        return cast("Callable[[Any], Any]", listener)
    _check_callable(listener, "a listener is an async callable taking the event")
    if sync_listeners != "refuse":
        return _ADAPT[sync_listeners](listener)
    what, name = safe_repr(listener), _name(listener)
    raise TypeError(
        f"a listener of an AsyncEventDispatcher is an async callable taking the event; {what} is not known to be "
        f"async. Make it `async def`, or register inline({name}), which calls it on the event loop (and awaits what it "
        f"returns, if that can be awaited), or in_thread({name}), which runs it in a worker thread"
    )


def adapted(listener: Any, sync_listeners: SyncListeners) -> tuple[Any, str | None]:
    """Tell which function is called for a listener in the end, and the adapter that does it, if there is one."""
    call: Any = listener
    if sync_listeners != "refuse" and not is_async_callable(listener):
        call = _ADAPT[sync_listeners](listener)
    adapter = call.described() if isinstance(call, _Adapter) else None
    while isinstance(call, _Adapter):
        call = call.function
    return call, adapter


def as_sync(listener: Any) -> Callable[[Any], Any]:
    """Give what a sync dispatcher calls for a listener.

    Raises:
        TypeError: The listener is not callable, or it is async.
    """
    _check_callable(listener, "a listener is a callable taking the event")
    if is_async_callable(listener):
        raise TypeError(
            f"an EventDispatcher calls plain functions; {safe_repr(listener)} is async, and nobody would await it. "
            f"Register it with an AsyncEventDispatcher"
        )
    return cast("Callable[[Any], Any]", listener)


def check_sync_listeners(sync_listeners: object) -> SyncListeners:
    """Refuse an unknown way with plain functions.

    Raises:
        ValueError: It is none of the three.
    """
    for known in ("refuse", "inline", "thread"):
        if sync_listeners == known:
            return known
    raise ValueError(f'sync_listeners= is "refuse", "inline" or "thread"; got {safe_repr(sync_listeners)}')
