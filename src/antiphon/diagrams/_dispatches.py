"""Where a program dispatches its events, as far as its sources tell."""

from __future__ import annotations

import ast
import sys
from collections.abc import Hashable, Iterator
from enum import Enum
from typing import Any, Final, NamedTuple

from antiphon._definitions import shown_file
from antiphon._events import Event
from antiphon._services import class_level_name
from antiphon.diagrams._sources import Source

__all__ = ("Dispatch", "dispatches_in")

#: What dispatches the event that it is given under a name.
_DISPATCHING: Final = frozenset({"adispatch", "dispatch", "post", "post_nowait"})

_UNKNOWN: Final = object()


class Dispatch(NamedTuple):
    """A place where an event is dispatched."""

    #: The name; None for an event whose class has none.
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

    Those are the calls of ``adispatch``, ``dispatch``, ``post`` and ``post_nowait`` whose name can be read, and the
    calls of any function that is given a name and an event made on the spot, ``report(NAME, SomeEvent(...))``.
    Constants and classes are looked up in modules that have been imported; nothing is imported or run.
    """
    finder = _Finder(source)
    finder.visit(source.tree)
    return finder.found


class _Finder(ast.NodeVisitor):
    def __init__(self, source: Source) -> None:
        self._source = source
        self._file = shown_file(str(source.file)) or str(source.file)
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
                self._add(node, class_level_name(only_event), only_event)
            elif name is not _UNKNOWN:
                self._add(node, name, event_class)
        elif name is not _UNKNOWN and event_class is not None and issubclass(event_class, Event):
            self._add(node, name, event_class)
        self.generic_visit(node)

    def _add(self, node: ast.Call, name: Any, event_class: type[Any] | None) -> None:
        function = ".".join(outer.name for outer in self._within) or self._source.name
        doc = ast.get_docstring(self._within[-1] if self._within else self._source.tree) or ""
        self.found.append(Dispatch(name, event_class, function, self._file, node.lineno, doc.partition("\n")[0]))

    def _name_in(self, node: ast.expr | None) -> Any:
        value: Any = node.value if isinstance(node, ast.Constant) else self._loaded(node)
        return value if isinstance(value, (str, Enum)) else _UNKNOWN

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
