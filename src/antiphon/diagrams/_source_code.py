"""Facts from source code that a running program does not know: comments, annotations as written, and constants."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, TypeAlias

__all__ = ("Attribute", "Source", "Variables", "find_files", "find_local_variables", "read_source", "read_sources")

#: The variables of a function, with the values that they have throughout, or None.
Variables: TypeAlias = dict[str, ast.expr | None]


class Attribute(NamedTuple):
    """A variable of a module or an attribute of a class."""

    name: str
    #: The annotation as it is written, or an empty string.
    annotation: str
    #: The text of the ``#:`` comment above it, or of the string below it.
    comment: str


class Source(NamedTuple):
    """The source of a module."""

    #: The name of the module.
    name: str
    file: Path
    lines: Sequence[str]
    tree: ast.Module

    def find_variables(self) -> Iterator[Attribute]:
        """Find the variables that the module assigns."""
        return self._find_assignments(self.tree.body)

    def find_attributes(self, cls: str) -> Iterator[Attribute]:
        """Find the attributes that the body of a class annotates."""
        node = self._find_class(cls)
        body = node.body if node is not None else []
        return (attribute for attribute in self._find_assignments(body) if attribute.annotation)

    def get_docstring(self, cls: str) -> str:
        """Return the docstring of a class as it is written.

        Do not use ``__doc__``: ``dataclass`` generates one for a class without a docstring.
        """
        node = self._find_class(cls)
        return (ast.get_docstring(node) or "") if node is not None else ""

    def _find_class(self, name: str) -> ast.ClassDef | None:
        return next((node for node in self.tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)

    def _find_assignments(self, body: Sequence[ast.stmt]) -> Iterator[Attribute]:
        for node, following in zip_longest(body, body[1:]):
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                target, annotation = node.targets[0], ""
            elif isinstance(node, ast.AnnAssign):
                target, annotation = node.target, _format_annotation(node.annotation)
            else:
                continue
            if isinstance(target, ast.Name):
                comment = self._find_comment_above(node.lineno) or _get_string(following)
                yield Attribute(target.id, annotation, comment)

    def _find_comment_above(self, line_number: int) -> str:
        comment: list[str] = []
        for line in reversed(self.lines[: line_number - 1]):
            if not line.strip().startswith("#:"):
                break
            comment.insert(0, line.strip().removeprefix("#:").strip())
        return " ".join(comment)


def _format_annotation(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)


def _get_string(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


def find_local_variables(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Variables:
    """Return the local variables of a function, with the values of those that it assigns once, in a statement."""
    arguments = function.args
    parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    names = [parameter.arg for parameter in parameters if parameter is not None]
    values: dict[str, ast.expr] = {}
    for node in _walk_function(function):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            names.append(node.id)
        elif isinstance(node, ast.Assign):
            values.update((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            values[node.target.id] = node.value
    return {name: values.get(name) if count == 1 else None for name, count in Counter(names).items()}


def _walk_function(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """Yield the nodes of the body of a function, without the bodies of functions and classes in it."""
    remaining: list[ast.AST] = [*function.body]
    while remaining:
        node = remaining.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            remaining += ast.iter_child_nodes(node)


def read_source(module: ModuleType) -> Source | None:
    """Read the source of a module. Return None if there is none, or if it cannot be read."""
    file = vars(module).get("__file__")
    return _parse_file(module.__name__, Path(file)) if isinstance(file, str) else None


def read_sources(module: ModuleType) -> Iterator[Source]:
    """Read the source of a module, or of all modules of a package, without importing them."""
    for name, file in find_files(module):
        source = _parse_file(name, file)
        if source is not None:
            yield source


def find_files(module: ModuleType) -> Iterator[tuple[str, Path]]:
    """Find the file of a module, or of all modules of a package. Yield each with the name of its module."""
    folders = [Path(folder) for folder in vars(module).get("__path__", ())]
    file = vars(module).get("__file__")
    if not folders and isinstance(file, str):
        yield module.__name__, Path(file)
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join([module.__name__, *(parts[:-1] if parts[-1] == "__init__" else parts)]), path


def _parse_file(name: str, file: Path) -> Source | None:
    try:
        text = file.read_text(encoding="utf-8")
        return Source(name, file, text.splitlines(), ast.parse(text))
    except (OSError, SyntaxError, ValueError):
        # Skip a file that cannot be read, or that is written for another version of Python.
        return None
