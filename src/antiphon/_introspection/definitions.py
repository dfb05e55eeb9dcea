"""Where things are defined, and what they are called; for listeners, predicates and classes of any kind."""

from __future__ import annotations

import inspect
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any, Final, NamedTuple, cast

from antiphon._listeners.subscription import NameAwareListener
from antiphon._util.naming import short_name

__all__ = ("Definition", "get_definition", "get_display_path", "strip_locals")

#: Arguments of a partial that are longer are left out: they would fill the page, and might be secrets.
_LONGEST_ARGUMENT: Final = 20


class Definition(NamedTuple):
    """What something is called, and where it is defined."""

    #: The qualified name, without the functions around it; the repr of what has no name.
    name: str
    #: The name of its module.
    module: str | None = None
    #: The class of the object whose method it is, or of the object that is called; None for a function.
    owner: str | None = None
    #: The file, relative to the current directory if it is below that one.
    file: str | None = None
    #: The line on which the definition begins, with its decorators.
    line: int | None = None
    #: The first line of the docstring; empty if there is none.
    doc: str = ""

    @property
    def place(self) -> str:
        """File and line, as ``shop/stock.py:12``; empty if they are unknown."""
        return "" if self.file is None else self.file if self.line is None else f"{self.file}:{self.line}"


def get_definition(thing: Any) -> Definition:
    """Tell where something is defined: a function, a method, a partial, an object that can be called, or a class.

    It never raises: what an odd object does not tell is left out.
    """
    try:
        return _get_class_definition(thing) if isinstance(thing, type) else _get_callable_definition(thing)
    except Exception:
        return Definition(short_name(thing))


def _get_callable_definition(thing: Any) -> Definition:
    arguments = ""
    while isinstance(thing, partial):
        arguments = arguments or f"({_format_arguments(thing)})"
        thing = thing.func
    name = short_name(thing)
    if isinstance(thing, NameAwareListener) or type(thing).__module__ == "unittest.mock":
        # It would show where mocks, or the streams of antiphon, are defined.
        return Definition(name)
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
        name + arguments,
        _string_or_none(getattr(function, "__module__", None)),
        None if owner is None else strip_locals(owner.__qualname__),
        file,
        code.co_firstlineno if isinstance(code, CodeType) and file is not None else None,
        _first_line(_get_docstring(thing, owner)),
    )


def _get_class_definition(cls: type[Any]) -> Definition:
    try:
        file = inspect.getsourcefile(cls)
        # Newer Pythons know it; older ones have to look into the source.
        line = vars(cls).get("__firstlineno__") or inspect.getsourcelines(cls)[1]
    except (OSError, TypeError):
        file = line = None
    shown = None if file is None else get_display_path(file)
    doc = vars(cls).get("__doc__")
    return Definition(
        strip_locals(cls.__qualname__),
        _string_or_none(cls.__module__),
        file=shown,
        line=None if shown is None else line,
        doc=_first_line(doc),
    )


def _get_owner_class(bound: Any) -> type[Any]:
    # What a class method is bound to is the class itself.
    return cast("type[Any]", bound if isinstance(bound, type) else type(bound))


def strip_locals(qualified_name: str) -> str:
    """Give a qualified name without the functions around it."""
    return qualified_name.rpartition("<locals>.")[2]


def _get_docstring(thing: Any, owner: type[Any] | None) -> object:
    if owner is None or isinstance(thing, MethodType):
        # Not the attribute, since a method has the docstring of the one it overrides.
        return inspect.getdoc(thing)
    return owner.__call__.__doc__ or vars(owner).get("__doc__")


def _first_line(doc: object) -> str:
    lines = doc.strip().splitlines() if isinstance(doc, str) else []
    return lines[0].strip() if lines else ""


def _string_or_none(text: object) -> str | None:
    return text if isinstance(text, str) else None


def get_display_path(file: str) -> str | None:
    """Give a file relative to the current directory, if it is below that one; None for what is no file."""
    from pathlib import Path

    if file.startswith("<"):
        # "<string>" and "<stdin>" are no files.
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
        shown = repr(argument)
        return shown if len(shown) <= _LONGEST_ARGUMENT else "…"
    return "…"
