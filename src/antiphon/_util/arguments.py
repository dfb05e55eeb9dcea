"""Errors for arguments that a function does not declare.

Python's own message neither says where an argument belongs, nor, before 3.13, which one was meant. A function that
collects these arguments in ``*extra`` and ``**unknown`` passes them to `make_argument_error`. The decorator
`hides_collected_arguments` keeps the two parameters out of its documented signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import CO_VARARGS, CO_VARKEYWORDS, iscoroutinefunction
from types import FunctionType
from typing import Any, Final, TypeVar, cast

from antiphon._util.naming import format_key, safe_repr, short_name

__all__ = (
    "MISSING",
    "check_key_and_listener",
    "documented_as",
    "documented_by",
    "hides_collected_arguments",
    "hides_parameters",
    "make_argument_error",
)

F = TypeVar("F")

#: The default of a required argument, which a call may have passed by keyword. A class, because the checks of names,
#: events and listeners refuse classes, so that no check of its own is needed before them.
MISSING: Final[Any] = type("MISSING", (), {})

#: The option that an undeclared positional argument probably is, by the function and the type of the argument.
_BY_POSITION: Final[dict[str, dict[Any, str]]] = {
    "AsyncEventDispatcher": {str: "name", object: "strategy"},
    "EventDispatcher": {str: "name", object: "errors"},
    "add_listener": {bool: "once", int: "priority", float: "timeout", FunctionType: "where"},
    "queue": {int: "max_buffer_size"},
    "scope": {str: "name"},
    "in_thread": {bool: "abandon_on_cancel"},
    "Concurrent": {object: "errors"},
    "Race": {object: "errors"},
    "Sequential": {object: "errors"},
}

_ONLY_CONCURRENT: Final = "the limit is an option of Concurrent; write Concurrent(limit=8)"
_NO_TIMEOUT: Final = "to limit the time, write it in a block of `with anyio.fail_after(seconds):`"

#: What to write instead of options that belong elsewhere, by the function.
_ELSEWHERE: Final[dict[str, dict[str, str]]] = {
    "AsyncEventDispatcher": {
        "errors": 'the error policy is an option of the strategy; write strategy=Sequential(errors="collect")',
        "limit": "the limit is an option of the strategy; write strategy=Concurrent(limit=8)",
    },
    "add_listener": {
        "weak": "a listener stays until it is removed; keep the handle that add_listener returns, and call "
        "unsubscribe() on it",
        "sender": "to choose the events, write where=..., a function of the event, or listen to a class",
        "dispatch_uid": "a listener that is added twice runs twice; ask get_listeners(key) first",
    },
    "EventDispatcher": {
        "strategy": "it runs its listeners one after another; strategies are for an AsyncEventDispatcher",
        "sync_listeners": "all of its listeners are plain functions",
    },
    "Sequential": {"limit": _ONLY_CONCURRENT},
    "Race": {"limit": _ONLY_CONCURRENT},
    "expect": {"timeout": _NO_TIMEOUT},
    "listen": {"listener": "it decorates the listener; to pass one, write add_listener(key, listener)"},
    "scope": {"strategy": "it has the strategy of its dispatcher; to use another one, pass it to adispatch"},
    "wait_for": {"timeout": _NO_TIMEOUT},
}

#: Names of options in other libraries.
_SYNONYMS: Final = {
    **dict.fromkeys(("filter", "predicate", "condition", "when"), "where"),
    **dict.fromkeys(("buffer", "buffer_size", "size", "capacity"), "max_buffer_size"),
    **dict.fromkeys(("order", "weight"), "priority"),
    "concurrency": "workers",
}

#: Names of arguments that are passed by position, and their place in a call. ``event_id`` is the name in whistle 1.
_POSITIONAL: Final = {
    **dict.fromkeys(("event_id", "event_name", "event", "key", "name"), "key"),
    **dict.fromkeys(("listener", "callback", "handler", "function", "func"), "listener"),
}


def hides_collected_arguments(function: F) -> F:
    """Document a function as if it had neither ``*extra`` nor ``**unknown``.

    `inspect.signature` and ``help`` show the signature of ``__wrapped__``.
    """
    collecting = cast("FunctionType", function)
    code = collecting.__code__
    hidden = CO_VARKEYWORDS
    if code.co_varnames[code.co_argcount + code.co_kwonlyargcount] == "extra":
        hidden |= CO_VARARGS
    declared = FunctionType(
        code.replace(co_flags=code.co_flags & ~hidden),
        collecting.__globals__,
        collecting.__name__,
        tuple(default for default in collecting.__defaults__ or () if default is not MISSING),
        collecting.__closure__,
    )
    declared.__kwdefaults__ = collecting.__kwdefaults__
    declared.__annotations__ = collecting.__annotations__
    collecting.__wrapped__ = declared  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]
    return function


def hides_parameters(function: F) -> F:
    """Document the constructor of a class as one without parameters, because only antiphon calls it."""
    constructor: Any = function
    # Without annotations, because with them `help` would show a call of the class. `typing.get_type_hints` resolves the
    # annotations of the constructor in the globals of the wrapped function.
    constructor.__wrapped__ = FunctionType(_without_parameters.__code__, constructor.__globals__)
    return function


def _without_parameters(self: object) -> None:
    raise NotImplementedError


def documented_by(documentation: F) -> Callable[[Callable[..., Any]], F]:
    """Document a function with the signature of another one, which is never called.

    Parameters that are positional-only there, but not in the decorated function, accept keywords without a cost.
    """

    def decorate(function: Any) -> F:
        function.__wrapped__ = documentation
        return cast("F", function)

    return decorate


def documented_as(documentation: Callable[..., Any], function: F, qualname: str) -> F:
    """Return a copy of a function with the signature and the docstring of another one.

    Args:
        documentation: The function that is shown. It is never called.
        function: The function that is called.
        qualname: The qualified name of the copy.
    """
    original = cast("FunctionType", function)
    copied = FunctionType(
        original.__code__, original.__globals__, original.__name__, original.__defaults__, original.__closure__
    )
    copied.__kwdefaults__ = original.__kwdefaults__
    copied.__annotations__ = documentation.__annotations__
    copied.__qualname__, copied.__doc__ = qualname, documentation.__doc__
    copied.__wrapped__ = documentation  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]
    return cast("F", copied)


def make_argument_error(
    function: Any,
    call: str,
    extra: tuple[object, ...],
    unknown: Mapping[str, object],
) -> TypeError:
    """Return the error for a call with arguments that a function does not declare, or without its only argument.

    Args:
        function: The function.
        call: The call as the user writes it, without options: ``"add_listener(key, listener)"``.
        extra: The positional arguments that are too many.
        unknown: The keyword arguments that are not declared.

    Returns:
        A TypeError that says what came, what is expected, and which call is right.
    """
    options = _get_options(function)
    written, _, arguments = call.partition("(")
    if not unknown:
        return TypeError(f"{written}() takes {_explain_extra(call, options, extra)}")
    keyword, value = next(iter(unknown.items()))
    what = f"{written}() has no option {keyword}="
    elsewhere = _ELSEWHERE.get(written, {}).get(keyword)
    if elsewhere:
        return TypeError(f"{what}: {elsewhere}")
    # The first argument of some functions is the name of a dispatch.
    arguments = arguments.replace("name", "key")
    if keyword in _POSITIONAL and _POSITIONAL[keyword] in arguments:
        for each, place in _POSITIONAL.items():
            if unknown.get(each, MISSING) is not MISSING:
                given = format_key(unknown[each]) if place == "key" else short_name(unknown[each])
                arguments = arguments.replace(place, given)
        which = "first arguments" if "," in arguments else "first argument"
        return TypeError(f"{written}() takes its {which} by position, not as {keyword}=: write {written}({arguments}")
    # Imported here, because only errors need it.
    from difflib import get_close_matches

    similar = [each for each in options if each == _SYNONYMS.get(keyword)]
    similar = (
        similar or get_close_matches(keyword, options, n=1) or [each for each in options if each.startswith(keyword)]
    )
    if similar:
        return TypeError(f"{what}; did you mean {similar[0]}=? Write {_add_option(call, similar[0], value)}")
    return TypeError(f"{what}: {_list_options(options)}")


def check_key_and_listener(key: Any, listener: Any, method: str) -> None:
    """Check that a call that adds or removes a listener has a key and a listener, in this order.

    Raises:
        TypeError: If one of them is missing, or if they are swapped.
    """
    if listener is MISSING or key is MISSING:
        got = "nothing"
        if key is not MISSING:
            got = f"only {format_key(key)}"
        elif listener is not MISSING:
            got = f"only listener={short_name(listener)}"
        raise TypeError(
            f'{method}() takes a key and a listener; got {got}: write {method}("order.placed", listener)'
        ) from None
    is_listener = callable(key) and not isinstance(key, type)
    if is_listener and (isinstance(listener, type) or not callable(listener)):
        raise TypeError(
            f"the key comes first, then the listener, but they are swapped: write "
            f"{method}({format_key(listener)}, {short_name(key)}) instead of "
            f"{method}({short_name(key)}, {format_key(listener)})"
        ) from None


def _explain_extra(call: str, options: tuple[str, ...], extra: tuple[object, ...]) -> str:
    written, _, arguments = call[:-1].partition("(")
    if not extra:
        return f'a {arguments}; got nothing: write {written}("order.placed")'
    value = extra[0]
    if not options:
        return f"only ({arguments}); got {safe_repr(value)} as well: remove it"
    option = next((each for kind, each in _BY_POSITION.get(written, {}).items() if isinstance(value, kind)), None)
    if option == "where" and iscoroutinefunction(value):
        option = None
    wanted = f"write {_add_option(call, option, value)}" if option else _list_options(options)
    return f"options by keyword; got {safe_repr(value)} by position: {wanted}"


def _get_options(function: Any) -> tuple[str, ...]:
    code = function.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    # The first parameter of a method is `self`.
    return tuple(code.co_varnames[code.co_posonlyargcount or min(code.co_argcount, 1) : count])


def _add_option(call: str, option: str, value: object) -> str:
    comma = "" if call.endswith("()") else ", "
    written = getattr(value, "__name__", "") if isinstance(value, FunctionType) else safe_repr(value)
    return f"{call[:-1]}{comma}{option}={written if written != '<lambda>' else 'lambda ...'})"


def _list_options(options: tuple[str, ...]) -> str:
    return f"its options are {', '.join(f'{option}=' for option in options)}" if options else "it has no options"
