"""Importing a dispatcher from a path such as ``package.module:dispatcher``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from difflib import get_close_matches
from importlib import import_module
from inspect import isawaitable, isclass
from types import CoroutineType, ModuleType, TracebackType
from typing import Any, Final, TypeAlias, TypeVar

from antiphon import AsyncEventDispatcher, EventDispatcher
from antiphon._introspection.definitions import get_definition
from antiphon._util.naming import safe_repr
from antiphon.diagrams._text import escape_unprintable

__all__ = ("AnyDispatcher", "LocateError", "find_dispatcher", "load_module")

T = TypeVar("T")

AnyDispatcher: TypeAlias = AsyncEventDispatcher | EventDispatcher

_EXPECTED_PATH: Final = (
    "write module:attribute, such as shop.events:dispatcher, or module:function() for what a function returns"
)

_MAX_REPR_LENGTH: Final = 60


class LocateError(Exception):
    """A dispatcher, module or file is missing or not usable. The message is a single line."""


def find_dispatcher(path: str) -> tuple[ModuleType, AnyDispatcher]:
    """Return the module that a path names, and the dispatcher in it.

    Output of the module and of functions in the path goes to stderr, so that stdout contains only the diagram.

    Args:
        path: ``package.module:attribute``. The attribute may contain dots, and ``()`` after a function to call.

    Raises:
        LocateError: If the path is malformed, the module or the attribute is not found, importing or calling raises,
            a function is async, or the result is not a dispatcher.
    """
    module_name, colon, attribute = path.partition(":")
    if not colon or not module_name or not attribute:
        raise LocateError(f"{path!r} has no module and attribute: {_EXPECTED_PATH}")
    if module_name.endswith(".py"):
        dotted = module_name.removesuffix(".py").replace("\\", "/").replace("/", ".").strip(".")
        raise LocateError(f"{module_name} is a file: write {dotted}:{attribute}")
    module = load_module(module_name)
    value: Any = module
    location = module_name
    separator = ":"
    for part in attribute.split("."):
        name = part.removesuffix("()")
        if not name.isidentifier():
            raise LocateError(f"{path!r} has {part!r} in place of an attribute name: {_EXPECTED_PATH}")
        value = _get_attribute(value, name, location)
        location += separator + name
        separator = "."
        if part.endswith("()"):
            value = _call_factory(value, location)
            location += "()"
    return module, _check_dispatcher(value, location, attribute)


def load_module(name: str) -> ModuleType:
    """Import a module.

    Raises:
        LocateError: If the module is not found, or if importing it raises.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise LocateError(f"{name!r} is not the name of a module: {_EXPECTED_PATH}")
    try:
        return _call_with_stdout_redirected(lambda: import_module(name))
    except ModuleNotFoundError as exc:
        if exc.name is not None and f"{name}.".startswith(f"{exc.name}."):
            missing = f"there is no module {exc.name}"
            raise LocateError(missing if exc.name == name else f"{missing}, so there is no {name}") from None
        raise _make_error(f"importing {name}", exc) from exc
    except SystemExit as exc:
        raise LocateError(f"importing {name} ends the program: move the code that exits into a function") from exc
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        raise _make_error(f"importing {name}", exc) from exc  # noqa: ASYNC104  the command runs no event loop


def _call_with_stdout_redirected(call: Callable[[], T]) -> T:
    with redirect_stdout(sys.stderr):
        return call()


def _get_attribute(value: Any, name: str, location: str) -> Any:
    try:
        return getattr(value, name)
    except AttributeError:
        candidates = [other for other in dir(value) if not other.startswith("_") or name.startswith("_")]
        matches = get_close_matches(name, candidates, n=1)
        dispatchers = _find_dispatcher_names(value)
        hint = ""
        if matches:
            hint = f"; did you mean {matches[0]}?"
        elif dispatchers:
            hint = f"; it has the dispatchers {', '.join(dispatchers)}"
        raise LocateError(f"{location} has no {name}{hint}") from None
    except Exception as exc:
        raise _make_error(f"{location}.{name}", exc) from exc


def _call_factory(function: Any, location: str) -> Any:
    if not callable(function):
        raise LocateError(f"{location} is {_describe(function)}, and cannot be called: write it without ()")
    try:
        result = _call_with_stdout_redirected(function)
    except SystemExit as exc:
        raise LocateError(f"{location}() ends the program") from exc
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        raise _make_error(f"{location}()", exc) from exc  # noqa: ASYNC104  the command runs no event loop
    if isawaitable(result):
        if isinstance(result, CoroutineType):
            result.close()
        raise LocateError(f"{location}() is async, but the command runs no event loop: name a sync function")
    return result


def _check_dispatcher(value: Any, location: str, attribute: str) -> AnyDispatcher:
    if isinstance(value, AnyDispatcher):
        return value
    if isclass(value) and issubclass(value, AnyDispatcher):
        raise LocateError(f"{location} is a class: write {attribute}() for an instance of it")
    description = _describe(value)
    if callable(value) and not attribute.endswith("()"):
        raise LocateError(f"{location} is {description}: write {attribute}() if it returns the dispatcher")
    raise LocateError(f"{location} is {description}, not an EventDispatcher or AsyncEventDispatcher")


def _describe(thing: Any) -> str:
    if isinstance(thing, ModuleType):
        return f"the module {thing.__name__}"
    kind = str(type(thing).__name__)
    if callable(thing):
        return f"the {kind} {get_definition(thing).name}"
    text = escape_unprintable(safe_repr(thing))
    return f"{text if len(text) <= _MAX_REPR_LENGTH else text[:_MAX_REPR_LENGTH] + '…'} ({kind})"


def _find_dispatcher_names(thing: Any) -> list[str]:
    variables: dict[str, Any] = getattr(thing, "__dict__", {})
    return [name for name, value in variables.items() if isinstance(value, AnyDispatcher)]


def _make_error(action: str, exc: BaseException) -> LocateError:
    try:
        lines = str(exc).strip().splitlines()
    except Exception:
        lines = []
    message = f"{action} raises {type(exc).__name__}" + (f": {escape_unprintable(lines[0])}" if lines else "")
    # The message of a syntax error contains its location.
    place = "" if isinstance(exc, SyntaxError) else _find_user_frame(exc.__traceback__)
    return LocateError(f"{message} ({place})" if place else message)


def _find_user_frame(traceback: TracebackType | None) -> str:
    """Return the file and line of the innermost frame in the user's code, or else of the innermost frame.

    Code counts as the user's if it is below the current directory and not installed.
    """
    from pathlib import Path

    frames: list[tuple[Path, int]] = []
    while traceback is not None:
        frames.append((Path(traceback.tb_frame.f_code.co_filename), traceback.tb_lineno))
        traceback = traceback.tb_next
    current_directory = Path.cwd()
    own_directory = Path(__file__).parent
    candidates = [(file, line) for file, line in frames if file.is_absolute() and file.parent != own_directory]
    for file, line in reversed(candidates):
        if file.is_relative_to(current_directory) and "site-packages" not in file.parts:
            return f"{file.relative_to(current_directory).as_posix()}:{line}"
    return "{}:{}".format(*candidates[-1]) if candidates else ""
