"""Functions that find out what calling an object does: whether it fails, or returns an awaitable or a generator.

`to_coroutine` turns an awaitable of any kind into a coroutine.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Coroutine
from functools import partial
from inspect import (
    CO_ASYNC_GENERATOR,
    CO_COROUTINE,
    CO_GENERATOR,
    CO_ITERABLE_COROUTINE,
    CO_VARARGS,
    CO_VARKEYWORDS,
    isawaitable,
)
from types import AsyncGeneratorType, FunctionType, GeneratorType, MethodType
from typing import Any, Final, NamedTuple

__all__ = (
    "Mismatch",
    "find_mismatch",
    "find_unrun_kind",
    "is_async_callable",
    "is_generator_callable",
    "to_coroutine",
    "unwrap_callable",
)


#: The flags of functions that return an awaitable: `async def`, and generator functions with ``types.coroutine``.
_AWAITABLE: Final = CO_COROUTINE | CO_ITERABLE_COROUTINE


def is_async_callable(candidate: Any) -> bool:
    """Return whether calling an object returns an awaitable, as far as this is known without the call."""
    function = candidate.__func__ if type(candidate) is MethodType else candidate
    if type(function) is FunctionType:
        # The flags answer for nearly all functions, and are much faster to read than all that follows.
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
        # A bound method of an object that is not a function.
        return _is_marked_coroutine_function(candidate)
    # Either the class has an async `__call__`, or the instance has a mark, as mocks do.
    call = unwrap_callable(type(candidate).__call__)
    return (
        bool(_get_code_flags(call) & _AWAITABLE)
        or _is_marked_coroutine_function(call)
        or _is_marked_coroutine_function(candidate)
    )


def is_generator_callable(candidate: Any) -> bool:
    """Return whether calling an object returns a generator, so that its body does not run."""
    candidate = unwrap_callable(candidate)
    if not isinstance(candidate, (FunctionType, MethodType, type)) and callable(candidate):
        candidate = unwrap_callable(type(candidate).__call__)
    flags = _get_code_flags(candidate)
    return bool(flags & (CO_GENERATOR | CO_ASYNC_GENERATOR)) and not flags & _AWAITABLE


def unwrap_callable(candidate: Any) -> Any:
    """Return the callable inside nested ``functools.partial`` and ``staticmethod`` objects, and inside proxies."""
    while isinstance(candidate, (partial, staticmethod)):
        candidate = _get_called(candidate)
    return candidate


def _get_called(candidate: Any) -> Any:
    return candidate.__wrapped__ if _has_wrapped(candidate) else candidate.func


def _is_partial(candidate: Any) -> bool:
    """Return whether an object is a partial that is not a proxy of a listener, whose arguments are other attributes."""
    return not _has_wrapped(candidate) and isinstance(candidate, partial)


def _has_wrapped(candidate: object) -> bool:
    return hasattr(type(candidate), "__wrapped__")


def _get_code_flags(function: Any) -> int:
    if isinstance(function, MethodType):
        function = function.__func__
    return function.__code__.co_flags if isinstance(function, FunctionType) else 0


class Mismatch(NamedTuple):
    """The parameters because of which a call of a function would fail."""

    #: The positional parameters that would get no argument.
    missing: list[str]
    #: The keyword-only parameters that would get no argument.
    required: list[str]
    #: All positional parameters that could get one of the arguments.
    parameters: tuple[str, ...]
    #: The keyword arguments of a partial that the function does not take, or that one of the arguments gives as well.
    wrong_keywords: list[str]


def find_mismatch(function: Any, count: int, *, given: int = 0) -> Mismatch | None:
    """Find the parameters because of which a call would fail, as far as the code of a callable shows them.

    Args:
        function: A callable.
        count: How many arguments it receives.
        given: How many arguments it receives before these.

    Returns:
        The parameters, or None if the call can succeed, or if the signature is not cheap to find out.
    """
    keywords = dict[str, Any]()
    while type(function) is not FunctionType:
        if isinstance(function, MethodType):
            given += 1
            function = function.__func__
        elif _is_partial(function):
            given += len(function.args)
            keywords.update(function.keywords)
            function = function.func
        else:
            break
    if type(function) is not FunctionType:
        call = type(function).__call__ if callable(function) and not isinstance(function, type) else None
        if type(call) is not FunctionType:
            return None
        function = call
        given += 1
    code = function.__code__
    names = code.co_varnames
    positional = code.co_argcount
    total = given + count
    defaults = function.__defaults__ or ()
    missing = [name for name in names[total : positional - len(defaults)] if name not in keywords]
    required: list[str] = []
    options = names[positional : positional + code.co_kwonlyargcount]
    if options:
        optional: dict[str, Any] = function.__kwdefaults__ or {}
        required = [name for name in options if name not in optional and name not in keywords]
    wrong_keywords: list[str] = []
    if keywords and not code.co_flags & CO_VARKEYWORDS:
        free = (*names[max(total, code.co_posonlyargcount) : positional], *options)
        wrong_keywords = [keyword for keyword in keywords if keyword not in free]
    elif keywords:
        wrong_keywords = [name for name in names[code.co_posonlyargcount : min(total, positional)] if name in keywords]
    accepts_any = code.co_flags & CO_VARARGS
    if missing or required or wrong_keywords or (total > positional and not accepts_any):
        return Mismatch(missing, required, names[given:positional], wrong_keywords)
    return None


def find_unrun_kind(result: object) -> str:
    """Return a description of a result that has not run (an awaitable or a generator), or an empty string.

    A coroutine or a generator is closed, because the caller is going to raise an error. Otherwise Python would warn
    that it was never awaited.
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


async def to_coroutine(awaitable: Awaitable[object]) -> object:
    """Await any awaitable in a coroutine, because only a coroutine can be run step by step."""
    return await awaitable


if sys.version_info >= (3, 14):
    _is_marked_coroutine_function = inspect.iscoroutinefunction
else:

    def _is_marked_coroutine_function(candidate: Any) -> bool:
        # In these versions only asyncio knows the mark of a mock, and a program with a mock has imported asyncio. Do
        # not import it here: antiphon does not import a backend before a dispatch needs it. The function is missing
        # while another thread imports asyncio.
        asyncio = sys.modules.get("asyncio")
        is_marked = getattr(asyncio, "iscoroutinefunction", inspect.iscoroutinefunction)
        return bool(is_marked(candidate))
