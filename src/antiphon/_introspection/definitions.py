"""The names and locations of listeners, predicates and classes."""

from __future__ import annotations

import inspect
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any, Final, NamedTuple, cast

from antiphon._listeners.named import NameAwareListener
from antiphon._util.naming import find_label, short_name, unwrap_listener

__all__ = ("Definition", "get_definition", "get_display_path", "strip_locals")

#: Longer arguments of a partial are omitted: they would fill the page, and might be secrets.
_MAX_ARGUMENT_LENGTH: Final = 20


class Definition(NamedTuple):
    """The name of an object, and where it is defined."""

    #: The qualified name without the enclosing functions, or the repr of an object without a name.
    name: str
    #: The name of the module.
    module: str | None = None
    #: The class of a method or of a callable object; None for a function.
    owner: str | None = None
    #: The file, relative to the current directory if it is below it.
    file: str | None = None
    #: The first line of the definition, including its decorators.
    line: int | None = None
    #: The first line of the docstring, or an empty string.
    doc: str = ""

    @property
    def place(self) -> str:
        """The file and the line, such as ``shop/stock.py:12``, or an empty string if they are unknown."""
        return "" if self.file is None else self.file if self.line is None else f"{self.file}:{self.line}"


def get_definition(thing: Any) -> Definition:
    """Return the name and the location of a function, method, partial, callable object or class.

    Never raises. Information that the object does not provide is omitted.
    """
    try:
        return _get_class_definition(thing) if isinstance(thing, type) else _get_callable_definition(thing)
    except Exception:
        return Definition(short_name(thing))


def _get_callable_definition(thing: Any) -> Definition:
    name = short_name(thing)
    if isinstance(thing, partial) and find_label(thing) is None:
        name += f"({_format_arguments(thing)})"
    is_internal = isinstance(thing, NameAwareListener)
    thing = unwrap_listener(thing)
    if is_internal or type(thing).__module__ == "unittest.mock":
        # Return only the name: the location would be that of the mock library, or of antiphon itself.
        return Definition(name)
    if isinstance(thing, type):
        return _get_class_definition(thing)._replace(name=name)
    owner: type[Any] | None = None
    function: Any = thing
    if isinstance(thing, MethodType):
        owner = _get_owner_class(thing.__self__)
        function = thing.__func__
    elif not isinstance(thing, (FunctionType, BuiltinFunctionType, type)):
        owner = _get_owner_class(thing)
        function = owner.__call__
    function = inspect.unwrap(function)
    code: object = getattr(function, "__code__", None)
    file = get_display_path(code.co_filename) if isinstance(code, CodeType) else None
    return Definition(
        name,
        _string_or_none(getattr(function, "__module__", None)),
        None if owner is None else strip_locals(owner.__qualname__),
        file,
        code.co_firstlineno if isinstance(code, CodeType) and file is not None else None,
        _get_first_line(_get_docstring(thing, owner)),
    )


def _get_class_definition(cls: type[Any]) -> Definition:
    try:
        file = inspect.getsourcefile(cls)
        # Python 3.13 stores the line in the class. Older versions must parse the source.
        line = vars(cls).get("__firstlineno__") or inspect.getsourcelines(cls)[1]
    except (OSError, TypeError):
        file = line = None
    path = None if file is None else get_display_path(file)
    return Definition(
        strip_locals(cls.__qualname__),
        _string_or_none(cls.__module__),
        file=path,
        line=None if path is None else line,
        doc=_get_first_line(vars(cls).get("__doc__")),
    )


def _get_owner_class(bound: Any) -> type[Any]:
    # A class method is bound to the class itself.
    return cast("type[Any]", bound if isinstance(bound, type) else type(bound))


def strip_locals(qualified_name: str) -> str:
    """Return a qualified name without the enclosing functions."""
    return qualified_name.rpartition("<locals>.")[2]


def _get_docstring(thing: Any, owner: type[Any] | None) -> object:
    if owner is None or isinstance(thing, MethodType):
        # Do not use ``__doc__``: `inspect.getdoc` also finds the docstring of an overridden method.
        return inspect.getdoc(thing)
    return owner.__call__.__doc__ or vars(owner).get("__doc__")


def _get_first_line(doc: object) -> str:
    lines = doc.strip().splitlines() if isinstance(doc, str) else []
    return lines[0].strip() if lines else ""


def _string_or_none(text: object) -> str | None:
    return text if isinstance(text, str) else None


def get_display_path(file: str) -> str | None:
    """Return a path relative to the current directory if it is below it, or None for a name such as ``<string>``."""
    from pathlib import Path

    if file.startswith("<"):
        return None
    try:
        return Path(file).relative_to(Path.cwd()).as_posix()
    except (OSError, ValueError):
        return file


def _format_arguments(call: Any) -> str:
    positional = [_format_argument(argument) for argument in call.args]
    return ", ".join(positional + [f"{name}={_format_argument(value)}" for name, value in call.keywords.items()])


def _format_argument(argument: object) -> str:
    if isinstance(argument, Enum):
        return f"{type(argument).__name__}.{argument.name}"
    if argument is None or type(argument) in (bool, int, float, str):
        text = repr(argument)
        return text if len(text) <= _MAX_ARGUMENT_LENGTH else "…"
    return "…"
