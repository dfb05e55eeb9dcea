"""Checks of a listener at its registration, and of its result.

A message shows what to change in the code that registers the listener.
"""

from __future__ import annotations

from functools import partial
from types import CoroutineType, FunctionType, MethodType
from typing import Any, Final, NoReturn

from antiphon._util.callables import Mismatch, find_unrun_kind, is_generator_callable, unwrap_callable
from antiphon._util.naming import safe_repr

__all__ = ("check_callable", "check_has_run", "format_argument", "refuse_signature")

#: The arguments of a listener, in the order in which it receives them.
_ARGUMENTS: Final = ("event", "name")


def format_argument(function: object) -> str:
    """Return a function as an argument in the code that a message suggests."""
    # `listener_name` returns dotted names, which are rarely valid code there.
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) and name.isidentifier() else "listener"


def check_has_run(result: object, function: object, reason: str) -> None:
    """Check that the result of a function has run, as far as it can run.

    Args:
        result: The result.
        function: The function, for the message.
        reason: Why an awaitable cannot be awaited here, and what to do.

    Raises:
        TypeError: If it is an awaitable or a generator, which has not run and is not going to.
    """
    kind = "" if result is None else find_unrun_kind(result)
    if not kind:
        return
    if kind == "a generator":
        raise TypeError(f"a listener has no `yield`; {safe_repr(function)} returned a generator, so nothing of it runs")
    raise TypeError(f"{safe_repr(function)} returned {kind}, {reason}")


def check_callable(function: object, expected: str) -> None:
    """Check that calling an object runs it.

    Args:
        function: The object.
        expected: What the caller expects, for the message.

    Raises:
        TypeError: If it is not callable, is a class, or is a generator function.
    """
    if not callable(function):
        raise TypeError(
            f"{expected}; got {safe_repr(function)} ({type(function).__name__}), which cannot be called"
            f"{_explain_uncallable(function)}"
        )
    called = unwrap_callable(function)
    if isinstance(called, type) and not hasattr(called, "__await__"):
        raise TypeError(
            f"{expected}; got the class {called.__name__}, which only makes an instance when it is called, and the "
            f"instance is dropped: make an instance that can be called, {called.__name__}(...), or let each dispatch "
            f"make one with resolved({called.__name__}, ...)"
        )
    if is_generator_callable(function):
        raise TypeError(
            f"{expected}; {safe_repr(function)} is a generator function, or has one as its `__call__`, and calling it "
            f"runs nothing of it: a listener has no `yield`"
        )


def _explain_uncallable(candidate: Any) -> str:
    if isinstance(candidate, (classmethod, property)):
        return (
            ": in a class, decorate a method with @listens_to(key), and register an object of the class with "
            "dispatcher.add_subscriber(thing)"
        )
    if type(candidate) is not CoroutineType:
        return ""
    # Otherwise Python would warn that it was never awaited.
    candidate.close()
    return f": pass the function, {candidate.__name__}, without calling it"


def refuse_signature(listener: Any, count: int, mismatch: Mismatch) -> NoReturn:
    """Raise the error for a listener that cannot be called with the event.

    Args:
        listener: The listener.
        count: How many arguments it receives: the event, and the name of the dispatch if it is 2.
        mismatch: The parameters because of which the call would fail.

    Raises:
        TypeError: Always.
    """
    missing, required, parameters, wrong_keywords = mismatch
    arguments = ", ".join(_ARGUMENTS[:count])
    is_class = isinstance(listener, type)
    name = format_argument(listener)
    argument = f"resolved({name}, ...)" if is_class else name
    problem = f"a listener is called with ({arguments}), but {safe_repr(listener)}"
    is_method = type(listener) is FunctionType and parameters[:1] in (("self",), ("cls",))
    if required and required[0] in _ARGUMENTS[:count] and not parameters:
        raise TypeError(f"{problem} takes `{required[0]}` by keyword only: remove the `*` before it")
    if required:
        options = ", ".join(f"{option}=..." for option in required)
        raise TypeError(
            f"{problem} also requires {', '.join(f'{option}=' for option in required)}: give it a default, or register "
            f"functools.partial({argument}, {options})"
        )
    if wrong_keywords:
        keyword = wrong_keywords[0]
        why = "as well" if keyword in parameters[:count] else "which it does not take"
        raise TypeError(f"{problem} passes {keyword}=, {why}: remove {keyword}= from the partial")
    if is_method and missing:
        raise TypeError(
            f"{problem} is a function of a class that also takes `{parameters[0]}`: register the method of an object, "
            f"as in `dispatcher.add_listener(key, thing.{name})`, or decorate it with @listens_to(key) in the class, "
            f"and register the object with dispatcher.add_subscriber(thing)"
        )
    if missing and count == 1 and len(missing) == 1:
        raise TypeError(
            f"{problem} also takes `{missing[0]}`: register named({argument}) if it is the name of the dispatch, or "
            f"give it a default" + ("" if is_class else f", or register functools.partial({name}, {missing[0]}=...)")
        )
    if missing:
        raise TypeError(f"{problem} also takes {', '.join(f'`{each}`' for each in missing)}: give them defaults")
    takes = "no argument" if not parameters else f"only ({', '.join(parameters)})"
    fix = f"add a parameter, {_format_definition(listener, arguments)}"
    if isinstance(listener, partial):
        fix = "remove an argument from the partial"
    elif len(parameters) == count - 1 == 1:
        fix += f", or register {argument} without named()"
    raise TypeError(f"{problem} takes {takes}: {fix}")


def _format_definition(listener: Any, arguments: str) -> str:
    if getattr(listener, "__name__", "") == "<lambda>":
        return f"lambda {arguments}: ..."
    if isinstance(listener, (FunctionType, MethodType)):
        return f"{listener.__name__}({arguments})"
    return f"__call__(self, {arguments})"
