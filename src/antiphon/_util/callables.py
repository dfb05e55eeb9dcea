"""Whether calling an object gives an awaitable or a generator."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Coroutine
from functools import partial
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_ITERABLE_COROUTINE, isawaitable
from types import AsyncGeneratorType, FunctionType, GeneratorType, MethodType
from typing import Any, Final, cast

__all__ = (
    "find_unrun_kind",
    "is_async_callable",
    "is_generator_callable",
    "unwrap_callable",
)


#: The flags of functions whose result can be awaited: those of `async def`, and of ``types.coroutine`` on a generator.
_AWAITABLE: Final = CO_COROUTINE | CO_ITERABLE_COROUTINE


def is_async_callable(candidate: Any) -> bool:
    """Return whether calling an object gives something to await, as far as can be known without calling it."""
    function = candidate.__func__ if type(candidate) is MethodType else candidate
    if type(function) is FunctionType:
        # The flags answer for nearly all, in a tenth of the time.
        return bool(function.__code__.co_flags & _AWAITABLE) or _is_marked_coroutine_function(candidate)
    called = unwrap_callable(candidate)
    if called is not candidate:
        return is_async_callable(called)
    if isinstance(candidate, type):
        # Calling it makes an instance.
        return False
    if not callable(candidate):
        return False
    if isinstance(candidate, MethodType):
        # Of something that is not a function.
        return _is_marked_coroutine_function(candidate)
    # The class says it with its __call__, an instance (of a mock) with a mark.
    call = unwrap_callable(type(candidate).__call__)
    return (
        bool(_flags_of(call) & _AWAITABLE)
        or _is_marked_coroutine_function(call)
        or _is_marked_coroutine_function(candidate)
    )


def is_generator_callable(candidate: Any) -> bool:
    """Return whether calling an object gives a generator, so that nothing of it runs."""
    candidate = unwrap_callable(candidate)
    if not isinstance(candidate, (FunctionType, MethodType, type)) and callable(candidate):
        candidate = unwrap_callable(type(candidate).__call__)
    flags = _flags_of(candidate)
    return bool(flags & (CO_GENERATOR | CO_ASYNC_GENERATOR)) and not flags & _AWAITABLE


def unwrap_callable(candidate: Any) -> Any:
    """Return what is called in the end by a ``functools.partial`` or a ``staticmethod`` object."""
    while isinstance(candidate, (partial, staticmethod)):
        candidate = candidate.func if isinstance(candidate, partial) else cast("Any", candidate).__func__
    return candidate


def _flags_of(function: Any) -> int:
    if isinstance(function, MethodType):
        function = function.__func__
    return function.__code__.co_flags if isinstance(function, FunctionType) else 0


def find_unrun_kind(result: object) -> str:
    """Return what a result is called that runs nothing by itself: an awaitable or a generator; empty for all others.

    A coroutine or a generator is closed, because the caller is going to refuse it. It would warn that it was never
    awaited otherwise.
    """
    if isawaitable(result):
        kind = "something to await"
    elif isinstance(result, (GeneratorType, AsyncGeneratorType)):
        kind = "a generator"
    else:
        return ""
    if isinstance(result, (Coroutine, GeneratorType)):
        result.close()
    return kind


if sys.version_info >= (3, 14):
    _is_marked_coroutine_function = inspect.iscoroutinefunction
else:

    def _is_marked_coroutine_function(candidate: Any) -> bool:
        # In these versions the mark that a mock carries is known to asyncio alone, which has been imported by
        # whoever made the mock, and must not be imported by us.
        asyncio = sys.modules.get("asyncio")
        known = asyncio.iscoroutinefunction if asyncio is not None else inspect.iscoroutinefunction
        return bool(known(candidate))
