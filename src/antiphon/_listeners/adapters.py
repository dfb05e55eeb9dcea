"""Adapters: listeners that wrap a function, and call it in another way than a dispatch does.

An adapter in a class body is bound to an object like a function, so that it can adapt methods.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import isawaitable
from typing import Any, ClassVar, Final, Never, Self, TypeAlias, TypeVar

from antiphon._events.attributes import reports_stops
from antiphon._events.stop_observer import stop_observer
from antiphon._listeners.checks import check_callable, check_has_run, format_argument
from antiphon._util.arguments import hides_collected_arguments, make_argument_error
from antiphon._util.callables import is_async_callable
from antiphon._util.naming import Wrapper, safe_repr

__all__ = ("Adaptable", "Adapter", "in_thread", "inline", "is_name_aware", "name_usage", "unbind_name")

T = TypeVar("T")

#: A function of the event, or a method of it in a class body.
Adaptable: TypeAlias = Callable[[Any], Any] | Callable[[Any, Any], Any]


class Adapter(Wrapper):
    """A listener that wraps a function. Two adapters are equal if their classes, functions and options are.

    Abstract: subclasses define `describe`.
    """

    #: Whether the adapter passes its arguments on to the function.
    passes_event: ClassVar[bool] = False
    #: Whether the adapter adds the name of the dispatch to the arguments.
    passes_name: ClassVar[bool] = False

    # `listens_to` marks an adapter with an attribute.
    __slots__ = ("__dict__", "__weakref__", "function")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function: Callable[..., Any] = function

    def __get__(self, instance: object, owner: type[Any] | None = None) -> Self:
        if instance is None or isinstance(self.function, partial) or not hasattr(type(self.function), "__get__"):
            return self
        return self.replace(self.function.__get__(instance, owner))

    def replace(self, function: Callable[..., Any]) -> Self:
        """Return a copy that wraps another function."""
        return type(self)(function)

    @property
    def __wrapped__(self) -> Any:
        return self.function

    def describe(self) -> str:
        """Return the name of the adapter and its options."""
        raise NotImplementedError

    def _comparison_key(self) -> tuple[Any, ...]:
        return (self.function,)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Adapter) or type(other) is not type(self):
            return NotImplemented
        return self._comparison_key() == other._comparison_key()

    def __hash__(self) -> int:
        return hash((type(self), *self._comparison_key()))


class _NameUsage:
    """Whether a listener of this process receives the name of the dispatch.

    Most programs have none. Their plans are made without looking for one.
    """

    __slots__ = ("is_used",)

    def __init__(self) -> None:
        self.is_used = False


name_usage: Final = _NameUsage()


def is_name_aware(listener: object) -> bool:
    """Return whether a listener receives the name of the dispatch, itself or in adapters."""
    while isinstance(listener, Adapter) and not listener.passes_name:
        listener = listener.function
    cls: type[Any] = listener.__class__
    return getattr(cls, "passes_name", False) is True


def unbind_name(subscription: T) -> T:
    """Return the registration of a subscription in a plan, which may be bound to a name."""
    unbound: T = getattr(subscription, "name_unbound", subscription)
    return unbound


class _Inline(Adapter):
    __slots__ = ()

    passes_event = True

    async def __call__(self, event: Any, /) -> Any:
        result = self.function(event)
        if isawaitable(result):
            return await result
        check_has_run(result, self.function, "")
        return result

    def describe(self) -> str:
        return "inline"

    def __repr__(self) -> str:
        return f"inline({safe_repr(self.function)})"


class _InThread(Adapter):
    __slots__ = ("abandon_on_cancel",)

    passes_event = True

    def __init__(self, function: Callable[..., Any], *, abandon_on_cancel: bool) -> None:
        super().__init__(function)
        self.abandon_on_cancel: bool = abandon_on_cancel

    def replace(self, function: Callable[..., Any]) -> Self:
        return type(self)(function, abandon_on_cancel=self.abandon_on_cancel)

    def _comparison_key(self) -> tuple[Any, ...]:
        return (self.function, self.abandon_on_cancel)

    async def __call__(self, event: Any, /) -> Any:
        # Import it here: it loads anyio's module for threads, and many programs do not use threads.
        from anyio.to_thread import run_sync

        return await run_sync(self._run, event, abandon_on_cancel=self.abandon_on_cancel)

    def _run(self, event: Any) -> Any:
        observer = stop_observer.get()
        if observer is None or reports_stops(event.__class__):
            result = self.function(event)
        else:
            result = self._call_and_report_stop(event, observer)
        check_has_run(
            result,
            self.function,
            f"which a worker thread cannot do: register inline({format_argument(self.function)})",
        )
        return result

    def _call_and_report_stop(self, event: Any, observer: Callable[[Any], None]) -> Any:
        # The task that waits for this thread would notice too late that the event was stopped by an assignment. In a
        # race, the other listeners have to be cancelled at once.
        was_stopped = getattr(event, "propagation_stopped", False)
        try:
            return self.function(event)
        finally:
            if not was_stopped and getattr(event, "propagation_stopped", False):
                observer(event)

    def describe(self) -> str:
        return "in_thread, abandon_on_cancel" if self.abandon_on_cancel else "in_thread"

    def __repr__(self) -> str:
        option = ", abandon_on_cancel=True" if self.abandon_on_cancel else ""
        return f"in_thread({safe_repr(self.function)}{option})"


def inline(function: Adaptable, /) -> _Inline:
    """Make a listener that calls a function in the event loop, and awaits the result if it is awaitable.

    Use it for short plain functions, and for wrappers and lambdas that return the result of an async function.
    A function that blocks stops the whole event loop: use `in_thread` for it.

    Args:
        function: A callable of the event. In a class body, a method of the event.

    Returns:
        An async callable. Two of them are equal if their functions are.

    Raises:
        TypeError: If the function is not callable.
    """
    check_callable(function, "inline() takes a function of the event")
    return _Inline(function)


@hides_collected_arguments
def in_thread(function: Adaptable, /, *extra: Never, abandon_on_cancel: bool = False, **unknown: Never) -> _InThread:
    """Make a listener that calls a function in a worker thread.

    The thread has a copy of the listener's context variables, and ``anyio.from_thread`` works in it.

    Args:
        function: A callable of the event. In a class body, a method of the event.
        abandon_on_cancel: Whether a cancelled dispatch leaves the thread running, and ignores its result. By default
            the cancellation waits until the function has returned.

    Returns:
        An async callable. Two of them are equal if their functions and options are.

    Raises:
        TypeError: If the function is not callable, or is async: a worker thread has no event loop to run it.
    """
    if extra or unknown:
        raise make_argument_error(in_thread, "in_thread(function)", extra, unknown)
    check_callable(function, "in_thread() takes a function of the event")
    if is_async_callable(function):
        raise TypeError(
            f"in_thread() takes a plain function; {safe_repr(function)} is async: register it without in_thread()"
        )
    return _InThread(function, abandon_on_cancel=bool(abandon_on_cancel))
