"""From ``package.module:dispatcher`` to the dispatcher."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from difflib import get_close_matches
from importlib import import_module
from inspect import isawaitable, isclass
from types import CoroutineType, ModuleType, TracebackType
from typing import Any, Final, TypeAlias, TypeVar

from antiphon._dispatchers.asynchronous import AsyncEventDispatcher
from antiphon._dispatchers.synchronous import EventDispatcher
from antiphon._introspection.definitions import get_definition
from antiphon._util.naming import safe_repr
from antiphon.diagrams._text import printable

__all__ = ("AnyDispatcher", "NotFound", "find", "find_module")

T = TypeVar("T")

AnyDispatcher: TypeAlias = AsyncEventDispatcher | EventDispatcher

_EXPECTED = "write module:attribute, such as shop.events:dispatcher, or module:function() for what a function returns"

_LONGEST_REPR: Final = 60


class NotFound(Exception):
    """There is no dispatcher at a path; the message is one line that says why."""


def find(path: str) -> tuple[ModuleType, AnyDispatcher]:
    """Find a dispatcher, and the module that the path names.

    What the module prints while it is imported goes to stderr, so that it does not get into a diagram.

    Args:
        path: ``package.module:attribute``; the attribute may have dots, and ``()`` after what is to be called.

    Raises:
        NotFound: The path is malformed, the module is not there, or raises, or has no such attribute; a function
            raises, or is async; or what is found is no dispatcher.
    """
    module_name, colon, attribute = path.partition(":")
    if not colon or not module_name or not attribute:
        raise NotFound(f"{path!r} has no module and attribute: {_EXPECTED}")
    if module_name.endswith(".py"):
        dotted = module_name.removesuffix(".py").replace("\\", "/").replace("/", ".").strip(".")
        raise NotFound(f"{module_name} is a file: write {dotted}:{attribute}")
    module = find_module(module_name)
    found: Any = module
    walked = module_name + ":"
    for part in attribute.split("."):
        name = part.removesuffix("()")
        if not name.isidentifier():
            raise NotFound(f"{path!r} has {part!r} where a name should stand: {_EXPECTED}")
        found = _attribute(found, name, walked.rstrip(":."))
        walked += name
        if part.endswith("()"):
            found = _called(found, walked)
            walked += "()"
        walked += "."
    return module, _checked(found, walked[:-1], attribute)


def find_module(name: str) -> ModuleType:
    """Import a module.

    Raises:
        NotFound: It is not there, or raises.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise NotFound(f"{name!r} is not the name of a module: {_EXPECTED}")
    try:
        return _quietly(lambda: import_module(name))
    except ModuleNotFoundError as exc:
        if exc.name is not None and f"{name}.".startswith(f"{exc.name}."):
            missing = f"there is no module {exc.name}"
            raise NotFound(missing if exc.name == name else f"{missing}, so there is no {name}") from None
        raise _raised(f"importing {name}", exc) from exc
    except SystemExit as exc:
        raise NotFound(f"importing {name} ends the program: what it runs should stand in a function") from exc
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        raise _raised(f"importing {name}", exc) from exc  # noqa: ASYNC104  the command runs no event loop


def _quietly(call: Callable[[], T]) -> T:
    with redirect_stdout(sys.stderr):
        return call()


def _attribute(found: Any, name: str, shown: str) -> Any:
    try:
        return getattr(found, name)
    except AttributeError:
        public = [other for other in dir(found) if not other.startswith("_") or name.startswith("_")]
        near = get_close_matches(name, public, n=1)
        dispatchers = _dispatchers_in(found)
        hint = f"; it has the dispatchers {', '.join(dispatchers)}" if dispatchers else ""
        raise NotFound(f"{shown} has no {name}" + (f"; did you mean {near[0]}?" if near else hint)) from None
    except Exception as exc:
        raise _raised(f"{shown}.{name}", exc) from exc


def _called(function: Any, shown: str) -> Any:
    if not callable(function):
        raise NotFound(f"{shown} is {_described(function)}, and cannot be called: write it without ()")
    try:
        result = _quietly(function)
    except SystemExit as exc:
        raise NotFound(f"{shown}() ends the program") from exc
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        raise _raised(f"{shown}()", exc) from exc  # noqa: ASYNC104  the command runs no event loop
    if isawaitable(result):
        if isinstance(result, CoroutineType):
            result.close()
        raise NotFound(f"{shown}() is async, and no event loop runs here: name a plain function")
    return result


def _checked(found: Any, shown: str, attribute: str) -> AnyDispatcher:
    described = _described(found)
    if isinstance(found, AnyDispatcher):
        return found
    if isclass(found) and issubclass(found, AnyDispatcher):
        raise NotFound(f"{shown} is a class: write {attribute}() for one of its dispatchers")
    if callable(found) and not attribute.endswith("()"):
        raise NotFound(f"{shown} is {described}: write {attribute}() if it returns the dispatcher")
    raise NotFound(f"{shown} is {described}, and no EventDispatcher or AsyncEventDispatcher")


def _described(thing: Any) -> str:
    if isinstance(thing, ModuleType):
        return f"the module {thing.__name__}"
    kind, is_called = str(type(thing).__name__), callable(thing)
    if is_called:
        return f"the {kind} {get_definition(thing).name}"
    shown = printable(safe_repr(thing))
    return f"{shown if len(shown) <= _LONGEST_REPR else shown[:_LONGEST_REPR] + '…'} ({kind})"


def _dispatchers_in(thing: Any) -> list[str]:
    variables: dict[str, Any] = getattr(thing, "__dict__", {})
    return [name for name, value in variables.items() if isinstance(value, AnyDispatcher)]


def _raised(doing: str, exc: BaseException) -> NotFound:
    try:
        lines = str(exc).strip().splitlines()
    except Exception:
        lines = []
    message = f"{doing} raises {type(exc).__name__}" + (f": {printable(lines[0])}" if lines else "")
    # A syntax error tells its place itself.
    place = "" if isinstance(exc, SyntaxError) else _place(exc.__traceback__)
    return NotFound(f"{message} ({place})" if place else message)


def _place(traceback: TracebackType | None) -> str:
    """Tell where something was raised: in the code of the user, if there is any, which lies below here."""
    from pathlib import Path

    places: list[tuple[Path, int]] = []
    while traceback is not None:
        places.append((Path(traceback.tb_frame.f_code.co_filename), traceback.tb_lineno))
        traceback = traceback.tb_next
    here = Path.cwd()
    ours = Path(__file__).parent
    known = [(file, line) for file, line in places if file.is_absolute() and file.parent != ours]
    for file, line in reversed(known):
        if file.is_relative_to(here) and "site-packages" not in file.parts:
            return f"{file.relative_to(here).as_posix()}:{line}"
    return "{}:{}".format(*known[-1]) if known else ""
