"""Making a listener callable for a dispatcher, at its registration.

`adapt_for_async` and `adapt_for_sync` return the callable that a dispatch calls for a listener, or raise a `TypeError`
that shows how to fix the listener.
"""

from __future__ import annotations

from collections.abc import Callable
from dis import opmap
from functools import partial
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from types import CodeType, FunctionType, MethodType
from typing import Any, Final, Literal, TypeAlias, cast

from antiphon._listeners.adapters import Adapter, in_thread, inline, is_name_aware
from antiphon._listeners.checks import check_callable, check_has_run, format_argument, refuse_signature
from antiphon._util.callables import find_mismatch, is_async_callable
from antiphon._util.naming import safe_repr, unwrap_proxy

__all__ = ("SyncListeners", "adapt_for_async", "adapt_for_sync", "check_sync_listeners", "unwrap_adapter")

#: How an ``AsyncEventDispatcher`` handles plain functions.
SyncListeners: TypeAlias = Literal["refuse", "inline", "thread"]

#: The flags of functions whose body does not run when they are called.
_NOT_PLAIN: Final = CO_COROUTINE | CO_GENERATOR | CO_ASYNC_GENERATOR

#: A call of a class makes an instance, and an adapter calls another function.
_CALLED_OTHERWISE: Final = (type, Adapter)

# Python 3.12 and 3.13 have a separate instruction that returns a constant. Other versions load the constant first.
_RETURN: Final = opmap["RETURN_VALUE"]
_RETURN_CONST: Final = opmap.get("RETURN_CONST")
_LOADS_OF_CONSTANTS: Final = frozenset(
    (opmap["LOAD_CONST"], opmap.get("LOAD_SMALL_INT"), opmap.get("LOAD_COMMON_CONSTANT"))
)
_JUMPS_WITH_VALUE: Final = frozenset(
    (opmap["JUMP_FORWARD"], opmap.get("JUMP_IF_FALSE_OR_POP"), opmap.get("JUMP_IF_TRUE_OR_POP"))
)
# From Python 3.14 on, an `and` or `or` in an expression copies its value, and tests the copy (TO_BOOL, from 3.13 on).
_TEST_OF_COPY: Final = bytes((opmap["COPY"], 1, opmap.get("TO_BOOL", 0)))

_ADAPTERS_BY_MODE: Final[dict[str, Callable[[Callable[[Any], Any]], Callable[[Any], Any]]]] = {
    "inline": inline,
    "thread": in_thread,
}


def adapt_for_async(listener: Any, sync_listeners: SyncListeners) -> Callable[[Any], Any]:
    """Return the callable that an async dispatcher calls for a listener.

    Raises:
        TypeError: If the listener cannot be called with an event, or is a plain function and ``sync_listeners`` is
            ``"refuse"``.
    """
    call: Callable[[Any], Any] = listener
    called = _find_called_function(listener)
    if called is not None and called.__code__.co_flags & CO_COROUTINE:
        return call
    if is_async_callable(listener):
        _check_arguments(listener)
        return call
    adapter = _find_adapter_in_class(listener)
    if adapter is not None:
        return adapt_for_async(adapter, sync_listeners)
    check_callable(listener, "a listener is an async callable taking the event")
    _check_arguments(listener)
    if sync_listeners != "refuse":
        return _ADAPTERS_BY_MODE[sync_listeners](listener)
    argument = format_argument(listener)
    in_class = ""
    if isinstance(listener, MethodType):
        # Also the way for a method that is marked with `listens_to`.
        in_class = f". In its class, @inline or @in_thread above `def {listener.__name__}` does the same"
    raise TypeError(
        f"a listener of an AsyncEventDispatcher is an async callable taking the event; {safe_repr(listener)} is not "
        f"known to be async. Make it `async def`, or register inline({argument}), which calls it in the event loop and "
        f"awaits the result if it is awaitable, or in_thread({argument}), which calls it in a worker thread{in_class}"
    )


def unwrap_adapter(listener: Any, sync_listeners: SyncListeners) -> tuple[Any, str | None]:
    """Return the function that a listener wraps, and the names of its adapters, or None if it has none."""
    listener = unwrap_proxy(listener)
    function: Any = listener
    if type(listener) is MethodType:
        function = _find_adapter_in_class(listener) or listener
    if sync_listeners != "refuse" and not is_async_callable(function):
        function = _ADAPTERS_BY_MODE[sync_listeners](function)
    adapters: list[str] = []
    # Not isinstance(), which reads an attribute of the listener, and may run user code that raises.
    while issubclass(type(function), Adapter):
        adapters.append(function.describe())
        function = function.function
    return function, ", ".join(adapters) or None


