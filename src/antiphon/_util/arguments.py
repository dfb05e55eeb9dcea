"""Errors for arguments that a function does not declare.

Python's own message neither says where an argument belongs, nor, before 3.13, which one was meant. A function that
collects these arguments in ``*extra`` and ``**unknown`` passes them to `make_argument_error`. The decorator
`hides_collected_arguments` keeps the two parameters out of its documented signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import FunctionType
from typing import Any, Final, TypeVar, cast

from antiphon._util.naming import format_key, safe_repr, short_name

__all__ = ("MISSING", "OPTIONS_BY_TYPE", "check_both_given", "hides_collected_arguments", "make_argument_error")

F = TypeVar("F")

#: The default of a required argument, which a call may have passed by keyword.
MISSING: Final[Any] = object()

#: The option of a registration that a positional argument after the listener probably is, by its type.
OPTIONS_BY_TYPE: Final[dict[type, str]] = {bool: "once", int: "priority", float: "timeout", FunctionType: "where"}

#: Names of arguments that are passed by position, and their place in a call. ``event_id`` is the name in whistle 1.
_POSITIONAL: Final = {"event_id": "key", "event_name": "key", "key": "key", "name": "key", "listener": "listener"}


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


def make_argument_error(
    function: Any,
    call: str,
    extra: tuple[object, ...],
    unknown: Mapping[str, object],
    *,
    hints: Mapping[str, str] | None = None,
    by_position: Mapping[Any, str] | None = None,
) -> TypeError:
    """Return the error for a call with arguments that a function does not declare.

    Args:
        function: The function.
        call: The call as the user writes it, without options: ``"add_listener(key, listener)"``.
        extra: The positional arguments that are too many.
        unknown: The keyword arguments that are not declared.
        hints: What to write instead of a keyword, for those that belong elsewhere.
        by_position: The option that a positional argument of a type probably is. The last one is for other types.

    Returns:
        A TypeError that says what came, what is expected, and which call is right.
    """
    options = _get_options(function)
    written, _, _ = call.partition("(")
    if extra:
        value = extra[0]
        option = next((each for kind, each in (by_position or {}).items() if isinstance(value, kind)), None)
        wanted = f"write {_add_option(call, option, value)}" if option else _list_options(options)
        return TypeError(f"{written}() takes options by keyword; got {safe_repr(value)} by position: {wanted}")
    keyword, value = next(iter(unknown.items()))
    what = f"{written}() has no option {keyword}="
    if hints and keyword in hints:
        return TypeError(f"{what}: {hints[keyword]}")
    if keyword in _POSITIONAL and _POSITIONAL[keyword] in call:
        for each, place in _POSITIONAL.items():
            if each in unknown:
                call = call.replace(place, format_key(unknown[each]) if place == "key" else short_name(unknown[each]))
        return TypeError(f"{written}() takes its first arguments by position, not as {keyword}=: write {call}")
    # Imported here, because only errors need it.
    from difflib import get_close_matches

    similar = get_close_matches(keyword, options, n=1)
    if similar:
        return TypeError(f"{what}; did you mean {similar[0]}=? Write {_add_option(call, similar[0], value)}")
    return TypeError(f"{what}: {_list_options(options)}")


def check_both_given(key: object, listener: object) -> None:
    """Check that a registration has a key and a listener.

    Raises:
        TypeError: If one of them is missing.
    """
    if listener is MISSING:
        got = "nothing" if key is MISSING else f"only {format_key(key)}"
        raise TypeError(
            f'add_listener() takes a key and a listener; got {got}: write add_listener("order.placed", listener)'
        ) from None


def _get_options(function: Any) -> tuple[str, ...]:
    code = function.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    # The first parameter is `self`.
    return tuple(code.co_varnames[max(code.co_posonlyargcount, 1) : count])


def _add_option(call: str, option: str, value: object) -> str:
    comma = "" if call.endswith("()") else ", "
    return f"{call[:-1]}{comma}{option}={safe_repr(value)})"


def _list_options(options: tuple[str, ...]) -> str:
    return f"its options are {', '.join(f'{option}=' for option in options)}" if options else "it has no options"
