"""Listeners that are made for each dispatch, for containers of dependency injection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeVar, overload

from antiphon._listeners.adapters import Adapter
from antiphon._listeners.checks import check_has_run
from antiphon._util.callables import is_async_callable
from antiphon._util.naming import describe_value, safe_repr
from antiphon._util.validation import check_parameters

__all__ = ("resolved",)

T = TypeVar("T")
E = TypeVar("E")
R = TypeVar("R")


class _Resolved(Adapter):
    """A listener that enters a context manager for each call, and calls its value."""

    __slots__ = ("opened",)

    def __init__(self, cls: type[Any], opened: Callable[[Any], Any]) -> None:
        super().__init__(cls)
        self.opened = opened

    def __get__(self, instance: object, owner: type[Any] | None = None) -> _Resolved:
        # A class and its context manager do not depend on the object.
        return self

    def _comparison_key(self) -> tuple[Any, ...]:
        return (self.function, self.opened)

    def __call__(self, *arguments: Any) -> Any:
        with self._open("__enter__") as instance:
            _check_instance(self, instance)
            result = instance(*arguments)
            check_has_run(result, instance, "which is not awaited: make the `__call__` of its class `async def`")
            return result

    def _open(self, method: str) -> Any:
        manager = self.opened(self.function)
        if not hasattr(manager, method):
            kind = "an async context manager" if method == "__aenter__" else "a context manager"
            raise TypeError(
                f"the second argument of resolved() returns {kind}, such as a function that is decorated with "
                f"@{'async' * (method == '__aenter__')}contextmanager; {safe_repr(self.opened)} returned "
                f"{describe_value(manager)}"
            )
        return manager

    @property
    def __signature__(self) -> Any:
        import inspect

        call: Any = getattr(self.function, "__call__")  # noqa: B004, B009  mypy: a class is not callable
        signature = inspect.signature(call)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def describe(self) -> str:
        return "resolved"

    def __repr__(self) -> str:
        return f"resolved({safe_repr(self.function)}, {safe_repr(self.opened)})"


class _AsyncResolved(_Resolved):
    __slots__ = ()

    async def __call__(self, *arguments: Any) -> Any:
        async with self._open("__aenter__") as instance:
            _check_instance(self, instance)
            return await instance(*arguments)


def _check_instance(listener: _Resolved, instance: object) -> None:
    if not callable(instance):
        raise TypeError(
            f"the context manager of resolved() returns an instance of {listener.function.__name__}, which is then "
            f"called; {safe_repr(listener.opened)} made one that returned {describe_value(instance)}"
        )


@overload
def resolved(
    cls: type[T], opened: Callable[[type[T]], AbstractAsyncContextManager[Callable[[E], Awaitable[R]]]], /
) -> Callable[[E], Awaitable[R]]: ...
@overload
def resolved(
    cls: type[T], opened: Callable[[type[T]], AbstractContextManager[Callable[[E], R]]], /
) -> Callable[[E], R]: ...
def resolved(cls: Any, opened: Any, /) -> Callable[..., Any]:
    """Make a listener that is a new instance of a class in each dispatch, for containers of dependency injection.

    Each call runs ``async with opened(cls) as instance: await instance(event)``. The exceptions of the instance and a
    cancellation pass through the context manager, which may clean up, or handle an exception. If the ``__call__`` of
    the class is a plain function, the call runs ``with opened(cls) as instance: instance(event)``: register it with an
    `EventDispatcher`, or in `inline` or `in_thread`.

    Args:
        cls: The class. Its instances are async callables of the event, or plain ones. Names and descriptions show it.
        opened: A function of the class that returns a context manager, async if the ``__call__`` is. The value of the
            context manager is the instance.

    Returns:
        A callable of the event. Two of them are equal if their arguments are.

    Raises:
        TypeError: If ``cls`` is not a class whose instances can be called, or ``opened`` is not a function.
    """
    if not isinstance(cls, type):
        raise TypeError(
            f"resolved() takes a class, and a function that opens an instance of it, as in resolved(SendReceipt, "
            f"container.open); got {describe_value(cls)}"
        )
    # Not `cls.__call__`, which every class inherits from its metaclass.
    call: Any = next((vars(base)["__call__"] for base in cls.__mro__ if "__call__" in vars(base)), None)
    if call is None:
        raise TypeError(
            f"resolved() takes a class whose instances are listeners; {cls.__name__} has no `__call__`: add "
            f"`async def __call__(self, event)`"
        )
    if not callable(opened) or is_async_callable(opened):
        raise TypeError(
            f"resolved() takes a function of the class that returns a context manager, such as one that is decorated "
            f"with @asynccontextmanager; got {describe_value(opened)}"
        )
    check_parameters(opened, ("cls",), "resolved() takes a function of the class that returns a context manager")
    return (_AsyncResolved if is_async_callable(call) else _Resolved)(cls, opened)


resolved.__module__ = "antiphon"
