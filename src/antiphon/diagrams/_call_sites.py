"""Where a program dispatches its events, as far as its sources tell."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Hashable, Iterator
from enum import Enum
from typing import Any, Final, NamedTuple

from antiphon._events.capabilities import find_class_name_attribute
from antiphon._events.event import Event
from antiphon._introspection.definitions import get_display_path
from antiphon.diagrams._source_code import Source

__all__ = ("Computed", "Dispatch", "dispatches_in", "plain_name")

#: What dispatches the event that it is given under a name.
_DISPATCHING: Final = frozenset({"adispatch", "dispatch", "post", "post_nowait"})

_UNKNOWN: Final = object()

#: The conversion of a part of an f-string that has none.
_PLAIN: Final = -1


class Computed(NamedTuple):
    """A name that is computed when the program runs, such as ``f"order.{kind}"``."""

    #: How it is written, with its variable parts in braces.
    text: str
    #: The constant texts in it, in order; variable parts stand between them, also where a text is empty.
    constants: tuple[str, ...]

    def may_be(self, key: Hashable) -> bool:
        """Return whether it may become a name, or one that a pattern matches; True in doubt about a pattern."""
        if not isinstance(key, str):
            return False
        if "*" not in key:
            return re.fullmatch(".*".join(map(re.escape, self.constants)), key, re.DOTALL) is not None
        # Only what stands before the first variable part, and behind the last one, is sure to be there.
        beginning, *_, end = key.split("*")
        return _agree(self.constants[0], beginning) and _agree(self.constants[-1][::-1], end[::-1])

    def is_unknown(self) -> bool:
        """Return whether nothing of it is constant."""
        return not any(self.constants)


def _agree(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


class Dispatch(NamedTuple):
    """A place where an event is dispatched."""

    #: The name, or how it is computed; None for an event whose class has none.
    name: Hashable
    #: The class of the event, if it is made on the spot.
    event_class: type[Any] | None
    #: The function in which it stands; the module, if it stands in none.
    function: str
    file: str
    line: int
    #: The first line of the docstring of the function.
    doc: str


def dispatches_in(source: Source) -> list[Dispatch]:
    """Find dispatches, in the order in which they are written.

    Those are the calls of ``adispatch``, ``dispatch``, ``post`` and ``post_nowait`` whose name can be read at least in
    part, or whose event is made on the spot, and the calls of any function that is given a name and an event made on
    the spot, ``report(NAME, SomeEvent(...))``.
    Constants and classes are looked up in modules that have been imported; nothing is imported or run.
    """
    finder = _Finder(source)
    finder.visit(source.tree)
    return finder.found


def plain_name(value: object) -> str | Enum | None:
    """Return what is a name, and None for anything else; a subclass of str may compare in ways of its own."""
    if isinstance(value, Enum):
        return value
    return str.__str__(value) if isinstance(value, str) else None


class _Finder(ast.NodeVisitor):
    def __init__(self, source: Source) -> None:
        self._source = source
        self._file = get_display_path(str(source.file)) or str(source.file)
        self._imported = dict(_imports(source))
        self._within: list[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef] = []
        self.found: list[Dispatch] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._enter(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._enter(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._enter(node)

    def _enter(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._within.append(node)
        self.generic_visit(node)
        self._within.pop()

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first, second = (*node.args, None, None)[:2]
        name, event_class = self._name_in(first), self._class_made_in(second)
        if called in _DISPATCHING:
            only_event = self._class_made_in(first)
            if second is None and only_event is not None:
                self._add(node, find_class_name_attribute(only_event), only_event)
            elif name is not _UNKNOWN:
                self._add(node, name, event_class)
            elif first is not None:
                computed = self._computed(first)
                if event_class is not None or not computed.is_unknown():
                    self._add(node, computed, event_class)
        elif name is not _UNKNOWN and event_class is not None and issubclass(event_class, Event):
            self._add(node, name, event_class)
        self.generic_visit(node)

    def _add(self, node: ast.Call, name: Any, event_class: type[Any] | None) -> None:
        function = ".".join(outer.name for outer in self._within) or self._source.name
        doc = ast.get_docstring(self._within[-1] if self._within else self._source.tree) or ""
        self.found.append(Dispatch(name, event_class, function, self._file, node.lineno, doc.partition("\n")[0]))

    def _name_in(self, node: ast.expr | None) -> Any:
        if isinstance(node, (ast.JoinedStr, ast.BinOp)):
            computed = self._computed(node)
            return computed.constants[0] if len(computed.constants) == 1 else _UNKNOWN
        value: Any = node.value if isinstance(node, ast.Constant) else self._loaded(node)
        name = plain_name(value)
        return _UNKNOWN if name is None else name

    def _computed(self, node: ast.expr) -> Computed:
        text, constants = "", [""]
        for part in self._parts(node):
            if isinstance(part, str):
                constants[-1] += part
                text += part
            else:
                constants.append("")
                text += f"{{{ast.unparse(part)}}}"
        return Computed(text, tuple(constants))

    def _parts(self, node: ast.expr) -> Iterator[str | ast.expr]:
        if isinstance(node, ast.JoinedStr):
            for part in node.values:
                yield from self._parts(part)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            yield from self._parts(node.left)
            yield from self._parts(node.right)
        elif isinstance(node, ast.FormattedValue):
            if node.conversion == _PLAIN and node.format_spec is None:
                yield from self._parts(node.value)
            else:
                yield node.value
        else:
            value: Any = node.value if isinstance(node, ast.Constant) else self._loaded(node)
            yield value if value.__class__ is str else node

    def _class_made_in(self, node: ast.expr | None) -> type[Any] | None:
        made = self._loaded(node.func) if isinstance(node, ast.Call) else None
        return made if isinstance(made, type) else None

    def _loaded(self, node: ast.expr | None) -> Any:
        """Give what an expression like ``a.b.c`` stands for at the top of the module, if it has been imported."""
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return _UNKNOWN
        path = [*self._imported.get(node.id, f"{self._source.name}.{node.id}").split("."), *names]
        for length in range(len(path) - 1, 0, -1):
            module = sys.modules.get(".".join(path[:length]))
            if module is not None:
                return _walked(module, path[length:])
        return _UNKNOWN


def _walked(found: Any, names: list[str]) -> Any:
    try:
        for name in names:
            found = getattr(found, name)
    except Exception:
        return _UNKNOWN
    return found


def _imports(source: Source) -> Iterator[tuple[str, str]]:
    """Find what imports give names to, anywhere in the module."""
    is_package = source.file.name == "__init__.py"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        elif isinstance(node, ast.ImportFrom):
            up = node.level - 1 if is_package else node.level
            here = source.name.split(".")
            base = here[: len(here) - up] if node.level else []
            for alias in node.names:
                yield alias.asname or alias.name, ".".join([*base, *([node.module] if node.module else []), alias.name])