def adapt_for_sync(listener: Any) -> Callable[[Any], Any]:
    """Return the callable that a sync dispatcher calls for a listener.

    Raises:
        TypeError: If the listener cannot be called with an event, or is async.
    """
    # As in `_find_called_function`, but for functions and methods only: an object may be marked as async.
    function, count = listener, 1
    if type(listener) is MethodType:
        function, count = listener.__func__, 2
    if (
        type(function) is FunctionType
        and not (code := function.__code__).co_flags & _NOT_PLAIN
        # A function that is marked as async has the mark in its attributes.
        and not function.__dict__
        and code.co_argcount == count
        and not code.co_kwonlyargcount
    ):
        call: Callable[[Any], Any] = listener
        return call if _returns_constants(code) else _wrap_with_check(call)
    adapter = _find_adapter_in_class(listener)
    if adapter is not None:
        return adapt_for_sync(adapter)
    check_callable(listener, "a listener is a callable taking the event")
    if is_async_callable(listener):
        raise TypeError(
            f"an EventDispatcher calls plain functions; {safe_repr(listener)} is async, and would not be awaited. "
            f"Register it with an AsyncEventDispatcher"
        )
    _check_arguments(listener)
    if is_name_aware(listener):
        return _Checked(listener)
    function = listener.__func__ if isinstance(listener, MethodType) else listener
    if isinstance(function, FunctionType) and _returns_constants(function.__code__):
        return cast("Callable[[Any], Any]", listener)
    return _wrap_with_check(listener)


def _find_called_function(listener: object) -> FunctionType | None:
    """Return the function that a call of a listener with the event runs, None if finding it out takes longer.

    It answers for nearly all listeners, in a fraction of the time of the other checks.
    """
    function: Any
    count = 2
    if type(listener) is MethodType:
        function = listener.__func__
    elif type(listener) is FunctionType:
        function = listener
        count = 1
    elif type(listener) is partial:
        if listener.keywords:
            return None
        function = listener.func
        count = 1 + len(listener.args)
    elif issubclass(type(listener), _CALLED_OTHERWISE):
        return None
    else:
        function = getattr(type(listener), "__call__", None)  # noqa: B004  not whether it is callable
    if type(function) is not FunctionType:
        return None
    code = function.__code__
    return function if code.co_argcount == count and not code.co_kwonlyargcount else None


def _find_adapter_in_class(listener: object) -> Adapter | None:
    """Return the bound adapter of a class method or a ``__call__`` that is decorated with an adapter, or None."""
    instance: Any = listener
    function: Any
    if isinstance(listener, MethodType):
        function, instance = listener.__func__, listener.__self__
    else:
        function = getattr(type(listener), "__call__", None)  # noqa: B004  not whether it is callable
    # Not isinstance(), as in `unwrap_adapter`.
    return function.__get__(instance, type(instance)) if issubclass(type(function), Adapter) else None


def _check_arguments(listener: Any) -> None:
    count = 1
    while isinstance(listener, Adapter):
        count += listener.passes_name
        listener = listener.function
    if isinstance(listener, type):
        # The class of `resolved`: its instances are called.
        mismatch = find_mismatch(cast("Any", listener).__call__, count, given=1)
    else:
        mismatch = find_mismatch(listener, count)
    if mismatch is not None:
        refuse_signature(listener, count, mismatch)


def _returns_constants(code: CodeType) -> bool:
    # Nearly all listeners can return only constants, such as None. A dispatch calls them directly, because a wrapper
    # that checks their results would make each call slower.
    operations = code.co_code[::2]
    if _RETURN_CONST is not None:
        return _RETURN not in operations
    # An `and`, `or` or `if` in an expression may load another value, and jump over the constant to the return.
    if not _JUMPS_WITH_VALUE.isdisjoint(operations) or _TEST_OF_COPY in code.co_code:
        return False
    returns = [number for number, operation in enumerate(operations) if operation == _RETURN]
    return all(operations[number - 1] in _LOADS_OF_CONSTANTS for number in returns)


def _wrap_with_check(listener: Callable[[Any], Any]) -> Callable[[Any], Any]:
    # A plain function may return the coroutine of an async one. Only its result shows that.
    def call(event: Any, /) -> Any:
        result = listener(event)
        if result is not None:
            _check_result(result, listener)
        return result

    return call


class _Checked(Adapter):
    """The same for a listener that receives the name, as an object that can be copied with the name."""

    __slots__ = ()

    def __call__(self, event: Any, /) -> Any:
        result = self.function(event)
        _check_result(result, self.function)
        return result


def _check_result(result: object, listener: Callable[[Any], Any]) -> None:
    check_has_run(
        result,
        listener,
        f"which an EventDispatcher cannot do: register inline({format_argument(listener)}) with an "
        f"AsyncEventDispatcher",
    )


def check_sync_listeners(sync_listeners: object) -> SyncListeners:
    """Return ``sync_listeners`` if it is valid.

    Raises:
        ValueError: If it is not ``"refuse"``, ``"inline"`` or ``"thread"``.
    """
    for known in ("refuse", "inline", "thread"):
        if sync_listeners == known:
            return known
    raise ValueError(f'sync_listeners= is "refuse", "inline" or "thread"; got {safe_repr(sync_listeners)}')
