"""The call sites in the source of a program that dispatch events.

The search reads the syntax trees of modules. It looks up constants and classes in the modules that have been imported,
and it imports and runs nothing. A local variable stands for its value if its function assigns it once. A name or an
event that depends on the flow of the program is not found.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Hashable, Iterator
from enum import Enum
from typing import Any, Final, NamedTuple

from antiphon import Event
from antiphon._events.capabilities import find_class_name_attribute
from antiphon._introspection.definitions import get_display_path
from antiphon.diagrams._source_code import Source, Variables, find_local_variables

__all__ = ("CallSite", "ComputedName", "as_name", "find_call_sites")

#: The methods that dispatch their argument under a name.
_DISPATCH_METHODS: Final = frozenset({"adispatch", "dispatch", "post", "post_nowait"})

_UNRESOLVED: Final = object()

#: The value of ``conversion`` for a part of an f-string without ``!r``, ``!s`` or ``!a``.
_NO_CONVERSION: Final = -1


class ComputedName(NamedTuple):
    """A name that is computed when the program runs, such as ``f"order.{kind}"``."""

    #: The expression, with its variable parts in braces.
    text: str
    #: The constant texts in order, with a variable part between each two of them. They may be empty.
    constants: tuple[str, ...]

    def may_match(self, key: Hashable) -> bool:
        """Return whether the name may equal the key, or match it if it is a pattern.

        Only the start and the end of a pattern are compared, so the result can be true for a pattern that never
        matches.
        """
        if not isinstance(key, str):
            return False
        if "*" not in key:
            return re.fullmatch(".*".join(map(re.escape, self.constants)), key, re.DOTALL) is not None
        start, *_, end = key.split("*")
        prefix, suffix = self.constants[0], self.constants[-1]
        starts_match = prefix.startswith(start) or start.startswith(prefix)
        return starts_match and (suffix.endswith(end) or end.endswith(suffix))

    def is_unknown(self) -> bool:
        """Return whether the name has no constant part."""
        return not any(self.constants)


class CallSite(NamedTuple):
    """A call that dispatches an event."""

    #: The name, or the `ComputedName`; None for an event whose class has no name.
    name: Hashable
    #: The class of the event if the call creates the event in its arguments, else None.
    event_class: type[Any] | None
    #: The qualified name of the function that contains the call, or the name of the module.
    function: str
    file: str
    line: int
    #: The first line of the docstring of the function.
    doc: str


def find_call_sites(source: Source) -> list[CallSite]:
    """Find the calls in a module that dispatch events, in the order of the source.

    These are two kinds of calls:

    - Calls of ``adispatch``, ``dispatch``, ``post`` and ``post_nowait``, if at least a part of the name is constant or
      the event is created in the arguments.
    - Calls of any function with a constant name and an event that is created in the arguments, such as
      ``report(NAME, SomeEvent(...))``.
    """
    finder = _CallSiteFinder(source)
    finder.visit(source.tree)
    return finder.call_sites


def as_name(value: object) -> str | Enum | None:
    """Return a string or a member of an ``Enum`` as a name, and None for anything else."""
    if isinstance(value, Enum):
        return value
    # Convert the instances of subclasses, whose comparison may be overridden.
    return str.__str__(value) if isinstance(value, str) else None


class _CallSiteFinder(ast.NodeVisitor):
    def __init__(self, source: Source) -> None:
        self._source = source
        self._file = get_display_path(str(source.file)) or str(source.file)
        self._imports = dict(_find_imports(source))
        # The variables of the enclosing functions, innermost last.
        self._variables: list[Variables] = []
        self._enclosing: list[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef] = []
        self.call_sites: list[CallSite] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit_scope(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_scope(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_scope(node)

    def _visit_scope(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._enclosing.append(node)
        # The variables in the body of a class are not visible in its methods.
        self._variables.append({} if isinstance(node, ast.ClassDef) else find_local_variables(node))
        self.generic_visit(node)
        self._variables.pop()
        self._enclosing.pop()

    def visit_Call(self, node: ast.Call) -> None:
        function_name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first, second = (*node.args, None, None)[:2]
        name, event_class = self._evaluate_name(first), self._get_instantiated_class(second)
        if function_name in _DISPATCH_METHODS:
            only_event_class = self._get_instantiated_class(first)
            if second is None and only_event_class is not None:
                self._add(node, find_class_name_attribute(only_event_class), only_event_class)
            elif name is not _UNRESOLVED:
                self._add(node, name, event_class)
            elif first is not None:
                computed = self._make_computed_name(first)
                if event_class is not None or not computed.is_unknown():
                    self._add(node, computed, event_class)
        elif name is not _UNRESOLVED and event_class is not None and issubclass(event_class, Event):
            self._add(node, name, event_class)
        self.generic_visit(node)

    def _add(self, node: ast.Call, name: Any, event_class: type[Any] | None) -> None:
        function = ".".join(scope.name for scope in self._enclosing) or self._source.name
        doc = ast.get_docstring(self._enclosing[-1] if self._enclosing else self._source.tree) or ""
        self.call_sites.append(CallSite(name, event_class, function, self._file, node.lineno, doc.partition("\n")[0]))

    def _evaluate_name(self, node: ast.expr | None) -> Any:
        node = self._get_value(node)
        if isinstance(node, (ast.JoinedStr, ast.BinOp)):
            computed = self._make_computed_name(node)
            return computed.constants[0] if len(computed.constants) == 1 else _UNRESOLVED
        name = as_name(self._evaluate(node))
        return _UNRESOLVED if name is None else name

    def _make_computed_name(self, node: ast.expr) -> ComputedName:
        text, constants = "", [""]
        for part in self._split_parts(node, ()):
            if isinstance(part, str):
                constants[-1] += part
                text += part
            else:
                constants.append("")
                text += f"{{{ast.unparse(part)}}}"
        return ComputedName(text, tuple(constants))

    def _split_parts(self, node: ast.expr, inside: tuple[ast.expr, ...]) -> Iterator[str | ast.expr]:
        """Yield the constant texts and the variable parts of a name. `inside` are the parts that contain the node."""
        value = self._get_value(node)
        if isinstance(value, (ast.JoinedStr, ast.BinOp, ast.Constant)) and value not in inside:
            node = value
        inside = (*inside, node)
        if isinstance(node, ast.JoinedStr):
            for part in node.values:
                yield from self._split_parts(part, inside)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            yield from self._split_parts(node.left, inside)
            yield from self._split_parts(node.right, inside)
        elif isinstance(node, ast.FormattedValue):
            if node.conversion == _NO_CONVERSION and node.format_spec is None:
                yield from self._split_parts(node.value, inside)
            else:
                yield node.value
        else:
            value = self._evaluate(node)
            yield value if value.__class__ is str else node

    def _get_instantiated_class(self, node: ast.expr | None) -> type[Any] | None:
        node = self._get_value(node)
        value = self._resolve(node.func) if isinstance(node, ast.Call) else None
        return value if isinstance(value, type) else None

    def _evaluate(self, node: ast.expr | None) -> Any:
        node = self._get_value(node)
        return node.value if isinstance(node, ast.Constant) else self._resolve(node)

    def _get_value(self, node: ast.expr | None) -> ast.expr | None:
        """Return the expression that a local variable stands for, or else the expression itself."""
        seen: set[str] = set()
        while isinstance(node, ast.Name) and node.id not in seen:
            seen.add(node.id)
            node = self._find_variable(node.id) or node
        return node

    def _find_variable(self, name: str) -> ast.expr | None:
        return next((variables[name] for variables in reversed(self._variables) if name in variables), None)

    def _resolve(self, node: ast.expr | None) -> Any:
        """Return the value of an expression such as ``a.b.c`` at module level, if its module has been imported."""
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or any(node.id in variables for variables in self._variables):
            return _UNRESOLVED
        path = [*self._imports.get(node.id, f"{self._source.name}.{node.id}").split("."), *names]
        for length in range(len(path) - 1, 0, -1):
            module = sys.modules.get(".".join(path[:length]))
            if module is not None:
                return _get_nested(module, path[length:])
        return _UNRESOLVED


def _get_nested(value: Any, names: list[str]) -> Any:
    try:
        for name in names:
            value = getattr(value, name)
    except Exception:
        return _UNRESOLVED
    return value


def _find_imports(source: Source) -> Iterator[tuple[str, str]]:
    """Find all imports in a module. Yield each local name with the dotted name of its object."""
    is_package = source.file.name == "__init__.py"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        elif isinstance(node, ast.ImportFrom):
            levels_up = node.level - 1 if is_package else node.level
            parts = source.name.split(".")
            base = parts[: len(parts) - levels_up] if node.level else []
            for alias in node.names:
                yield alias.asname or alias.name, ".".join([*base, *([node.module] if node.module else []), alias.name])
