"""Importing an object from a path such as ``package.module:dispatcher``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from difflib import get_close_matches
from importlib import import_module
from inspect import isawaitable, isclass, isroutine
from types import CoroutineType, ModuleType, TracebackType, UnionType
from typing import Any, Final, TypeAlias, TypeVar, cast

from antiphon import AsyncEventDispatcher, EventDispatcher
from antiphon._introspection.definitions import get_definition, strip_locals
from antiphon._util.naming import safe_repr
from antiphon.diagrams._text import escape_unprintable

__all__ = (
    "AnyDispatcher",
    "LocateError",
    "describe",
    "find_attributes",
    "find_dispatcher",
    "find_object",
    "load_module",
)

T = TypeVar("T")

AnyDispatcher: TypeAlias = AsyncEventDispatcher | EventDispatcher

_EXPECTED_PATH: Final = (
    "write module:attribute, such as shop.events:dispatcher, or module:function() for what a function returns"
)

_MAX_REPR_LENGTH: Final = 60

#: The folder of projects that do not keep their packages at the top.
_SOURCE_FOLDER: Final = "src"


class LocateError(Exception):
    """A dispatcher, module or file is missing or not usable. The message is a single line."""


def find_dispatcher(path: str) -> tuple[ModuleType, AnyDispatcher]:
    """Return the module that a path names, and the dispatcher in it.

    Args:
        path: ``package.module:attribute``. The attribute may contain dots, and ``()`` after a function to call.

    Raises:
        LocateError: If there is no object at the path, or if it is not a dispatcher.
    """
    module, value, location = find_object(path, AnyDispatcher, "dispatchers")
    return module, _check_dispatcher(value, location, path.partition(":")[2], module)


def find_object(path: str, expected: type[Any] | UnionType, noun: str) -> tuple[ModuleType, Any, str]:
    """Return the module that a path names, the object in it, and the location of the object for messages.

    Output of the module and of functions in the path goes to stderr, so that stdout contains only the result.

    Args:
        path: ``package.module:attribute``. The attribute may contain dots, and ``()`` after a function to call.
        expected: The type of the object, which is not checked. An error names other objects of this type.
        noun: What objects of this type are called, in the plural.

    Raises:
        LocateError: If the path is malformed, the module or the attribute is not found, importing or calling raises,
            or a function is async.
    """
    module_name, colon, attribute = path.partition(":")
    if not colon or not module_name or not attribute:
        raise LocateError(f"{path!r} has no module and attribute: {_EXPECTED_PATH}")
    if module_name.endswith(".py"):
        raise LocateError(f"{module_name} is a file: write {_get_module_name(module_name)}:{attribute}")
    module = load_module(module_name)
    value: Any = module
    location = module_name
    separator = ":"
    for part in attribute.split("."):
        name = part.removesuffix("()")
        if not name.isidentifier():
            raise LocateError(f"{path!r} has {part!r} in place of an attribute name: {_EXPECTED_PATH}")
        value = _get_attribute(value, name, location, expected, noun)
        location += separator + name
        separator = "."
        if part.endswith("()"):
            value = _call_factory(value, location)
            location += "()"
    return module, value, location


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
            missing = f"there is no module {exc.name}" + ("" if exc.name == name else f", so there is no {name}")
            raise LocateError(missing + _suggest_module(exc.name)) from None
        raise _make_error(f"importing {name}", exc) from exc
    except SystemExit as exc:
        raise LocateError(f"importing {name} ends the program: move the code that exits into a function") from exc
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        raise _make_error(f"importing {name}", exc) from exc  # noqa: ASYNC104  the command runs no event loop


def _get_module_name(file: str) -> str:
    from pathlib import Path

    parts = list(Path(file.replace("\\", "/")).with_suffix("").parts)
    if parts[0] == _SOURCE_FOLDER and Path(file).is_file() and not Path(_SOURCE_FOLDER, "__init__.py").is_file():
        del parts[0]
    return ".".join(parts).strip(".")


def _suggest_module(name: str) -> str:
    """Return a hint at a module that may be meant, or an empty string."""
    from pathlib import Path
    from pkgutil import iter_modules

    file = Path(_SOURCE_FOLDER, *name.split("."))
    if file.is_dir() or file.with_suffix(".py").is_file():
        return f"; {file.as_posix()} exists: install the project, or set the variable PYTHONPATH={_SOURCE_FOLDER}"
    parent, _, last = name.rpartition(".")
    # Python finds no submodule in a module that is not a package.
    path = getattr(sys.modules[parent], "__path__", ()) if parent else None
    matches = get_close_matches(last, [module.name for module in iter_modules(path)], n=1, cutoff=0.75)
    return f"; did you mean {parent}{'.' if parent else ''}{matches[0]}?" if matches else ""


def _call_with_stdout_redirected(call: Callable[[], T]) -> T:
    with redirect_stdout(sys.stderr):
        return call()


def _get_attribute(value: Any, name: str, location: str, expected: type[Any] | UnionType, noun: str) -> Any:
    try:
        return getattr(value, name)
    except AttributeError:
        candidates = [other for other in dir(value) if not other.startswith("_") or name.startswith("_")]
        matches = get_close_matches(name, candidates, n=1)
        others = find_attributes(value, expected)
        hint = ""
        if matches:
            hint = f"; did you mean {matches[0]}?"
        elif others:
            hint = f"; it has the {noun} {', '.join(others)}"
        raise LocateError(f"{location} has no {name}{hint}") from None
    except Exception as exc:
        raise _make_error(f"{location}.{name}", exc) from exc


def _call_factory(function: Any, location: str) -> Any:
    if not callable(function):
        raise LocateError(f"{location} is {describe(function)}, and cannot be called: write it without ()")
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


def _check_dispatcher(value: Any, location: str, attribute: str, module: ModuleType) -> AnyDispatcher:
    if isinstance(value, AnyDispatcher):
        return value
    if isclass(value) and issubclass(value, AnyDispatcher):
        raise LocateError(f"{location} is a class: write {attribute}() for an instance of it")
    description = describe(value)
    if isroutine(value) and not attribute.endswith("()"):
        raise LocateError(f"{location} is {description}: write {attribute}() if it returns the dispatcher")
    paths = [f"{location}.{name}" for name in find_attributes(value, AnyDispatcher, depth=1)]
    paths = paths or [f"{module.__name__}:{name}" for name in find_attributes(module, AnyDispatcher, depth=1)]
    fix = f"write {' or '.join(paths[:3])}" if paths else f"no dispatcher was found in it or in {module.__name__}"
    raise LocateError(f"{location} is {description}, not an EventDispatcher or AsyncEventDispatcher: {fix}")


def describe(thing: Any) -> str:
    """Return what an object is, for messages."""
    cls = cast("Any", type(thing))
    if isinstance(thing, ModuleType):
        return f"the module {thing.__name__}"
    if isclass(thing) or isroutine(thing):
        return f"the {'class' if isclass(thing) else cls.__name__} {get_definition(thing).name}"
    if cls.__repr__ is object.__repr__:
        return f"an instance of {cls.__module__}.{strip_locals(cls.__qualname__)}"
    text = escape_unprintable(safe_repr(thing))
    return f"{text if len(text) <= _MAX_REPR_LENGTH else text[:_MAX_REPR_LENGTH] + '…'} ({cls.__name__})"


def find_attributes(thing: Any, expected: type[Any] | UnionType, depth: int = 0) -> list[str]:
    """Return the names of attributes that have a type, and of attributes of attributes up to a depth."""
    names: list[str] = []
    variables: dict[str, Any] = getattr(thing, "__dict__", {})
    for name, value in list(variables.items()):
        if isinstance(value, expected):
            names.append(name)
        elif depth and not name.startswith("_") and not isinstance(value, (ModuleType, type)):
            names += [f"{name}.{nested}" for nested in find_attributes(value, expected, depth - 1)]
    # Prefer short paths.
    return sorted(names, key=lambda name: name.count("."))


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
